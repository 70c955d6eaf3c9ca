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

    /// The moment before; `None` before the first.
    pub(crate) fn last(&self, now: Instant) -> Option<Instant> {
        let since = now.checked_duration_since(self.first)?;
        now.checked_sub(Duration::from_nanos(rest(since, self.period)))
    }

    /// Whether there is a moment after the one and not after the other.
    pub(crate) fn falls_between(&self, after: Instant, until: Instant) -> bool {
        self.last(until).is_some_and(|moment| moment > after)
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
    fn each_moment_falls_into_one_step_of_a_clock_however_long_its_steps_are() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, PERIOD, "bank", "duo");
        for step in [1, 7, 299, 300, 301, 1000].map(Duration::from_secs) {
            let (mut now, mut moments) = (start, Vec::new());
            while now < start + 20 * PERIOD {
                let next = now + step;
                if rhythm.falls_between(now, next) {
                    let moment = rhythm.last(next).unwrap();
                    assert!(moment > now && moment <= next);
                    moments.push(moment);
                }
                now = next;
            }
            let apart = moments.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(apart.clone().all(|apart| apart.as_secs() % PERIOD.as_secs() == 0 && apart >= PERIOD), "{step:?}");
            let all = 1 + (now - rhythm.first).as_secs() / PERIOD.as_secs();
            assert!(step > PERIOD || moments.len() as u64 == all, "{step:?}: {} of {all}", moments.len());
        }
    }

    #[test]
    fn before_the_first_moment_there_is_no_last_one() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, PERIOD, "a", "b");
        assert!(rhythm.last(start).is_none());
        assert!(!rhythm.falls_between(start, start) && rhythm.falls_between(start, start + PERIOD));
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
