//! The operator as a process.

use std::path::{Path, PathBuf};

use duo_testkit::control_plane::ControlPlane;
use duo_testkit::process::{ProcessSpec, Supervised, TempFolder};

use crate::programs;

/// A running `duo-operator`, with its ServiceAccount's rights. Ends when dropped.
pub struct Operator {
    process: Option<Supervised>,
    spec: ProcessSpec,
    log: PathBuf,
    _folder: TempFolder,
}

impl Operator {
    /// Starts it for one namespace. `resync_seconds` is short in suites, so that a period passes quickly.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(control_plane: &ControlPlane, namespace: &str, resync_seconds: u64, args: &[&str]) -> Self {
        let kubeconfig =
            control_plane.kubeconfig_for_service_account("duo-operator", "duo-operator").await.expect("a kubeconfig");
        Self::start_with(&kubeconfig, namespace, resync_seconds, args)
    }

    /// As [`Self::start`], with a kubeconfig of the caller's.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with(kubeconfig: &Path, namespace: &str, resync_seconds: u64, args: &[&str]) -> Self {
        let folder = TempFolder::new("duo-operator-").expect("a temporary folder");
        let log = folder.join("log");
        let spec = ProcessSpec::new(programs::program("duo-operator"), &log)
            .args(["run", "--watch-namespace", namespace, "--resync", &resync_seconds.to_string()])
            .args(["--health-addr", "127.0.0.1:0"])
            .args(if args.contains(&"--metrics-addr") { vec![] } else { vec!["--metrics-addr", "127.0.0.1:0"] })
            .args(if args.iter().any(|arg| arg.starts_with("--leader-elect")) {
                vec![]
            } else {
                vec!["--leader-elect=false"]
            })
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info,duo_operator=debug,duo_runtime=debug");
        let process = spec.clone().spawn().expect("the operator starts");
        Self { process: Some(process), spec, log, _folder: folder }
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it (SIGKILL) if it runs.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("KILL");
        }
    }

    /// Asks it to end (SIGTERM) and waits for it. True when it ended with code 0.
    pub async fn terminate(&mut self) -> bool {
        let Some(mut process) = self.process.take() else { return true };
        process.signal("TERM");
        for _ in 0..600 {
            if let Ok(Some(code)) = process.exit_code() {
                return code == 0;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        false
    }

    /// Starts it again after [`Self::kill`] or [`Self::terminate`]; the log goes on.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_again(&mut self) {
        self.process = Some(self.spec.clone().spawn().expect("the operator starts"));
    }
}
