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
    /// It was deleted before anything was written for it.
    #[error("the object was deleted meanwhile; nothing was written for it")]
    Gone,
    /// A reconcile did not come to its end.
    #[error("a reconcile took longer than {} s and was dropped", .0.as_secs())]
    TooLong(Duration),
}

impl Error {
    /// Bounded word for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Kube(error) => error.category(),
            Self::NotLeading => "NotLeading",
            Self::Gone => "Gone",
            Self::TooLong(_) => "TooLong",
        }
    }

    /// What the API server asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Kube(error) => error.retry_after(),
            Self::NotLeading | Self::Gone | Self::TooLong(_) => None,
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
    /// The same, but something else is looked at after this long; what the other side asked for is kept by those who call it.
    BackoffOr(Option<Duration>, Duration),
}

impl Next {
    /// The sooner of two. A failure counts as one, however soon something else is looked at.
    pub(crate) fn sooner(self, other: Self) -> Self {
        let (asked, failed) = match (self.asked(), other.asked()) {
            (None, None) => (None, false),
            (Some(a), Some(b)) => (a.max(b), true),
            (Some(asked), None) | (None, Some(asked)) => (asked, true),
        };
        let after = [self.after(), other.after()].into_iter().flatten().min();
        match (failed, after) {
            (false, None) => Self::OnChange,
            (false, Some(after)) => Self::After(after),
            (true, None) => Self::Backoff(asked),
            (true, Some(after)) => Self::BackoffOr(asked, after),
        }
    }

    /// For a failure: what the other side asked for, if it did.
    fn asked(self) -> Option<Option<Duration>> {
        match self {
            Self::Backoff(asked) | Self::BackoffOr(asked, _) => Some(asked),
            Self::OnChange | Self::After(_) => None,
        }
    }

    fn after(self) -> Option<Duration> {
        match self {
            Self::After(after) | Self::BackoffOr(_, after) => Some(after),
            Self::OnChange | Self::Backoff(_) => None,
        }
    }
}

impl From<&duo_gitlab::Error> for Next {
    fn from(error: &duo_gitlab::Error) -> Self {
        Self::Backoff(error.retry_after())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_keep_something_else_waiting() {
        use Next::{After, Backoff, BackoffOr, OnChange};
        let seconds = Duration::from_secs;
        let cases = [
            (OnChange, OnChange, OnChange),
            (OnChange, After(seconds(3)), After(seconds(3))),
            (After(seconds(5)), After(seconds(3)), After(seconds(3))),
            (OnChange, Backoff(None), Backoff(None)),
            (After(seconds(1)), Backoff(Some(seconds(60))), BackoffOr(Some(seconds(60)), seconds(1))),
            (Backoff(Some(seconds(5))), Backoff(Some(seconds(60))), Backoff(Some(seconds(60)))),
            (BackoffOr(None, seconds(9)), After(seconds(3)), BackoffOr(None, seconds(3))),
            (BackoffOr(None, seconds(9)), Backoff(Some(seconds(2))), BackoffOr(Some(seconds(2)), seconds(9))),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.sooner(other), expected, "{one:?} {other:?}");
            assert_eq!(other.sooner(one), expected, "{other:?} {one:?}");
        }
    }
}
