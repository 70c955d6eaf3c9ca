//! What a failed call says: about the request, about the place, and whether another call may go better.

use std::time::Duration;

use duo_protocol::model::UpstreamFailure;

/// What to do after a failure of which nothing was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request's own fault (400, 413, 422; content filters answer 400): no server will like it better.
    TheRequests,
    /// The fault of this place and lasting (its key, its model's name, its address, an answer that is none): another
    /// place may do, the same will not.
    Elsewhere,
    /// It may pass: the same place may do, too.
    Again,
}

/// How one call of a place ended, for its circuit breaker and the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// With a 4xx: the server works.
    Refused,
    /// With 429: the server works, too much.
    Throttled,
    /// With a 5xx, no connection, or something that is no answer.
    Failed,
    /// Not in time.
    TimedOut,
    /// Nobody waited for its end: the client went, or another call was quicker.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Refused, Self::Throttled, Self::Failed, Self::TimedOut, Self::Cancelled];

    /// Label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// What the failure was.
    pub fn of(failure: &UpstreamFailure) -> Self {
        match failure {
            UpstreamFailure::Throttled { .. } | UpstreamFailure::Status { code: 429, .. } => Self::Throttled,
            UpstreamFailure::Timeout | UpstreamFailure::Status { code: 408 | 504, .. } => Self::TimedOut,
            // 424 is Bedrock's word for a model that failed inside
            UpstreamFailure::Status { code: ..=423 | 425..=499, .. } => Self::Refused,
            UpstreamFailure::Status { .. }
            | UpstreamFailure::Unavailable { .. }
            | UpstreamFailure::Protocol { .. }
            | UpstreamFailure::StreamBroken { .. } => Self::Failed,
        }
    }
}

/// Judges a failure of which nothing was passed on.
pub fn verdict(failure: &UpstreamFailure) -> Verdict {
    match failure {
        UpstreamFailure::Status { code: 400 | 413 | 422, .. } => Verdict::TheRequests,
        UpstreamFailure::Status { code: 408 | 424 | 429 | 500.., .. }
        | UpstreamFailure::Throttled { .. }
        | UpstreamFailure::Unavailable { .. }
        | UpstreamFailure::Timeout
        | UpstreamFailure::StreamBroken { .. } => Verdict::Again,
        UpstreamFailure::Status { .. } | UpstreamFailure::Protocol { .. } => Verdict::Elsewhere,
    }
}

/// How long the server asked to be left alone.
pub fn retry_after(failure: &UpstreamFailure) -> Option<Duration> {
    match failure {
        UpstreamFailure::Throttled { retry_after } | UpstreamFailure::Status { retry_after, .. } => {
            retry_after.filter(|wait| !wait.is_zero())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> UpstreamFailure {
        UpstreamFailure::Status { code, reason: String::new(), retry_after: None }
    }

    #[test]
    fn verdicts_and_outcomes_by_failure() {
        let text = String::new;
        for (failure, expected, outcome) in [
            (status(400), Verdict::TheRequests, Outcome::Refused),
            (status(413), Verdict::TheRequests, Outcome::Refused),
            (status(422), Verdict::TheRequests, Outcome::Refused),
            (status(302), Verdict::Elsewhere, Outcome::Refused),
            (status(401), Verdict::Elsewhere, Outcome::Refused),
            (status(403), Verdict::Elsewhere, Outcome::Refused),
            (status(404), Verdict::Elsewhere, Outcome::Refused),
            (status(424), Verdict::Again, Outcome::Failed),
            (status(429), Verdict::Again, Outcome::Throttled),
            (status(500), Verdict::Again, Outcome::Failed),
            (status(503), Verdict::Again, Outcome::Failed),
            (UpstreamFailure::Throttled { retry_after: None }, Verdict::Again, Outcome::Throttled),
            (UpstreamFailure::Unavailable { reason: text() }, Verdict::Again, Outcome::Failed),
            (UpstreamFailure::Timeout, Verdict::Again, Outcome::TimedOut),
            (UpstreamFailure::Protocol { reason: text() }, Verdict::Elsewhere, Outcome::Failed),
            (UpstreamFailure::StreamBroken { reason: text() }, Verdict::Again, Outcome::Failed),
        ] {
            assert_eq!((verdict(&failure), Outcome::of(&failure)), (expected, outcome), "{failure:?}");
        }
    }
}
