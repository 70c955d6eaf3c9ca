//! What can go wrong in the harness: one enum, because a test that fails to set its world up can only print it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// `Result` with the harness' [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the harness (not of the product under test). Every text says what was tried, why it failed and, where
/// one is known, the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the machine must have is not there.
    #[error("{what} is missing: {cure}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it, as a command where possible.
        cure: String,
    },
    /// A file or folder could not be read, written or removed.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried, as "write" or "create folder".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program could not be started, or ended when it should have run.
    #[error("{program}: {why}{}", log_tail(.log.as_deref()))]
    Process {
        /// The program's name.
        program: String,
        /// What happened to it.
        why: String,
        /// Its log file; the last lines are part of the text.
        log: Option<PathBuf>,
    },
    /// A certificate or key could not be made.
    #[error("make certificate for {subject}: {source}")]
    Certificate {
        /// Whom the certificate names.
        subject: String,
        /// rcgen's reason.
        source: rcgen::Error,
    },
    /// The API server refused a request, or could not be reached.
    #[error("{doing}: {source}")]
    Kube {
        /// What was tried.
        doing: String,
        /// The API server's or the client's words.
        source: Box<kube::Error>,
    },
    /// A document handed to the harness is not what it should be.
    #[error("{what}: {why}")]
    Invalid {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something awaited did not happen.
    #[error("gave up waiting for {what} after {} s: {last}{}", .after.as_secs(), log_tail(.log.as_deref()))]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last.
        last: String,
        /// The log file that may tell why; the last lines are part of the text.
        log: Option<PathBuf>,
    },
}

impl Error {
    /// An [`Error::Io`] for `path`, to be used in `map_err`.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// An [`Error::Kube`], to be used in `map_err`.
    pub fn kube(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kube { doing, source: Box::new(source) }
    }

    /// The API server's status when it answered with one: its `code`, `reason` and `message` are what tests of
    /// admission rules compare.
    pub fn api_status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The last lines of a log file as a suffix of an error text; empty when there is none.
fn log_tail(log: Option<&Path>) -> String {
    const LINES: usize = 15;
    let Some(path) = log else { return String::new() };
    let Ok(bytes) = std::fs::read(path) else { return String::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    if tail.is_empty() { String::new() } else { format!("\nlast lines of {}:\n  {tail}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_error_ends_with_the_last_lines_of_its_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        std::fs::write(file.path(), text).unwrap();
        let error =
            Error::Process { program: "etcd".into(), why: "ended".into(), log: Some(file.path().to_path_buf()) };
        let text = error.to_string();
        assert!(text.starts_with("etcd: ended\nlast lines of "), "{text}");
        assert!(text.contains("line 25\n") && text.ends_with("line 39") && !text.contains("line 24"), "{text}");
    }
}
