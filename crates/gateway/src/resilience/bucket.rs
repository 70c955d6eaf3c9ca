//! A token bucket: so much a minute, evenly refilled, a minute's worth at once.

use std::time::{Duration, Instant};

const MINUTE: f64 = 60.0;

/// What is left, and since when that holds.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Below nothing after a charge that nobody could foresee.
    left: f64,
    at: Instant,
}

impl Bucket {
    /// Full.
    pub fn new(a_minute: u64, now: Instant) -> Self {
        Self { left: amount(a_minute), at: now }
    }

    fn refill(&mut self, a_minute: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * amount(a_minute) / MINUTE).min(amount(a_minute));
        self.at = self.at.max(now);
    }

    /// The time until `wanted` (1 or more) are there; `None`: they are. Nothing is taken.
    pub fn wait(&mut self, wanted: u64, a_minute: u64, now: Instant) -> Option<Duration> {
        self.refill(a_minute, now);
        let missing = amount(wanted) - self.left;
        // what is less than that is the clock's rounding
        if missing <= 1e-6 {
            return None;
        }
        let rate = amount(a_minute.max(1)) / MINUTE;
        Some(Duration::try_from_secs_f64(missing / rate).unwrap_or(Duration::MAX))
    }

    /// Takes out, into debt where there is too little.
    pub fn take(&mut self, taken: u64, a_minute: u64, now: Instant) {
        self.refill(a_minute, now);
        self.left -= amount(taken);
    }

    /// Puts back what was taken for nothing.
    pub fn give(&mut self, given: u64, a_minute: u64) {
        self.left = (self.left + amount(given)).min(amount(a_minute));
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody uses 2^53 tokens a minute")]
fn amount(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_at_once_then_evenly() {
        let start = Instant::now();
        let mut bucket = Bucket::new(30, start);
        for _ in 0..30 {
            assert_eq!(bucket.wait(1, 30, start), None);
            bucket.take(1, 30, start);
        }
        assert_eq!(bucket.wait(1, 30, start), Some(Duration::from_secs(2)));
        assert_eq!(bucket.wait(1, 30, start + Duration::from_secs(2)), None);
        // never more than a minute's worth, however long nobody came
        let later = start + Duration::from_secs(6000);
        for _ in 0..30 {
            assert_eq!(bucket.wait(1, 30, later), None);
            bucket.take(1, 30, later);
        }
        assert!(bucket.wait(1, 30, later).is_some());
    }

    #[test]
    fn debt_is_paid_before_anything_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600, start);
        bucket.take(1200, 600, start);
        assert_eq!(bucket.wait(1, 600, start).map(|wait| wait.as_secs_f64().round()), Some(60.0));
        assert!(bucket.wait(1, 600, start + Duration::from_secs(59)).is_some());
        assert_eq!(bucket.wait(1, 600, start + Duration::from_secs(61)), None);
    }

    proptest! {
        /// Over any time nobody gets more than a minute's worth and what was refilled.
        #[test]
        fn no_more_than_its_rate(a_minute in 1_u64..500, steps in proptest::collection::vec(0_u64..3000, 1..300)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(a_minute, start);
            let (mut now, mut got) = (start, 0_u64);
            for step in steps {
                now += Duration::from_millis(step);
                if bucket.wait(1, a_minute, now).is_none() {
                    bucket.take(1, a_minute, now);
                    got += 1;
                }
            }
            let most = a_minute as f64 * (1.0 + (now - start).as_secs_f64() / 60.0);
            prop_assert!(got as f64 <= most + 0.001, "{} of {}", got, most);
        }

        /// The wait that is named is enough.
        #[test]
        fn the_named_wait_suffices(a_minute in 1_u64..100_000, debt in 0_u64..1_000_000) {
            let start = Instant::now();
            let mut bucket = Bucket::new(a_minute, start);
            bucket.take(debt, a_minute, start);
            if let Some(wait) = bucket.wait(1, a_minute, start) {
                let again = bucket.wait(1, a_minute, start + wait + Duration::from_millis(1));
                prop_assert!(again.is_none(), "{again:?}");
            }
        }
    }
}
