//! Rules of how calls are made: every number within the range in which it does what its name says.

use std::ops::RangeInclusive;

use super::invalid;
use crate::{ConfigError, GatewayConfig, Model, normal_endpoint};

/// Replicas of one model.
const MOST_REPLICAS: usize = 32;
/// Fallbacks of one model: each of them may take its share of the time that GitLab waits.
const MOST_FALLBACKS: usize = 16;
/// Ten minutes, the longest that GitLab waits.
const SECONDS: RangeInclusive<u64> = 1..=600;

/// Policies of all models, and the callers' limits.
pub(super) fn calls(config: &GatewayConfig) -> Result<(), ConfigError> {
    for (at, model) in config.models.iter().enumerate() {
        let field = format!("models[{at}]");
        policies(&field, model)?;
        places(&field, model)?;
    }
    let Some(limits) = &config.limits else { return Ok(()) };
    for (scope, allowance) in [("perUser", &limits.per_user), ("perInstance", &limits.per_instance)] {
        let Some(allowance) = allowance else { continue };
        let field = format!("limits.{scope}");
        within(&field, "requestsPerMinute", allowance.requests_per_minute, 1..=u64::from(u32::MAX))?;
        within(&field, "tokensPerMinute", allowance.tokens_per_minute, 1..=u64::MAX)?;
        within(&field, "concurrentRequests", allowance.concurrent_requests, 1..=u64::from(u32::MAX))?;
    }
    Ok(())
}

fn policies(field: &str, model: &Model) -> Result<(), ConfigError> {
    let at = |name: &str| format!("{field}.{name}");
    if let Some(times) = &model.timeouts {
        within(&at("timeouts"), "firstByteSeconds", times.first_byte_seconds, SECONDS)?;
        within(&at("timeouts"), "overallSeconds", times.overall_seconds, SECONDS)?;
        if let (Some(first), Some(overall)) = (times.first_byte_seconds, times.overall_seconds)
            && first > overall
        {
            return invalid(at("timeouts.firstByteSeconds"), "is longer than overallSeconds");
        }
    }
    if let Some(retries) = &model.retries {
        within(&at("retries"), "attempts", retries.attempts, 0..=10)?;
        within(&at("retries"), "maxPauseMilliseconds", retries.max_pause_milliseconds, 0..=60_000)?;
    }
    if let Some(breaker) = &model.circuit_breaker {
        within(&at("circuitBreaker"), "consecutiveFailures", breaker.consecutive_failures, 0..=1000)?;
        within(&at("circuitBreaker"), "openSeconds", breaker.open_seconds, SECONDS)?;
    }
    if let Some(hedging) = &model.hedging {
        within(&at("hedging"), "percentile", hedging.percentile, 50..=99)?;
        within(&at("hedging"), "minDelayMilliseconds", hedging.min_delay_milliseconds, 1..=60_000)?;
    }
    if let Some(concurrency) = &model.concurrency {
        within(&at("concurrency"), "maxRequests", concurrency.max_requests, 1..=100_000)?;
        within(&at("concurrency"), "maxQueued", concurrency.max_queued, 0..=100_000)?;
        within(&at("concurrency"), "queueSeconds", concurrency.queue_seconds, 0..=600)?;
    }
    Ok(())
}

fn places(field: &str, model: &Model) -> Result<(), ConfigError> {
    within(field, "weight", model.weight, 0..=1000)?;
    for (at, replica) in model.replicas.iter().enumerate() {
        within(&format!("{field}.replicas[{at}]"), "weight", replica.weight, 0..=1000)?;
    }
    for (name, count, most) in
        [("replicas", model.replicas.len(), MOST_REPLICAS), ("fallbacks", model.fallbacks.len(), MOST_FALLBACKS)]
    {
        if count > most {
            return invalid(format!("{field}.{name}"), format!("has {count} entries; at most {most} are taken"));
        }
    }
    let endpoint = |endpoint: &Option<String>| endpoint.as_deref().and_then(normal_endpoint);
    for (at, fallback) in model.fallbacks.iter().enumerate() {
        let itself = fallback.identifier == model.identifier
            && endpoint(&fallback.endpoint) == endpoint(&model.endpoint)
            && fallback.connection == model.connection;
        if itself {
            return invalid(
                format!("{field}.fallbacks[{at}]"),
                "is the model's own place: when that fails, its fallback would fail, too; name another, or use retries",
            );
        }
    }
    Ok(())
}

fn within(
    field: &str,
    name: &str,
    value: Option<impl Into<u64>>,
    range: RangeInclusive<u64>,
) -> Result<(), ConfigError> {
    let Some(value) = value.map(Into::into) else { return Ok(()) };
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    invalid(format!("{field}.{name}"), format!("{value} is out of range; give {least} to {most}, or leave it out"))
}

#[cfg(test)]
mod tests {
    use crate::GatewayConfig;

    #[test]
    fn every_number_has_a_range_and_its_field_is_named() {
        let model = |text: &str| {
            format!(
                "gitlab: {{url: http://g}}\nmodels: [{{name: a, family: f, identifier: custom_openai/m, endpoint: 'http://e/v1', {text}}}]"
            )
        };
        let fine = [
            model(
                "timeouts: {firstByteSeconds: 1, overallSeconds: 600}, retries: {attempts: 0, maxPauseMilliseconds: 0}",
            ),
            model("circuitBreaker: {consecutiveFailures: 0}, hedging: {percentile: 50, minDelayMilliseconds: 1}"),
            model("concurrency: {maxRequests: 1, maxQueued: 0, queueSeconds: 0}, weight: 0"),
            model("replicas: [{endpoint: 'http://e2/v1', weight: 1000}]"),
            model("fallbacks: [{identifier: custom_openai/m, endpoint: 'http://e2/v1'}, {identifier: bedrock/m}]"),
            "gitlab: {url: http://g}\nlimits: {perUser: {requestsPerMinute: 1}, perInstance: {tokensPerMinute: 1}}"
                .to_owned(),
        ];
        for text in fine {
            GatewayConfig::from_yaml(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let cases = [
            (model("timeouts: {firstByteSeconds: 0}"), "models[0].timeouts.firstByteSeconds"),
            (model("timeouts: {overallSeconds: 601}"), "models[0].timeouts.overallSeconds"),
            (model("timeouts: {firstByteSeconds: 5, overallSeconds: 4}"), "longer than overallSeconds"),
            (model("retries: {attempts: 11}"), "models[0].retries.attempts"),
            (model("retries: {maxPauseMilliseconds: 60001}"), "models[0].retries.maxPauseMilliseconds"),
            (model("circuitBreaker: {consecutiveFailures: 1001}"), "models[0].circuitBreaker.consecutiveFailures"),
            (model("circuitBreaker: {openSeconds: 0}"), "models[0].circuitBreaker.openSeconds"),
            (model("hedging: {percentile: 49}"), "models[0].hedging.percentile"),
            (model("hedging: {percentile: 100}"), "models[0].hedging.percentile"),
            (model("hedging: {minDelayMilliseconds: 0}"), "models[0].hedging.minDelayMilliseconds"),
            (model("concurrency: {maxRequests: 0}"), "models[0].concurrency.maxRequests"),
            (model("concurrency: {maxQueued: 100001}"), "models[0].concurrency.maxQueued"),
            (model("concurrency: {queueSeconds: 601}"), "models[0].concurrency.queueSeconds"),
            (model("weight: 1001"), "models[0].weight"),
            (model("replicas: [{endpoint: 'http://e2/v1', weight: 1001}]"), "models[0].replicas[0].weight"),
            (
                model("fallbacks: [{identifier: custom_openai/m, endpoint: 'http://e/v1/'}]"),
                "models[0].fallbacks[0]: is the model's own place",
            ),
            (
                "gitlab: {url: http://g}\nlimits: {perUser: {requestsPerMinute: 0}}".to_owned(),
                "limits.perUser.requests",
            ),
            ("gitlab: {url: http://g}\nlimits: {perInstance: {tokensPerMinute: 0}}".to_owned(), "perInstance.tokens"),
            ("gitlab: {url: http://g}\nlimits: {perUser: {concurrentRequests: 0}}".to_owned(), "concurrentRequests"),
        ];
        for (text, expected) in cases {
            let error = GatewayConfig::from_yaml(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}\n→ {error}\nshould contain {expected}");
        }
        let many = |count: usize| vec!["{identifier: bedrock/x}"; count].join(", ");
        assert!(GatewayConfig::from_yaml(&model(&format!("fallbacks: [{}]", many(16)))).is_ok());
        let error = GatewayConfig::from_yaml(&model(&format!("fallbacks: [{}]", many(17)))).unwrap_err().to_string();
        assert!(error.contains("models[0].fallbacks: has 17"), "{error}");
    }
}
