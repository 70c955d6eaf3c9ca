//! The times of a model's last calls, and from them the moment at which a call counts as slow.

use std::time::Duration;

/// Calls that are remembered.
const WINDOW: usize = 128;
/// With fewer than these nothing is known yet.
const ENOUGH: usize = 10;

/// The last calls' times.
#[derive(Debug)]
pub struct Latency {
    /// In microseconds; a call that takes longer than an hour is not made.
    times: [u32; WINDOW],
    count: usize,
    next: usize,
}

impl Default for Latency {
    fn default() -> Self {
        Self { times: [0; WINDOW], count: 0, next: 0 }
    }
}

impl Latency {
    /// A call took so long, or at least so long when it was given up for a quicker one.
    pub fn took(&mut self, time: Duration) {
        self.times[self.next] = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % WINDOW;
        self.count = (self.count + 1).min(WINDOW);
    }

    /// The time within which `percentile` percent of the calls were over; `None` while too few are known.
    pub fn percentile(&self, percentile: u8) -> Option<Duration> {
        if self.count < ENOUGH {
            return None;
        }
        let mut times = self.times;
        let known = &mut times[..self.count];
        let rank = (self.count * usize::from(percentile)).div_ceil(100).clamp(1, self.count) - 1;
        let (_, time, _) = known.select_nth_unstable(rank);
        Some(Duration::from_micros((*time).into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_known_of_few_calls() {
        let mut latency = Latency::default();
        for _ in 0..9 {
            latency.took(Duration::from_millis(5));
            assert_eq!(latency.percentile(95), None);
        }
        latency.took(Duration::from_millis(5));
        assert_eq!(latency.percentile(95), Some(Duration::from_millis(5)));
    }

    proptest! {
        #[test]
        fn it_is_the_nearest_rank_of_the_last_calls(
            times in proptest::collection::vec(0_u32..1_000_000, ENOUGH..400), percentile in 50_u8..100,
        ) {
            let mut latency = Latency::default();
            times.iter().for_each(|micros| latency.took(Duration::from_micros((*micros).into())));
            let mut last = times[times.len().saturating_sub(WINDOW)..].to_vec();
            last.sort_unstable();
            let rank = (last.len() * usize::from(percentile)).div_ceil(100) - 1;
            prop_assert_eq!(latency.percentile(percentile), Some(Duration::from_micros(last[rank].into())));
        }
    }
}
