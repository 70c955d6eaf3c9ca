//! A child that cannot outlive this process.
//!
//! The kernel's own means (PR_SET_PDEATHSIG) needs unsafe code and goes by thread, so a small shell stands between: it
//! holds the reading end of a pipe whose writing end only this process has. When the pipe closes, for whatever reason,
//! the shell kills the child. Signals to the child travel through the same pipe, so a reused process id is never hit.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use super::ProcessSpec;
use crate::error::{Error, Result};

const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
log=$1
shift
"$@" >>"$log" 2>&1 3<&- &
child=$!
echo "$child"
exec >&-
(
  while read -r signal; do kill -"$signal" "$child"; done <&3
  kill -KILL "$child"
) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$child"
status=$?
kill -KILL "$watcher" 2>/dev/null
exit "$status"
"#;

/// How often the end of a child is looked for.
const POLL: Duration = Duration::from_millis(10);

/// A running child. Dropping it kills the child (SIGKILL) and waits for its end.
///
/// Only the child itself is watched: what it starts in turn is its own affair.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    log: PathBuf,
    pid: u32,
    supervisor: Child,
    commands: Option<ChildStdin>,
}

impl Supervised {
    pub(super) fn spawn(spec: ProcessSpec) -> Result<Self> {
        let mut supervisor = spec
            .shell(SUPERVISOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| spec.failed(format!("cannot start sh: {error}")))?;
        let commands = supervisor.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|error| spec.failed(format!("supervisor says nothing: {error}")))?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| spec.failed(format!("supervisor gives {:?} for the process id", line.trim())))?;
        Ok(Self { name: spec.name, log: spec.log, pid, supervisor, commands })
    }

    /// The child's process id, also after its end.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name used in error texts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that has the child's output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal by its short name, as `"TERM"`; nothing happens when the child has ended.
    pub fn signal(&mut self, signal: &str) {
        if let Some(commands) = &mut self.commands {
            // a closed pipe means the supervisor is gone and the child with it
            let _ = writeln!(commands, "{signal}");
            let _ = commands.flush();
        }
    }

    /// The exit code once the child has ended (128 + n after signal n), else `None`.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        match self.supervisor.try_wait() {
            Ok(status) => Ok(status.map(|status| status.code().unwrap_or(-1))),
            Err(error) => Err(self.failed(format!("cannot be waited for: {error}"))),
        }
    }

    /// An error when the child has ended: for loops that wait for it to become ready.
    pub fn check_running(&mut self) -> Result<()> {
        match self.exit_code()? {
            None => Ok(()),
            Some(code) => Err(self.failed(format!("ended with code {code}"))),
        }
    }

    /// Waits for the child's end and returns its exit code.
    pub async fn wait(&mut self) -> Result<i32> {
        loop {
            if let Some(code) = self.exit_code()? {
                return Ok(code);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGTERM, then SIGKILL when `grace` is over; returns the exit code (137 when it had to be killed).
    pub async fn stop(&mut self, grace: Duration) -> Result<i32> {
        self.signal("TERM");
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(code) => code,
            Err(_) => {
                self.commands = None;
                self.wait().await
            }
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.commands = None;
        // the bound is for a child that even SIGKILL does not end (a hanging file system), not for the common case
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Ok(None) = self.supervisor.try_wait() {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(POLL);
        }
    }

    fn failed(&self, why: String) -> Error {
        Error::Process { program: self.name.clone(), why, log: Some(self.log.clone()) }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a process of this id runs; a zombie does not.
    fn is_running(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    }

    fn sleeper(folder: &Path) -> Supervised {
        ProcessSpec::new("sleep", folder.join("log")).arg("600").spawn().unwrap()
    }

    async fn ends(pid: u32) {
        while is_running(pid) {
            tokio::time::sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn the_child_ends_when_its_handle_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let child = sleeper(folder.path());
        let pid = child.pid();
        assert!(is_running(pid));
        drop(child);
        assert!(!is_running(pid));
    }

    #[tokio::test]
    async fn the_child_ends_when_its_parent_is_killed_outright() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        // a parent of its own, which does what Supervised::spawn does and then is killed by SIGKILL
        let mut parent = std::process::Command::new("sh")
            .arg("-c")
            .arg("sleep 600 | sh -c \"$1\" sh /dev/null sleep 600 >\"$2\"")
            .args(["sh", SUPERVISOR])
            .arg(&pid_file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = loop {
            if let Ok(pid) = std::fs::read_to_string(&pid_file).unwrap_or_default().trim().parse::<u32>() {
                break pid;
            }
            tokio::time::sleep(POLL).await;
        };
        assert!(is_running(pid));
        // the writer of the pipe is the first `sleep` of that shell
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
        let writer = children.split_whitespace().next().unwrap().to_owned();
        assert!(std::process::Command::new("kill").args(["-KILL", &writer]).status().unwrap().success());
        ends(pid).await;
        parent.wait().unwrap();
    }

    #[tokio::test]
    async fn stop_lets_the_child_finish_and_reports_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = ProcessSpec::new("sh", &log)
            .args(["-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"])
            .spawn()
            .unwrap();
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("up") {
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(child.exit_code().unwrap(), None);
        assert_eq!(child.stop(Duration::from_secs(60)).await.unwrap(), 7);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "up\nbye\n");
        assert!(child.check_running().unwrap_err().to_string().contains("ended with code 7"));
    }

    #[tokio::test]
    async fn a_child_that_ignores_sigterm_is_killed_after_the_grace() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = ProcessSpec::new("sh", &log)
            .args(["-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
            .spawn()
            .unwrap();
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("up") {
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(child.stop(Duration::from_millis(100)).await.unwrap(), 137);
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_told_by_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = ProcessSpec::new("/no/such/program", folder.path().join("log")).spawn().unwrap();
        assert_eq!(child.wait().await.unwrap(), 127);
        let text = child.check_running().unwrap_err().to_string();
        assert!(text.contains("ended with code 127") && text.contains("not found"), "{text}");
    }
}
