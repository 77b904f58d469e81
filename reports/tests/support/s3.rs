//! A real S3 server: moto's, from the package registry, in an environment of its own in the target directory.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/s3_server.py");

/// Why there can be no server on this machine. Nothing else may make a test pass without running.
#[derive(Debug)]
pub struct Missing(String);

impl Missing {
    /// Says on the terminal that a test was left out, past the harness, which hides what passes.
    pub fn report(&self, what: &str) {
        // A closed terminal is no reason to fail.
        let _ = writeln!(io::stderr(), "\nSKIPPED {what}: {}", self.0);
    }
}

/// A server. It ends when it is dropped.
pub struct Server {
    /// Its address.
    pub endpoint: String,
    child: Child,
    /// The server runs until this is closed.
    input: Option<ChildStdin>,
}

impl Server {
    /// Starts one with a bucket for each folder of `root`.
    pub fn start(root: &Path) -> Result<Self, Missing> {
        let python = python()?;
        let mut child = Command::new(python)
            .arg(PROGRAM)
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a Python that was installed starts");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("it is piped");
        let mut endpoint = String::new();
        BufReader::new(output)
            .read_line(&mut endpoint)
            .expect("the server says where it is");
        let endpoint = endpoint.trim().to_owned();
        assert!(
            endpoint.starts_with("http://"),
            "the server did not start: {endpoint:?}"
        );
        Ok(Self {
            endpoint,
            child,
            input,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may be gone already.
        let _ = self.child.wait();
    }
}

/// A Python with all that the server needs, installed once.
fn python() -> Result<PathBuf, Missing> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let failed = |error: io::Error| Missing(format!("{}: {error}", base.display()));
    fs::create_dir_all(base).map_err(failed)?;
    // Tests run side by side; the lock goes with the file.
    let lock = File::create(base.join("s3-server.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (directory, done) = (base.join("s3-server"), base.join("s3-server.installed"));
    let python = directory.join("bin/python");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(python);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(failed)?;
    }
    let requirements = base.join("s3-server.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(failed)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-compile"])
        .arg("-r")
        .arg(&requirements))?;
    fs::write(&done, REQUIREMENTS).map_err(failed)?;
    Ok(python)
}

/// Runs a command to its end; what it said is the reason if it fails.
fn run(command: &mut Command) -> Result<(), Missing> {
    let name = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Missing(format!("{name}: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Missing(format!("{name}: {}\n{said}", output.status)))
    }
}
