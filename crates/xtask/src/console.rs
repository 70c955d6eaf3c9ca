//! What the commands tell the person who runs them: lines with the elapsed time, and failures with their cure.

use std::io::Write;
use std::time::Instant;

use duo_testkit::node::Progress;

/// Writes to standard output. Clones share the start time.
#[derive(Clone)]
pub(crate) struct Console {
    started: Instant,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// A line with the seconds since the command began.
    pub(crate) fn step(&self, what: &str) {
        self.plain(&format!("[{:>4} s] {what}", self.started.elapsed().as_secs()));
    }

    /// Text as it is.
    pub(crate) fn plain(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // nobody listens any more: the work goes on
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// The last line of a command that failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        let seconds = self.started.elapsed().as_secs();
        drop(writeln!(std::io::stderr().lock(), "[{seconds:>4} s] failed: {failure}"));
    }

    /// For the harness.
    pub(crate) fn progress(&self) -> Progress {
        let console = self.clone();
        Progress::to(move |line| console.step(line))
    }
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The cluster's harness.
    #[error("{0}")]
    Harness(#[from] duo_testkit::Error),
    /// An image.
    #[error("{0}")]
    Image(#[from] duo_testkit::images::Error),
    /// Anything else, in full.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// For `map_err`: what was tried, then the reason.
    pub(crate) fn when<E: std::fmt::Display>(doing: impl std::fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Other(format!("{doing}: {error}"))
    }
}
