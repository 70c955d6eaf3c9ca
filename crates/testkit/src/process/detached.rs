//! A process that outlives its starter (the demo's cluster) and is found again by a record file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ProcessSpec;
use crate::error::{Error, Result};

const START: &str = r#"
log=$1
shift
"$@" >>"$log" 2>&1 </dev/null &
echo "$!"
"#;

/// A process started with [`ProcessSpec::spawn_detached`]. Dropping it does nothing.
///
/// The record holds the process id and the kernel's start time of it, so that a process id that was reused since is
/// never taken for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detached {
    name: String,
    pid: u32,
    /// In clock ticks since boot, from `/proc/PID/stat`.
    started: u64,
    log: PathBuf,
}

impl Detached {
    pub(super) fn spawn(spec: ProcessSpec, record: &Path) -> Result<Self> {
        let output = spec
            .shell(START)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|error| spec.failed(format!("cannot start sh: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let pid =
            text.trim().parse().map_err(|_| spec.failed(format!("sh gives {:?} for the process id", text.trim())))?;
        // one that has ended already keeps start time 0, which no process has
        let started = stat(pid).map_or(0, |stat| stat.started);
        let process = Self { name: spec.name, pid, started, log: spec.log };
        let json = serde_json::to_vec_pretty(&process)
            .map_err(|error| Error::Invalid { what: record.display().to_string(), why: error.to_string() })?;
        std::fs::write(record, json).map_err(Error::io("write", record))?;
        Ok(process)
    }

    /// The process that a record file names; it need not run any more.
    pub fn load(record: &Path) -> Result<Self> {
        let text = std::fs::read(record).map_err(Error::io("read", record))?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::Invalid { what: record.display().to_string(), why: error.to_string() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name given by its [`ProcessSpec`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that has its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether this very process still runs.
    pub fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.dead)
    }

    /// An error with the log's last lines when it does not run any more.
    pub fn check_running(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        Err(Error::Process { program: self.name.clone(), why: "ended".into(), log: Some(self.log.clone()) })
    }

    /// SIGTERM, then SIGKILL when `grace` is over; returns once it has ended. Blocks.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        self.signal("TERM")?;
        if self.ended_within(grace) {
            return Ok(());
        }
        self.signal("KILL")?;
        if self.ended_within(Duration::from_secs(10)) {
            return Ok(());
        }
        Err(Error::Process {
            program: self.name.clone(),
            why: format!("process {} does not end, not even by SIGKILL", self.pid),
            log: Some(self.log.clone()),
        })
    }

    /// Sends a signal by its short name, as `"TERM"`, if this very process still runs.
    pub fn signal(&self, signal: &str) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        // the shell's own `kill`, because the program of that name is not installed everywhere
        Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\" 2>/dev/null", "sh", signal, &self.pid.to_string()])
            .status()
            .map(drop)
            .map_err(Error::io("run", "sh"))
    }

    fn ended_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while self.is_running() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

struct Stat {
    started: u64,
    /// A zombie still has its process id.
    dead: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the name in parentheses, which may hold anything; fields after it are plain
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat { dead: matches!(*fields.first()?, "Z" | "X"), started: fields.get(19)?.parse().ok()? })
}

/// Whether a process of this id runs (a zombie does not).
#[cfg(test)]
pub(super) fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_process_is_found_again_and_stopped_by_its_record() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("sleep.json");
        let spec = ProcessSpec::new("sleep", folder.path().join("log")).arg("600");
        assert!(spec.spawn_detached(&record).unwrap().is_running());
        let found = Detached::load(&record).unwrap();
        found.check_running().unwrap();
        found.stop(Duration::from_secs(60)).unwrap();
        assert!(!found.is_running());
    }

    #[test]
    fn a_reused_process_id_is_not_taken_for_the_recorded_process() {
        let me = std::process::id();
        let other = Detached { name: "x".into(), pid: me, started: 1, log: PathBuf::new() };
        assert!(!other.is_running());
        other.signal("KILL").unwrap();
    }
}
