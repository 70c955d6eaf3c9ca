//! The operator as a program, under its ServiceAccount's rights.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use duo_testkit::control_plane::ControlPlane;
use duo_testkit::process::{ProcessSpec, Supervised, TempFolder};

use crate::{Arguments, Fallible};

/// A running operator; ends when dropped.
pub struct Operator {
    process: Supervised,
    log: PathBuf,
    /// When it was started.
    pub started: Instant,
    _folder: TempFolder,
}

impl Operator {
    /// Starts it, with an election.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(control_plane: &ControlPlane, arguments: &Arguments) -> Fallible<Self> {
        let kubeconfig = control_plane.kubeconfig_for_service_account("duo-operator", "duo-operator").await?;
        let folder = TempFolder::new("duo-bench-operator-")?;
        let log = folder.join("log");
        let spec = ProcessSpec::new(&arguments.operator, &log)
            .args(["run", "--resync", &arguments.resync.to_string(), "--leader-namespace", "duo-operator"])
            .args(["--metrics-addr", "127.0.0.1:0", "--health-addr", "127.0.0.1:0"])
            .env("KUBECONFIG", &kubeconfig)
            .env("RUST_LOG", &arguments.log);
        let started = Instant::now();
        Ok(Self { process: spec.spawn()?, log, started, _folder: folder })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        self.process.signal("TERM");
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Fallible<i32> {
        Ok(tokio::time::timeout(Duration::from_secs(60), self.process.wait()).await??)
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It has ended; the end of its log.
    pub fn check(&mut self) -> Fallible<()> {
        self.process.check_running().map_err(|error| format!("{error}\n{}", self.log_tail()).into())
    }
}
