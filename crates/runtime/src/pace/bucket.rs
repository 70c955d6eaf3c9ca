//! A token bucket: so many calls at once, and so many an hour on the long run. The time is given.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Clone)]
pub struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(burst: u32, per_hour: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self { burst, per_second: f64::from(per_hour.max(1)) / 3600.0, tokens: burst, at: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none; when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = self.at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // a little more, or rounding would let the caller come a moment too early for ever
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 3600, start);
        assert_eq!((0..5).filter(|_| bucket.take(start).is_ok()).count(), 3);
        let wait = bucket.take(start).unwrap_err();
        assert!(wait > Duration::from_millis(900) && wait < Duration::from_millis(1100), "{wait:?}");
        assert!(bucket.take(start + wait).is_ok(), "who waits as told is let in");
        assert!(bucket.take(start + wait).is_err());
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..5).filter(|_| bucket.take(rested).is_ok()).count(), 3, "rest is not saved beyond the burst");
    }

    #[test]
    fn in_an_hour_no_more_than_burst_and_pace_together() {
        let start = Instant::now();
        let mut bucket = Bucket::new(300, 3600, start);
        let passed = (0..36_000).filter(|tick| bucket.take(start + Duration::from_millis(100 * tick)).is_ok()).count();
        assert!((3_890..=3_900).contains(&passed), "{passed}");
    }

    #[test]
    fn a_clock_that_stands_or_is_asked_out_of_order_gives_nothing_away() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, 3600, start);
        assert!(bucket.take(start + Duration::from_secs(10)).is_ok());
        assert!(bucket.take(start + Duration::from_secs(5)).is_err());
        assert!(bucket.take(start + Duration::from_secs(10)).is_err());
    }
}
