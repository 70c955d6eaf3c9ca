//! A program that the bench starts, pinned to a core and ended with its owner.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Fallible, proc};

/// A running program.
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts it on one core; standard error goes to the file.
    ///
    /// # Errors
    /// `taskset` (package util-linux) or the program cannot be started.
    pub fn start(core: usize, program: &Path, prepare: impl FnOnce(&mut Command), log: &Path) -> Fallible<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        // taskset becomes the program: the process id stays
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(core.to_string()).arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        prepare(&mut command);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child })
    }

    /// Starts one of this program's own servers, which says its address in its first line.
    ///
    /// # Errors
    /// As [`Program::start`]; or it said something else.
    pub fn own(core: usize, arguments: &[&str], log: &Path) -> Fallible<(Self, SocketAddr)> {
        let program = std::env::current_exe()?;
        let prepare = |command: &mut Command| {
            command.args(arguments).stdout(Stdio::piped());
        };
        let mut started = Self::start(core, &program, prepare, log)?;
        let out = started.child.stdout.take().ok_or("no output of the server")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|error| format!("{arguments:?} said `{line}`: {error}"))?;
        Ok((started, address))
    }

    /// Process ids, children included.
    pub fn pids(&self) -> Vec<u32> {
        proc::family(self.child.id())
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for child in self.pids().iter().skip(1) {
            let _ = Command::new("kill").arg(child.to_string()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
