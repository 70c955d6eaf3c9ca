//! GitLab's connection check of one model: when to run it and what its answer means.

use duo_api::condition::CONNECTION_VERIFIED;

use crate::conditions::{Cure, Finding};

/// A passed check is repeated after this many seconds; each one costs tokens.
pub const PASSED_PERIOD_SECONDS: i64 = 6 * 3600;

/// What the last check tried and when; from the status.
#[derive(Clone, Debug, Default)]
pub struct LastCheck {
    /// Fingerprint of what was tried.
    pub fingerprint: Option<String>,
    /// Unix seconds.
    pub at: Option<i64>,
    /// Whether it passed.
    pub passed: bool,
}

/// Seconds until the next check is due; 0: now.
///
/// On a change at once; a passed check is good for six hours; one that did not pass is repeated after `retry_seconds`.
pub fn due_in(last: &LastCheck, fingerprint: &str, now: i64, retry_seconds: i64) -> i64 {
    if last.fingerprint.as_deref() != Some(fingerprint) {
        return 0;
    }
    let period = if last.passed { PASSED_PERIOD_SECONDS } else { retry_seconds };
    // A time in the future (a clock that was set back) counts as now.
    last.at.map_or(0, |at| (at.min(now) + period - now).max(0))
}

/// Whether the time of a check belongs in the status. One that says again what the last one said does not: a check that
/// cannot pass (an instance without a token) is made every few seconds, and each time would be a write.
pub fn is_news(same_fingerprint: bool, last: Option<&Finding>, now: &Finding) -> bool {
    now.status == duo_api::ConditionStatus::True
        || !same_fingerprint
        || last.is_none_or(|last| (last.status, last.reason, &last.message) != (now.status, now.reason, &now.message))
}

/// The condition while the gateway is not ready to be checked again: a model that failed its last check stays failed
/// until one passes, for `Unknown` would make it Ready before users are served.
pub fn while_waiting(last: Option<Finding>, waiting: Finding) -> Finding {
    match last {
        Some(failed) if failed.status == duo_api::ConditionStatus::False => Finding { cure: Cure::Time, ..failed },
        _ => waiting,
    }
}

/// What GitLab's answer means. GitLab 18.9 waits 3 s for the gateway, so a time-out says nothing about the model; a
/// bare 401 comes from an instance without a token of its own before code completion is self-hosted.
pub fn judge(success: bool, message: &str) -> Finding {
    let text = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |words: &str| text.contains(words);
    if success {
        return Finding::holds(CONNECTION_VERIFIED, "ConnectionVerified", text);
    }
    if has("You have not configured your local AI gateway URL") {
        return Finding::unknown(CONNECTION_VERIFIED, "GatewayURLNotConfigured", text);
    }
    // the gateway answers before GitLab gives up waiting, so that the administrator reads which model was slow
    let slow = has("The self-hosted model server returned code 408");
    if has("The self-hosted model server returned code") && !slow {
        return Finding::fails(CONNECTION_VERIFIED, "ModelRefused", text).by_person();
    }
    if has("AI Gateway returned code 401") {
        return Finding::unknown(
            CONNECTION_VERIFIED,
            "NoInstanceToken",
            format!(
                "{text} (before code completion is assigned to a self-hosted model GitLab may have no token to send)"
            ),
        );
    }
    let timed_out =
        slow || ["timeout", "Timeout", "timed out", "execution expired", "ReadTimeout"].iter().any(|words| has(words));
    if timed_out {
        return Finding::unknown(
            CONNECTION_VERIFIED,
            "CheckTimedOut",
            format!("{text} (GitLab waits 3 s for this check; a slow model is not a broken one)"),
        );
    }
    if has("Unknown error") {
        return Finding::unknown(CONNECTION_VERIFIED, "CheckInconclusive", text);
    }
    Finding::fails(CONNECTION_VERIFIED, "ConnectionCheckFailed", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use duo_api::ConditionStatus::{False, True, Unknown};

    #[test]
    fn only_the_models_own_refusal_is_a_failure_of_the_model() {
        let cases = [
            (true, "Successfully connected to the self-hosted model", True, "ConnectionVerified"),
            (false, "ERROR: The self-hosted model server returned code 403: Forbidden", False, "ModelRefused"),
            (false, "ERROR: AI Gateway returned code 401: Unknown error. Make sure", Unknown, "NoInstanceToken"),
            (false, "ERROR: Net::ReadTimeout with #<TCPSocket>", Unknown, "CheckTimedOut"),
            (
                false,
                "ERROR: The self-hosted model server returned code 408: Request Timeout (model 'bedrock/m')",
                Unknown,
                "CheckTimedOut",
            ),
            (false, "ERROR: AI Gateway returned code 422: model is not declared", False, "ConnectionCheckFailed"),
            (false, "ERROR: AI Gateway returned code 500: Unknown error. Make sure", Unknown, "CheckInconclusive"),
            (
                false,
                "You have not configured your local AI gateway URL. Configure the URL in the settings.",
                Unknown,
                "GatewayURLNotConfigured",
            ),
        ];
        for (success, message, status, reason) in cases {
            let finding = judge(success, message);
            assert_eq!((finding.status, finding.reason), (status, reason), "{message}");
        }
    }

    #[test]
    fn a_model_that_failed_stays_failed_until_a_check_passes() {
        let waiting = || Finding::unknown(CONNECTION_VERIFIED, "WaitingForGateway", "");
        let failed = Finding::fails(CONNECTION_VERIFIED, "ModelRefused", "403").by_person();
        let kept = while_waiting(Some(failed), waiting());
        assert_eq!((kept.status, kept.reason, kept.cure), (False, "ModelRefused", Cure::Time));
        let passed = Finding::holds(CONNECTION_VERIFIED, "ConnectionVerified", "");
        for last in [None, Some(passed), Some(Finding::unknown(CONNECTION_VERIFIED, "CheckTimedOut", ""))] {
            assert_eq!(while_waiting(last, waiting()), waiting());
        }
    }

    #[test]
    fn a_verdict_that_repeats_itself_is_no_news() {
        let refused = |message: &str| Finding::fails(CONNECTION_VERIFIED, "ModelRefused", message).by_person();
        let passed = Finding::holds(CONNECTION_VERIFIED, "ConnectionVerified", "");
        assert!(!is_news(true, Some(&refused("403")), &refused("403")));
        assert!(is_news(true, Some(&refused("403")), &refused("404")));
        assert!(is_news(false, Some(&refused("403")), &refused("403")), "something else was tried");
        assert!(is_news(true, None, &refused("403")));
        assert!(is_news(true, Some(&passed), &refused("403")));
        assert!(is_news(true, Some(&passed), &passed), "a check that passed is good for hours from then on");
    }

    #[test]
    fn a_check_is_due_on_change_then_seldom() {
        let last = |passed| LastCheck { fingerprint: Some("a".into()), at: Some(1000), passed };
        assert_eq!(due_in(&LastCheck::default(), "a", 1000, 30), 0);
        assert_eq!(due_in(&last(true), "b", 1001, 30), 0);
        assert_eq!(due_in(&last(true), "a", 1001, 30), PASSED_PERIOD_SECONDS - 1);
        assert_eq!(due_in(&last(false), "a", 1001, 30), 29);
        assert_eq!(due_in(&last(false), "a", 2000, 30), 0);
        assert_eq!(due_in(&last(true), "a", 10, 30), PASSED_PERIOD_SECONDS, "a clock that was set back");
    }
}
