//! A model's rules with the defaults filled in.

use std::time::Duration;

use duo_gateway_config as config;

/// When a place is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long until one call tries it again.
    pub open: Duration,
}

/// When a second call starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeRule {
    /// Of the last calls' times, 50 to 99.
    pub percentile: u8,
    /// Never earlier.
    pub min_delay: Duration,
}

/// How many at once, and who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRule {
    /// Calls under way.
    pub at_once: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// How long each may wait.
    pub longest: Duration,
}

/// How calls of one model are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Until the first byte, where the model says.
    pub first_byte: Option<Duration>,
    /// For the whole call, where the model says.
    pub overall: Option<Duration>,
    /// Calls at the same places after each had one.
    pub retries: u32,
    /// Longest pause before one.
    pub max_pause: Duration,
    /// `None`: places are never left alone.
    pub breaker: Option<BreakerRule>,
    /// `None`: no second calls.
    pub hedge: Option<HedgeRule>,
    /// Calls at a time.
    pub queue: QueueRule,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_byte: None,
            overall: None,
            retries: 1,
            max_pause: Duration::from_secs(2),
            breaker: Some(BreakerRule { failures: 5, open: Duration::from_secs(15) }),
            hedge: None,
            queue: QueueRule { at_once: 256, waiting: 256, longest: Duration::from_secs(5) },
        }
    }
}

impl Policy {
    /// The rules of a declared model.
    pub fn of(model: &config::Model) -> Self {
        let mut policy = Self::default();
        if let Some(times) = &model.timeouts {
            policy.first_byte = times.first_byte_seconds.map(seconds);
            policy.overall = times.overall_seconds.map(seconds);
        }
        if let Some(retries) = &model.retries {
            policy.retries = retries.attempts.unwrap_or(policy.retries);
            policy.max_pause = retries.max_pause_milliseconds.map_or(policy.max_pause, milliseconds);
        }
        if let (Some(said), Some(rule)) = (&model.circuit_breaker, policy.breaker) {
            let failures = said.consecutive_failures.unwrap_or(rule.failures);
            let open = said.open_seconds.map_or(rule.open, seconds);
            policy.breaker = (failures > 0).then_some(BreakerRule { failures, open });
        }
        policy.hedge = model.hedging.as_ref().map(|said| HedgeRule {
            percentile: said.percentile.and_then(|percent| u8::try_from(percent).ok()).unwrap_or(95),
            min_delay: said.min_delay_milliseconds.map_or(Duration::from_millis(100), milliseconds),
        });
        if let Some(said) = &model.concurrency {
            let rule = &mut policy.queue;
            rule.at_once = said.max_requests.map_or(rule.at_once, |most| most as usize);
            rule.waiting = said.max_queued.map_or(rule.waiting, |most| most as usize);
            rule.longest = said.queue_seconds.map_or(rule.longest, seconds);
        }
        policy
    }
}

fn seconds(value: u32) -> Duration {
    Duration::from_secs(value.into())
}

fn milliseconds(value: u32) -> Duration {
    Duration::from_millis(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_documented_default() {
        let model = config::Model::new("m", "mistral", "bedrock/m");
        assert_eq!(Policy::of(&model), Policy::default());
        let mut said = model.clone();
        said.hedging = Some(config::Hedging::default());
        said.circuit_breaker = Some(config::CircuitBreaker { consecutive_failures: Some(0), open_seconds: None });
        let policy = Policy::of(&said);
        assert_eq!(policy.hedge, Some(HedgeRule { percentile: 95, min_delay: Duration::from_millis(100) }));
        assert_eq!(policy.breaker, None);
    }

    #[test]
    fn each_setting_is_taken() {
        let mut model = config::Model::new("m", "mistral", "bedrock/m");
        model.timeouts = Some(config::Timeouts { first_byte_seconds: Some(3), overall_seconds: Some(9) });
        model.retries = Some(config::Retries { attempts: Some(4), max_pause_milliseconds: Some(70) });
        model.circuit_breaker = Some(config::CircuitBreaker { consecutive_failures: Some(2), open_seconds: Some(8) });
        model.hedging = Some(config::Hedging { percentile: Some(80), min_delay_milliseconds: Some(6) });
        model.concurrency =
            Some(config::Concurrency { max_requests: Some(5), max_queued: Some(0), queue_seconds: Some(1) });
        let expected = Policy {
            first_byte: Some(Duration::from_secs(3)),
            overall: Some(Duration::from_secs(9)),
            retries: 4,
            max_pause: Duration::from_millis(70),
            breaker: Some(BreakerRule { failures: 2, open: Duration::from_secs(8) }),
            hedge: Some(HedgeRule { percentile: 80, min_delay: Duration::from_millis(6) }),
            queue: QueueRule { at_once: 5, waiting: 0, longest: Duration::from_secs(1) },
        };
        assert_eq!(Policy::of(&model), expected);
    }
}
