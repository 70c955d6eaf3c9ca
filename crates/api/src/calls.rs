//! How calls of a model are made: times, repeats, how many at once, and what they cost. Counts hold for one gateway
//! pod; pods do not share them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Times of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.firstByte) || !has(self.overall) || duration(self.firstByte) <= duration(self.overall)")
        .message("timeouts.firstByte must not be longer than timeouts.overall")
        .field_path(".firstByte")
)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsSpec {
    /// Until the model server's first byte, whole seconds. Default: the overall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("timeouts.firstByte", "1s", "600s"))]
    pub first_byte: Option<String>,
    /// Of the whole call with retries and fallbacks, whole seconds. Default: the AIGateway's `requestTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("timeouts.overall", "1s", "600s"))]
    pub overall: Option<String>,
}

/// Calls that are made again after 408, 429, 5xx, refused connections and time-outs; never a stream that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetriesSpec {
    /// Calls after the first. Default 1; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: Option<i32>,
    /// Longest pause before a repeat, for example `500ms`; a server that asks for a longer one is not asked again.
    /// Default 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^[0-9]+(ms|s)$"))]
    #[x_kube(validation = crate::rules::duration("retries.maxPause", "1ms", "60s"))]
    pub max_pause: Option<String>,
}

/// Leaves a place alone that fails again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakerSpec {
    /// Failures in a row that open it. Default 5; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_failures: Option<i32>,
    /// Until one call tries whether the place is back, whole seconds. Default 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("circuitBreaker.openFor", "1s", "600s"))]
    pub open_for: Option<String>,
}

/// A second call of a code completion that is slower than nearly all before it; the first answer counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HedgingSpec {
    /// Percentile of the last calls' times after which the second one starts. Default 95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 50, max = 99))]
    pub percentile: Option<i32>,
    /// Never earlier than this, for example `150ms`. Default 100ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^[0-9]+(ms|s)$"))]
    #[x_kube(validation = crate::rules::duration("hedging.minDelay", "1ms", "60s"))]
    pub min_delay: Option<String>,
}

/// Calls of a model at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencySpec {
    /// Calls under way. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests: Option<i32>,
    /// Requests that wait for a free place; one more gets 429. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_queued: Option<i32>,
    /// How long a request waits before it gets 429, whole seconds. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("concurrency.queueTimeout", "1s", "600s"))]
    pub queue_timeout: Option<String>,
}

/// What a model's tokens cost, in the AIGateway's `currency`; decimal numbers such as `"3.00"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceSpec {
    /// A million tokens read.
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"))]
    pub input_per_million_tokens: String,
    /// A million tokens written.
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"))]
    pub output_per_million_tokens: String,
    /// A million tokens read from the prompt cache. Default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"))]
    pub cache_read_per_million_tokens: Option<String>,
    /// A million tokens written to the prompt cache. Default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"))]
    pub cache_write_per_million_tokens: Option<String>,
}
