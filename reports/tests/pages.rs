//! Opens the pages in headless Chromium, as wide as a phone and as a desktop, light and dark, and prints them.
//!
//! Where there is no Chromium the test says that it is skipped. `SMARTNODES_SCREENSHOTS=DIR` keeps what it sees.

#![allow(clippy::disallowed_methods, reason = "the test starts a browser")]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use support::{made, parts::sweep};
use tempfile::TempDir;

/// Where Debian, Fedora and Google put it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Width and height of the windows, in CSS pixels. A headless window is never narrower than 500, so the phone is an
/// inner frame (`NARROW`).
const WINDOWS: [(&str, u32, u32); 2] = [("desktop", 1_280, 2_000), ("phone", 500, 2_000)];
/// Light and dark: how the browser is told that its user wants them, and the colour behind the text.
const SCHEMES: [(&str, &str, &str); 2] = [
    (
        "light",
        "--blink-settings=preferredColorScheme=1",
        "rgb(255, 255, 255)",
    ),
    (
        "dark",
        "--blink-settings=preferredColorScheme=0",
        "rgb(20, 24, 29)",
    ),
];
/// Width of a phone, in CSS pixels.
const NARROW: u32 = 390;

fn browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| {
        let found = Command::new(name).arg("--version").output();
        found.is_ok_and(|output| output.status.success())
    })
}

/// Opens an address; returns what the browser wrote to its log, and the page as it then is.
fn open(
    browser: &str,
    home: &Path,
    page: &Path,
    window: (u32, u32),
    more: &[String],
) -> (String, String) {
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
        ])
        .args([
            "--enable-logging=stderr",
            "--log-level=0",
            "--virtual-time-budget=2000",
        ])
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(format!("--window-size={},{}", window.0, window.1))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    (
        String::from_utf8_lossy(&output.stderr).into_owned(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// A page that shows another in a frame as wide as a phone, and then tells how wide that would like to be.
fn phone(page: &Path) -> String {
    format!(
        "<!DOCTYPE html><meta name=color-scheme content='light dark'><body style='margin:0'><iframe id=f width={NARROW} height=1990 style='border:0' src='file://{}'></iframe>\
         <script>document.getElementById('f').onload = e => {{ const d = e.target.contentDocument.documentElement;\
         const svg = e.target.contentDocument.querySelector('figure svg');\
         const letters = [...e.target.contentDocument.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect().height);\
         document.body.dataset.width = d.scrollWidth; document.body.dataset.picture = Math.round(svg.getBoundingClientRect().width);\
         document.body.dataset.letters = Math.min(...letters).toFixed(1);\
         document.body.dataset.back = getComputedStyle(e.target.contentDocument.body).backgroundColor; }}</script>",
        page.display()
    )
}

/// What the wrapping page tells of the one in its frame.
fn told<'a>(dom: &'a str, what: &str) -> &'a str {
    let start = dom.split(&format!("data-{what}=\"")).nth(1);
    start
        .unwrap_or_default()
        .split('"')
        .next()
        .unwrap_or_default()
}

fn number(dom: &str, what: &str) -> f64 {
    told(dom, what).parse().unwrap_or_default()
}

/// Makes one report of each kind; returns their pages, and a title that each has.
fn pages(place: &Path) -> [(&'static str, PathBuf, &'static str); 3] {
    let dir = place.join("sweep");
    sweep(&dir);
    let source = dir.to_str().expect("a plain path");
    let page = |name: &str, args: &[&str]| {
        let out = place.join(name);
        made(args, &out);
        out.join(format!("{name}.html"))
    };
    let mut emission = vec!["emission", "--years", "8", "--trials", "10"];
    emission.extend(["--param", "interval-hours=219"]);
    emission.extend(["--param", "reduction-percent=30"]);
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let mut consensus = vec!["consensus", "--rounds", "20"];
    consensus.extend(["--sweep", source, "--scenarios", library]);
    [
        (
            "emission",
            page("emission", &emission),
            "Emission of SNO over 8 years",
        ),
        (
            "consensus",
            page("consensus", &consensus),
            "Time to a state update by kind of fault",
        ),
        (
            "run",
            page("run", &["run", source]),
            "Runs in which everything held",
        ),
    ]
}

#[test]
fn pages_open_without_errors_and_fit_a_phone_a_desktop_and_paper() {
    let Some(browser) = browser() else {
        // Past the test harness, which shows what passing tests print to nobody.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no {} to open the pages with",
            BROWSERS.join(", ")
        );
        return;
    };
    let place = TempDir::new().expect("a directory");
    let home = place.path().join("browser");
    let kept = std::env::var_os("SMARTNODES_SCREENSHOTS").map(PathBuf::from);
    for (name, page, title) in pages(place.path()) {
        for (window, width, height) in WINDOWS {
            for (scheme, setting, back) in SCHEMES {
                let what = format!("{name}-{window}-{scheme}");
                let shown = if window == "phone" {
                    let frame = place.path().join("phone.html");
                    fs::write(&frame, phone(&page)).expect("a page");
                    frame
                } else {
                    page.clone()
                };
                let size = (width, height);
                let more = [setting.to_owned(), "--dump-dom".to_owned()];
                let (log, dom) = open(browser, &home, &shown, size, &more);
                let errors: Vec<&str> = log
                    .lines()
                    .filter(|line| line.contains("CONSOLE"))
                    .collect();
                assert!(errors.is_empty(), "{what}: {errors:?}");
                if window == "phone" {
                    let (page, picture) = (number(&dom, "width"), number(&dom, "picture"));
                    assert_eq!(
                        page,
                        f64::from(NARROW),
                        "{what}: nothing makes the page wider than the phone"
                    );
                    assert!(
                        picture >= f64::from(NARROW) * 0.85,
                        "{what}: pictures use the width: {picture}"
                    );
                    let letters = number(&dom, "letters");
                    assert!(
                        letters >= 9.0,
                        "{what}: letters of pictures can be read: {letters}"
                    );
                    assert_eq!(told(&dom, "back"), back, "{what}");
                } else {
                    assert!(dom.contains(title), "{what}: the page is there");
                }
                if let Some(dir) = &kept {
                    let shot = dir.join(format!("{what}.png"));
                    let more = [
                        setting.to_owned(),
                        format!("--screenshot={}", shot.display()),
                    ];
                    open(browser, &home, &shown, size, &more);
                    assert!(shot.is_file(), "{shot:?}");
                }
            }
        }
        let dir = kept.as_deref().unwrap_or(place.path());
        let paper = dir.join(format!("{name}.pdf"));
        let more = [format!("--print-to-pdf={}", paper.display())];
        open(browser, &home, &page, (WINDOWS[0].1, WINDOWS[0].2), &more);
        let printed = fs::read(&paper).expect("it is printed");
        // Of all that is on a page, fonts and pictures alone are this much.
        assert!(
            printed.starts_with(b"%PDF-") && printed.len() > 20_000,
            "{name}: {}",
            printed.len()
        );
    }
}
