//! How calls of one model are made: times, retries, where else to turn to, how many at once. Every field is optional;
//! what is left out has the gateway's default, named in the field's documentation. Counts and limits hold for one
//! gateway process: replicas do not share them.

use serde::{Deserialize, Serialize};

/// Times of one model call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// Seconds of one call until the model server's first piece; whole answers, which come in one piece, have no more
    /// time either. Default: the configuration's `firstByteTimeoutSeconds`; without one the overall time, or half of it
    /// where the model has replicas or fallbacks, so that they get a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_seconds: Option<u32>,
    /// Seconds of the whole call from the request's arrival, with queueing, retries and fallbacks. Default, and never
    /// longer than: the configuration's `requestTimeoutSeconds` (chat: `AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_seconds: Option<u32>,
}

/// Calls that are made again at the same places: after refused connections, 408, 429, 5xx and time-outs to the first
/// byte, with a pause that doubles, has jitter and is never shorter than the server's `Retry-After`. Another replica is
/// called first, without a pause; a fallback has retries of its own. A stream of which a piece has been passed on is
/// never repeated. Of all calls of a model at most a fifth are retries, and ten more. A connection check has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// Calls after each place was called once. Default 1, at most 10; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Longest pause in milliseconds; a server that asks for a longer one is not asked again. Default 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pause_milliseconds: Option<u32>,
}

/// Leaves a place alone that fails again and again, so that its users get the next one (or 503 with `Retry-After`) at
/// once. Each place has its own. A connection check calls a place that is left alone, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Failures in a row (5xx, 424, refused, time-outs, broken streams, no answer at all; never another 4xx) that open
    /// it. Default 5; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u32>,
    /// Seconds until one call tries whether it is back. Default 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_seconds: Option<u32>,
}

/// A second call of the same completion where the first is slower than nearly all before it; the first answer counts,
/// the other call is ended. It goes to another replica where there is one. Only for code completions: they are short,
/// and somebody waits for each. No more than twice as many calls get a second one as the percentile says, and none
/// before ten calls are known or while `concurrency` has no free place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hedging {
    /// Percentile of the last calls' times after which the second call starts: 50 to 99. Default 95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<u32>,
    /// Never earlier than after so many milliseconds. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_delay_milliseconds: Option<u32>,
}

/// Calls of one model at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// Calls under way. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Requests that wait for a free place, first come, first served; one more gets 429. Default 256; 0: nobody waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<u32>,
    /// Seconds a request waits before it gets 429. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_seconds: Option<u32>,
}

/// What callers may use; a request beyond it gets 429 with `Retry-After` and a `detail` that names the limit. GitLab's
/// connection check is not held back. 10,000 callers of each kind are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// For each user (`X-Gitlab-Global-User-Id`, else the token's subject).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user: Option<Allowance>,
    /// For each GitLab instance (the token's subject).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_instance: Option<Allowance>,
}

/// What one caller may use; a field left out is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowance {
    /// Model calls a minute, evenly refilled; a minute's worth may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens read and written a minute. Counted when the model says them (where it says none: a quarter of the bytes),
    /// so one answer may overshoot; the debt is paid before the next call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Calls under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u32>,
}
