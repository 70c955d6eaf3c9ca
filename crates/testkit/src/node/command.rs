//! Runs short commands of the machine to their end, with their words in the error.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::assets;
use crate::error::{Error, Result};

/// A command by name (looked up in the `sbin` folders too) with arguments.
pub(super) fn command<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(assets::find_program(program).unwrap_or_else(|| program.into()));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it; its standard output. Anything but success is an error that has its standard error.
pub(super) fn run(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
    let failed = |why: String| Error::Process { program: name.clone(), why, log: None };
    let output = command.output().map_err(|error| failed(format!("did not start: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(format!("{} ({}): {words}", output.status, arguments.join(" "))))
}

/// Splits at spaces and runs: for commands whose arguments have none.
pub(super) fn line(text: &str) -> Result<String> {
    let mut words = text.split_whitespace();
    let program = words.next().unwrap_or_default();
    run(command(program, words))
}
