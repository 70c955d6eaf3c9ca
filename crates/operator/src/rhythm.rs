//! When what has not changed is looked at again: all resources of a gateway at the same moments, so that they share one
//! look at GitLab; gateways spread over the period, so that GitLabs, API server and operator have no rush hour.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The moments of one gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    first: Instant,
    period: Duration,
}

impl Rhythm {
    /// Of the gateway of this namespace and name. `start`: the same for all.
    pub(crate) fn new(start: Instant, period: Duration, namespace: &str, gateway: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (namespace, gateway).hash(&mut hasher);
        let share = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
        Self { first: start + period.mul_f64(share), period }
    }

    /// How long until the next moment; at least an eighth of a period, so that nobody comes twice for one.
    pub(crate) fn until_next(&self, now: Instant) -> Duration {
        let left = match now.checked_duration_since(self.first) {
            None => self.first - now,
            Some(since) => self.period - Duration::from_nanos(rest(since, self.period)),
        };
        if left < self.period / 8 { left + self.period } else { left }
    }

    /// The moment before; `None` before the first.
    pub(crate) fn last(&self, now: Instant) -> Option<Instant> {
        let since = now.checked_duration_since(self.first)?;
        now.checked_sub(Duration::from_nanos(rest(since, self.period)))
    }
}

fn rest(since: Duration, period: Duration) -> u64 {
    u64::try_from(since.as_nanos() % period.as_nanos().max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(300);

    #[test]
    fn whenever_they_ask_the_resources_of_a_gateway_meet() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, PERIOD, "bank", "duo");
        let offset = (0..).map(|seconds| start + Duration::from_secs(seconds)).find(|now| rhythm.last(*now).is_some());
        let first = offset.unwrap();
        for seconds in (0..1000).step_by(7) {
            let now = first + Duration::from_secs(seconds);
            let wait = rhythm.until_next(now);
            assert!(wait >= PERIOD / 8 && wait <= PERIOD + PERIOD / 8, "{wait:?}");
            let next = now + wait;
            // a moment after the timer the last moment is the one that was waited for
            let last = rhythm.last(next + Duration::from_millis(1)).unwrap();
            assert!(last > now && next.duration_since(last) <= Duration::from_millis(1), "{seconds}");
        }
    }

    #[test]
    fn before_the_first_moment_there_is_no_last_one() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, PERIOD, "a", "b");
        assert!(rhythm.last(start).is_none());
        assert!(rhythm.until_next(start) <= PERIOD + PERIOD / 8);
    }

    #[test]
    fn gateways_are_spread_over_the_period() {
        let start = Instant::now();
        let mut tenths = [0; 10];
        for number in 0..1000 {
            let rhythm = Rhythm::new(start, PERIOD, "bank", &format!("duo-{number}"));
            let at = (rhythm.first - start).as_secs_f64() / PERIOD.as_secs_f64();
            tenths[(at * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}
