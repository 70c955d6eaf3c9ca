//! What a running cluster left on disk, so that another process can take it down: which processes, which uplink.
//!
//! A process is only ever signalled when its start time and the machine's boot are those recorded: process ids are used
//! again, and a stranger's process must never be hit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::command::line;
use crate::error::{Error, Result};

/// The record, `FOLDER/state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The cluster's name, needed to find its namespace and links.
    pub(super) name: String,
    /// `/proc/sys/kernel/random/boot_id` when it was written.
    pub(super) boot: String,
    /// `N` of `10.89.N.0/30`; `None` until the network is up.
    pub(super) uplink: Option<u8>,
    /// Folder of the Kubernetes programs it runs.
    pub(super) programs: PathBuf,
    /// In the order of start.
    pub(super) processes: Vec<Process>,
}

/// One process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) program: String,
    pub(super) pid: u32,
    /// Clock ticks since boot at which the process started.
    pub(super) started: u64,
}

impl State {
    pub(super) fn new(name: &str, programs: &Path) -> Self {
        let (name, programs) = (name.to_owned(), programs.to_owned());
        Self { name, boot: boot_id(), uplink: None, programs, processes: Vec::new() }
    }

    /// The record of `folder`; `None` when there is no cluster.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = file(folder);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let invalid = |error: serde_json::Error| Error::Invalid {
            what: path.display().to_string(),
            why: format!("{error}; end the processes it names by hand, then remove the folder"),
        };
        serde_json::from_str(&text).map(Some).map_err(invalid)
    }

    /// Written whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = file(folder);
        let draft = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Invalid { what: path.display().to_string(), why: error.to_string() })?;
        std::fs::write(&draft, text).map_err(Error::io("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(Error::io("write", &path))
    }

    /// Notes a process just started.
    pub(super) fn add(&mut self, program: &str, pid: u32) {
        let started = start_time(pid).unwrap_or_default();
        self.processes.push(Process { program: program.to_owned(), pid, started });
    }

    /// The first recorded process that no longer runs.
    pub(super) fn ended(&self) -> Option<&Process> {
        self.processes.iter().find(|process| !self.runs(process))
    }

    /// Whether the process still is the recorded one.
    pub(super) fn runs(&self, process: &Process) -> bool {
        self.boot == boot_id() && start_time(process.pid) == Some(process.started)
    }

    /// Ends the processes of these programs (all without any), last started first, and waits until they are gone or
    /// `patience` is over. At once, by SIGKILL: nothing they hold is kept.
    pub(super) fn end(&self, programs: &[&str], patience: Duration) {
        let chosen = |process: &&Process| programs.is_empty() || programs.contains(&process.program.as_str());
        let running = || self.processes.iter().rev().filter(chosen).filter(|process| self.runs(process));
        for process in running() {
            kill(process.pid);
        }
        let deadline = Instant::now() + patience;
        while running().next().is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends SIGKILL; a process that has just ended is fine.
pub(super) fn kill(pid: u32) {
    drop(line(&format!("kill -KILL {pid}")));
}

fn file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process or it is a zombie nobody waits for.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name (field 2) may contain spaces and parentheses, so count from its last parenthesis.
fn parse_stat(text: &str) -> Option<u64> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let status = fields.next()?;
    if status == "Z" || status == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_used_again_by_a_stranger_is_left_alone() {
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut state = State::new("x", Path::new("/x"));
        state.add("sleep", stranger.id());
        assert!(state.runs(&state.processes[0]));
        state.processes[0].started -= 1;
        assert!(!state.runs(&state.processes[0]));
        state.end(&[], Duration::from_millis(50));
        assert!(stranger.try_wait().unwrap().is_none(), "a foreign process was signalled");
        state.processes[0].started += 1;
        state.boot = "another boot".into();
        state.end(&[], Duration::from_millis(50));
        assert!(stranger.try_wait().unwrap().is_none(), "a process of another boot was signalled");
        state.boot = boot_id();
        state.end(&["other"], Duration::from_millis(50));
        assert!(stranger.try_wait().unwrap().is_none(), "a process that was not asked for was signalled");
        state.end(&[], Duration::from_secs(5));
        assert!(stranger.try_wait().unwrap().is_some(), "our own process was not ended");
    }

    #[test]
    fn start_time_is_read_behind_a_name_with_spaces_and_a_zombie_does_not_run() {
        let tail = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(&format!("1 (a b) c) S {tail}")), Some(4711));
        assert_eq!(parse_stat(&format!("1 (a) Z {tail}")), None);
    }

    #[test]
    fn the_record_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        let mut state = State::new("x", Path::new("/x"));
        state.add("self", std::process::id());
        state.write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), Some(state));
    }
}
