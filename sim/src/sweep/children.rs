//! Runs in processes of their own, several at once, watched by one loop.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::clock;
use super::plan::Job;
use crate::run::Record;

/// Wait between two looks at the children.
const LOOK: Duration = Duration::from_millis(20);
/// How much of what a failed child said is told.
const WORDS_MAX: usize = 2_000;

/// Why a child left no record.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started, or its files not be read.
    #[error("cannot run {} with seed {seed}: {source}", path.display())]
    Start {
        /// The scenario.
        path: PathBuf,
        /// The seed.
        seed: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ended without a record.
    #[error("{} with seed {seed} left no record ({ended}): {words}", path.display())]
    Ended {
        /// The scenario.
        path: PathBuf,
        /// The seed.
        seed: u64,
        /// How it ended.
        ended: String,
        /// What it said.
        words: String,
    },
    /// It took too long, and was ended.
    #[error(
        "{} with seed {seed} had not ended after {} s: its time may stand still; --timeout gives runs longer",
        path.display(),
        after.as_secs()
    )]
    TimedOut {
        /// The scenario.
        path: PathBuf,
        /// The seed.
        seed: u64,
        /// The limit, on this machine's clock.
        after: Duration,
    },
}

/// Children that run, at most so many.
pub(crate) struct Children {
    program: PathBuf,
    scratch: tempfile::TempDir,
    slots: Vec<Option<Running>>,
    timeout: Duration,
}

struct Running {
    job: Job,
    child: Child,
    since: Instant,
}

impl Children {
    /// Room for `count` children of this very program, each of which has so much time on this machine.
    pub(crate) fn new(count: usize, timeout: Duration) -> io::Result<Children> {
        Children::of(std::env::current_exe()?, count, timeout)
    }

    fn of(program: PathBuf, count: usize, timeout: Duration) -> io::Result<Children> {
        Ok(Children {
            program,
            scratch: tempfile::tempdir()?,
            slots: (0..count.max(1)).map(|_| None).collect(),
            timeout,
        })
    }

    /// Whether a further child can be started.
    pub(crate) fn have_room(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }

    /// Whether none runs.
    pub(crate) fn are_idle(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// Starts a run. There must be room.
    pub(crate) fn start(&mut self, job: Job) -> Result<(), ChildError> {
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            return Ok(());
        };
        let started = self.spawn(slot, &job);
        let child = started.map_err(|source| ChildError::Start {
            path: job.path.clone(),
            seed: job.seed,
            source,
        })?;
        let since = clock();
        self.slots[slot] = Some(Running { job, child, since });
        Ok(())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "each run has a process of its own"
    )]
    fn spawn(&self, slot: usize, job: &Job) -> io::Result<Child> {
        // Files, since a full pipe would stop a child that nobody reads.
        let file = |name: &str| File::create(self.file(slot, name));
        Command::new(&self.program)
            .arg("run")
            .arg(&job.path)
            .args(["--seed", &job.seed.to_string(), "--json"])
            .args(job.variant.args())
            .stdin(Stdio::null())
            .stdout(file("out")?)
            .stderr(file("err")?)
            .spawn()
    }

    fn file(&self, slot: usize, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{slot}.{name}"))
    }

    /// Waits until a child ends, and returns its record.
    pub(crate) fn next(&mut self) -> (Job, Result<Record, ChildError>) {
        loop {
            for slot in 0..self.slots.len() {
                let Some(running) = &mut self.slots[slot] else {
                    continue;
                };
                let ended = match running.child.try_wait() {
                    Ok(None) if running.since.elapsed() > self.timeout => None,
                    Ok(None) => continue,
                    Ok(Some(status)) => Some(Ok(status.to_string())),
                    Err(source) => Some(Err(source)),
                };
                if let Some(Running { job, mut child, .. }) = self.slots[slot].take() {
                    let record = match ended {
                        Some(ended) => self.record(slot, &job, ended),
                        None => {
                            end(&mut child);
                            Err(ChildError::TimedOut {
                                path: job.path.clone(),
                                seed: job.seed,
                                after: self.timeout,
                            })
                        }
                    };
                    return (job, record);
                }
            }
            #[allow(
                clippy::disallowed_methods,
                reason = "the supervisor of runs waits on the machine's clock, outside of any run"
            )]
            std::thread::sleep(LOOK);
        }
    }

    fn record(
        &self,
        slot: usize,
        job: &Job,
        ended: io::Result<String>,
    ) -> Result<Record, ChildError> {
        let (path, seed) = (job.path.clone(), job.seed);
        let ended = ended.and_then(|ended| {
            let out = read(&self.file(slot, "out"))?;
            Ok((ended, out))
        });
        let (ended, out) = match ended {
            Ok(read) => read,
            Err(source) => return Err(ChildError::Start { path, seed, source }),
        };
        let last = out.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| {
            let said = read(&self.file(slot, "err")).unwrap_or_default();
            let cut = said
                .char_indices()
                .rev()
                .nth(WORDS_MAX)
                .map_or(0, |(at, _)| at);
            ChildError::Ended {
                path,
                seed,
                ended,
                words: said[cut..].trim().to_owned(),
            }
        })
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for running in self.slots.iter_mut().flatten() {
            end(&mut running.child);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
}

fn read(path: &Path) -> io::Result<String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "what a finished child has written"
    )]
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::variant::Variant;

    /// What a program of a few lines comes to in the simulator's place.
    #[allow(clippy::disallowed_methods, reason = "a program of a test")]
    fn comes_to(script: &str, timeout: Duration) -> ChildError {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
        let rights = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, rights).expect("its rights");
        let mut children = Children::of(program, 1, timeout).expect("room");
        let job = Job {
            path: "a.toml".into(),
            seed: 7,
            variant: Variant::default(),
        };
        children.start(job).expect("a process");
        let (_, record) = children.next();
        assert!(children.are_idle());
        record.expect_err("no record")
    }

    #[test]
    fn a_process_that_aborts_or_does_not_end_is_told() {
        let aborted = comes_to("echo oh >&2; kill -ABRT $$", Duration::from_secs(600));
        let words = aborted.to_string();
        assert!(words.contains("seed 7") && words.contains("oh"), "{words}");
        let reason = Reason::of_process(&aborted).expect("a reason");
        assert!(reason.to_string().contains("signal: 6"), "{reason}");
        let hung = comes_to("exec sleep 600", Duration::from_millis(50));
        let reason = Reason::of_process(&hung).expect("a reason");
        assert_eq!(reason.to_string(), "leaves-a-record (does not end)");
    }
}
