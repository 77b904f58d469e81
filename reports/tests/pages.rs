//! Opens the pages in headless Chromium, as wide as a phone and as a desktop.
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

use support::{made, text};
use tempfile::TempDir;

/// Where Debian, Fedora and Google put it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Width and height of the windows, in CSS pixels. A headless window is never narrower than 500, so the phone is an
/// inner frame (`NARROW`).
const WINDOWS: [(&str, u32, u32); 2] = [("desktop", 1_280, 2_000), ("phone", 500, 2_000)];
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
        "<!DOCTYPE html><body style='margin:0'><iframe id=f width={NARROW} height=1990 style='border:0' src='file://{}'></iframe>\
         <script>document.getElementById('f').onload = e => {{ const d = e.target.contentDocument.documentElement;\
         const svg = e.target.contentDocument.querySelector('figure svg');\
         const letters = [...e.target.contentDocument.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect().height);\
         document.body.dataset.width = d.scrollWidth; document.body.dataset.picture = Math.round(svg.getBoundingClientRect().width);\
         document.body.dataset.letters = Math.min(...letters).toFixed(1); }}</script>",
        page.display()
    )
}

#[test]
fn pages_open_without_errors_and_fit_a_phone_and_a_desktop() {
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
    let out = place.path().join("emission");
    made(
        &[
            "emission",
            "--years",
            "8",
            "--trials",
            "10",
            "--param",
            "interval-hours=219",
            "--param",
            "reduction-percent=30",
        ],
        &out,
    );
    let page = out.join("emission.html");
    let home = place.path().join("browser");
    for (name, width, height) in WINDOWS {
        let shown = if name == "phone" {
            let frame = place.path().join("phone.html");
            fs::write(&frame, phone(&page)).expect("a page");
            frame
        } else {
            page.clone()
        };
        let (log, dom) = open(
            browser,
            &home,
            &shown,
            (width, height),
            &["--dump-dom".to_owned()],
        );
        let errors: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        if name == "phone" {
            let data = |what: &str| -> f64 {
                let start = dom
                    .split(&format!("data-{what}=\""))
                    .nth(1)
                    .unwrap_or_default();
                start
                    .split('"')
                    .next()
                    .unwrap_or_default()
                    .parse()
                    .unwrap_or_default()
            };
            assert_eq!(
                data("width"),
                f64::from(NARROW),
                "nothing makes the page wider than the phone"
            );
            assert!(
                data("picture") >= f64::from(NARROW) * 0.85,
                "pictures use the width: {}",
                data("picture")
            );
            assert!(
                data("letters") >= 9.0,
                "letters of pictures can be read: {}",
                data("letters")
            );
        } else {
            assert!(
                dom.contains("Emission of SNO over 8 years"),
                "the page is there"
            );
        }
        if let Some(dir) = std::env::var_os("SMARTNODES_SCREENSHOTS") {
            let shot = PathBuf::from(dir).join(format!("emission-{name}.png"));
            open(
                browser,
                &home,
                &shown,
                (width, height),
                &[format!("--screenshot={}", shot.display())],
            );
            assert!(shot.is_file(), "{shot:?}");
        }
    }
    assert!(text(&out, "emission.html").contains("prefers-color-scheme: dark"));
}
