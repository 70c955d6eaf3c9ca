//! Many failures, one answer: what is told of calls that all failed.

use std::time::Duration;

use duo_protocol::failure::{FailureAnswer, Surface, answer_for};
use duo_protocol::model::UpstreamFailure;

use crate::resilience::retry_after;
use crate::upstream::Declared;

/// Failed fallbacks named in an answer, and calls in a log line, at most.
const MOST_TOLD: usize = 8;

/// One call that failed.
#[derive(Debug)]
pub(super) struct FailedCall {
    /// Number of the place.
    pub(super) member: usize,
    pub(super) failure: UpstreamFailure,
    pub(super) took: Duration,
}

/// What went wrong so far, in order.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pub(super) failures: Vec<FailedCall>,
    /// Places that were not called because of their circuit breaker, with the time until they are tried again.
    pub(super) left_alone: Vec<(usize, Duration)>,
}

impl Lost {
    /// The failure that tells most: the last of the model's own places, because it is the model that the user asked and
    /// the administrator declared; else that they are left alone.
    pub(super) fn telling(&self, target: &Declared) -> UpstreamFailure {
        if let Some(call) = self.failures.iter().rfind(|call| call.member < target.own) {
            return call.failure.clone();
        }
        let Some((member, wait)) = self.left_alone.iter().min_by_key(|(_, wait)| *wait) else {
            // no time was left for any call
            return self.failures.last().map_or(UpstreamFailure::Timeout, |call| call.failure.clone());
        };
        let last = target.members[*member].state.last_failure();
        let last = last.map(|failure| format!(": {failure}")).unwrap_or_default();
        UpstreamFailure::Status {
            code: 503,
            reason: format!("it failed again and again and is left alone for a moment; the last time{last}"),
            retry_after: Some(*wait),
        }
    }

    /// The answer: names the model and the telling cause, then the fallbacks that failed, too. `Retry-After` is the
    /// first moment at which any of the places may answer.
    pub(super) fn answer(&self, target: &Declared, surface: Surface) -> FailureAnswer {
        let telling = self.telling(target);
        let mut answer = answer_for(&telling, &target.primary().identifier.to_string(), surface);
        if matches!(answer.status, 429 | 503) {
            let asked = self.failures.iter().filter_map(|call| retry_after(&call.failure));
            let left_alone = self.left_alone.iter().map(|(_, wait)| *wait).filter(|wait| !wait.is_zero());
            answer.retry_after = asked.chain(left_alone).chain(answer.retry_after).min();
        }
        let mut named = Vec::new();
        for call in self.failures.iter().rev().filter(|call| call.member >= target.own).take(MOST_TOLD) {
            if call.failure != telling && !named.contains(&call.member) {
                named.push(call.member);
                let fallback = &target.members[call.member].place.identifier;
                answer.detail.push_str(&format!(" The fallback '{fallback}' failed, too: {}.", call.failure));
            }
        }
        answer
    }

    /// For the log: `primary: 503: boom (12 ms)`.
    pub(super) fn told(&self, target: &Declared) -> Vec<String> {
        let told = |call: &FailedCall| {
            let role = &target.members[call.member].role;
            format!("{role}: {} ({} ms)", call.failure, call.took.as_millis())
        };
        self.failures.iter().take(MOST_TOLD).map(told).collect()
    }
}
