//! Programs run by tests: each in its own process group, its output in a log file, and none outlives the test, also
//! when the test panics or is killed with SIGKILL. Knows nothing of Kubernetes.

mod folder;
mod ports;
mod supervised;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use folder::TempFolder;
pub use ports::free_ports;
pub(crate) use ports::random;
pub use supervised::Supervised;

use crate::error::{Error, Result};

/// What to run; a builder. The program's output is appended to a log file, its input is empty.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    name: String,
    program: PathBuf,
    log: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    current_dir: Option<PathBuf>,
}

impl ProcessSpec {
    /// Runs `program` (a path, or a name on PATH) with its output appended to `log`. It is named after the file.
    pub fn new(program: impl AsRef<Path>, log: impl Into<PathBuf>) -> Self {
        let program = program.as_ref().to_path_buf();
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self { name, program, log: log.into(), args: vec![], env: vec![], clear_env: false, current_dir: None }
    }

    /// The name used in error texts.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts from an empty environment instead of this process' (only PATH is kept).
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// The working directory; this process' when not set.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(folder.into());
        self
    }

    /// Starts it; it ends when the returned value is dropped or this process ends in whatever way.
    pub fn spawn(self) -> Result<Supervised> {
        Supervised::spawn(self)
    }

    /// `sh -c script sh LOG PROGRAM ARGS…` in a process group of its own.
    fn shell(&self, script: &str) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("sh").arg(&self.log).arg(&self.program).args(&self.args);
        if self.clear_env {
            command.env_clear();
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.current_dir {
            command.current_dir(folder);
        }
        command.process_group(0);
        command
    }

    fn failed(&self, why: impl Into<String>) -> Error {
        Error::Process { program: self.name.clone(), why: why.into(), log: Some(self.log.clone()) }
    }
}
