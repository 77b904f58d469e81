//! `smartnode` processes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::error::TestnetError;

/// How long a node may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop when it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Lines of a log that are shown when its node ends.
const LOG_TAIL_LINES: usize = 15;

/// The `smartnode` program beside this one. Under `cargo run` it is built first, so that it is never an old one; `cargo test`
/// on the workspace has built it already, and building it once more without the tests' dependencies would take minutes.
pub async fn smartnode_binary() -> Result<PathBuf, TestnetError> {
    let own = std::env::current_exe().map_err(TestnetError::set_up)?;
    let mut dir = own.parent().unwrap_or(Path::new("."));
    // Test programs lie one below.
    let is_test = dir.ends_with("deps");
    if is_test {
        dir = dir.parent().unwrap_or(dir);
    }
    let binary = dir.join(format!("smartnode{}", std::env::consts::EXE_SUFFIX));
    if let Some(cargo) = std::env::var_os("CARGO")
        && !(is_test && binary.exists())
    {
        // No package is named, so that features are resolved as for the whole workspace and nothing is built twice.
        let mut arguments = vec![
            "build",
            "--quiet",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
            "--bin",
            "smartnode",
        ];
        if dir.ends_with("release") {
            arguments.push("--release");
        }
        let status = Command::new(cargo)
            .args(&arguments)
            .status()
            .await
            .map_err(TestnetError::set_up)?;
        if !status.success() {
            return Err(TestnetError::set_up(format!(
                "cargo {}: {status}",
                arguments.join(" ")
            )));
        }
    }
    if binary.exists() {
        return Ok(binary);
    }
    Err(TestnetError::set_up(format!(
        "there is no {}; build it with `cargo build --bin smartnode`",
        binary.display()
    )))
}

/// A running node. Dropped, it is killed.
pub struct NodeProcess {
    name: String,
    log: PathBuf,
    child: Child,
    /// Held open: a node must not find its standard output closed.
    _output: Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    /// Starts a node, its log appended to a file, and waits until it says that it is up.
    pub async fn start(
        binary: &Path,
        name: &str,
        config: &Path,
        log: &Path,
    ) -> Result<NodeProcess, TestnetError> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|error| TestnetError::file(log, &error))?;
        let mut child = command(binary)
            .args(["run", "--json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(TestnetError::set_up)?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| TestnetError::set_up("no standard output"))?;
        let mut output = BufReader::new(output).lines();
        let first = timeout(START_TIMEOUT, output.next_line()).await;
        let mut node = NodeProcess {
            name: name.to_owned(),
            log: log.to_owned(),
            child,
            _output: output,
        };
        match first {
            Ok(Ok(Some(line)))
                if serde_json::from_str::<Value>(&line)
                    .is_ok_and(|up| up.get("peer_id").is_some()) =>
            {
                Ok(node)
            }
            Ok(_) => Err(node.ended().await),
            Err(_) => Err(TestnetError::Late {
                what: format!("the start of {name} (log: {})", log.display()),
                seconds: START_TIMEOUT.as_secs(),
            }),
        }
    }

    /// The process's id, unless it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error if the node has ended by itself.
    pub async fn check(&mut self) -> Result<(), TestnetError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.ended().await),
        }
    }

    async fn ended(&mut self) -> TestnetError {
        let status = match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "still running".to_owned(),
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        TestnetError::Ended {
            name: self.name.clone(),
            status,
            log: self.log.clone(),
            tail,
        }
    }

    /// Asks the node to stop, as an operator would.
    pub fn ask_to_stop(&self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // An error means that it is gone already.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    /// Resident memory in bytes, where the system tells (Linux).
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Ends the process at once (SIGKILL).
    pub async fn kill(mut self) -> Result<(), TestnetError> {
        self.child.kill().await.map_err(TestnetError::set_up)
    }

    /// Asks the node to stop, waits for it, and makes it if it does not.
    pub async fn stop(mut self) -> Result<(), TestnetError> {
        self.ask_to_stop();
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(_) => Err(self.ended().await),
            Err(_) => {
                let _ = self.child.kill().await;
                Err(TestnetError::Late {
                    what: format!("the end of {}", self.name),
                    seconds: STOP_TIMEOUT.as_secs(),
                })
            }
        }
    }
}

/// Runs a command of `smartnode` to its end and returns the object that it prints.
pub async fn ask(
    binary: &Path,
    arguments: &[&str],
    limit: Duration,
) -> Result<Value, TestnetError> {
    let shown = || format!("smartnode {}", arguments.join(" "));
    let running = command(binary)
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::null())
        .output();
    let output = match timeout(limit, running).await {
        Ok(output) => output.map_err(TestnetError::set_up)?,
        Err(_) => {
            return Err(TestnetError::Late {
                what: format!("the end of `{}`", shown()),
                seconds: limit.as_secs(),
            });
        }
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(stdout.trim().lines().last().unwrap_or_default()) {
        Ok(value) if output.status.success() => Ok(value),
        _ => Err(TestnetError::Command {
            command: shown(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    // What a person has set for their own node must not reach these.
    command
        .env_remove("SMARTNODE_CONFIG")
        .env_remove("SMARTNODE_PASSWORD")
        .kill_on_drop(true);
    command
}
