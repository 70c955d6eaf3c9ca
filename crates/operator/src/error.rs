//! Errors of a reconcile that end it early. What GitLab answers is a condition and no error.

use std::time::Duration;

/// A reconcile that could not be finished; tried again with backoff.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A call to the Kubernetes API failed.
    #[error(transparent)]
    Kube(#[from] duo_runtime::Error),
    /// This process lost its lease.
    #[error("this replica is not the leader any more; nothing was written")]
    NotLeading,
}

impl Error {
    /// Bounded word for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Kube(error) => error.category(),
            Self::NotLeading => "NotLeading",
        }
    }

    /// What the API server asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Kube(error) => error.retry_after(),
            Self::NotLeading => None,
        }
    }
}

/// When a reconcile should come back without a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Next {
    /// Only when something changes.
    #[default]
    OnChange,
    /// After this long.
    After(Duration),
    /// With growing waits: what was tried failed for now. Never sooner than the other side asked for.
    Backoff(Option<Duration>),
}

impl Next {
    /// The sooner of two; a backoff is kept over a later look.
    pub(crate) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::OnChange, next) | (next, Self::OnChange) => next,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (backoff @ Self::Backoff(_), _) | (_, backoff @ Self::Backoff(_)) => backoff,
        }
    }
}

impl From<&duo_gitlab::Error> for Next {
    fn from(error: &duo_gitlab::Error) -> Self {
        Self::Backoff(error.retry_after())
    }
}
