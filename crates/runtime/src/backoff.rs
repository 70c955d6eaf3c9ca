//! How long to wait before an object is tried again: doubles with each failure, jittered, capped, reset by success.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curve {
    /// Wait after the first failure.
    pub initial: Duration,
    /// Longest wait.
    pub cap: Duration,
}

impl Default for Curve {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl Curve {
    /// The wait after `failures` failures in a row (1 is the first). `random` in 0..1 shortens it by up to a fifth, so
    /// that objects that failed together do not come back together.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let full = self.initial.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(1.0 - 0.2 * random.clamp(0.0, 1.0))
    }
}

/// Failures in a row per object.
#[derive(Debug)]
pub struct Backoff<K> {
    curve: Curve,
    failures: Mutex<HashMap<K, u32>>,
}

/// Above this the oldest knowledge is dropped at once; an operator has far fewer failing objects.
const MOST_OBJECTS: usize = 100_000;

impl<K: Eq + Hash> Backoff<K> {
    /// Nothing has failed yet.
    pub fn new(curve: Curve) -> Self {
        Self { curve, failures: Mutex::default() }
    }

    /// Notes a failure; answers how long to wait. `retry_after` is what the other side asked for: never sooner, and
    /// jittered upwards so that all objects do not return in the same second.
    pub fn failure(&self, key: K, retry_after: Option<Duration>) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_OBJECTS {
            failures.clear();
        }
        let count = failures.entry(key).or_default();
        *count = count.saturating_add(1);
        let random = random();
        let own = self.curve.delay(*count, random);
        match retry_after {
            Some(asked) => own.max(asked.mul_f64(1.0 + 0.2 * random)),
            None => own,
        }
    }

    /// Notes a success: the next failure starts from the beginning.
    pub fn success(&self, key: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Failures in a row so far.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0)
    }
}

/// A random number in 0..1. The standard library's hash seeds are random enough for spreading load.
pub fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVE: Curve = Curve { initial: Duration::from_secs(1), cap: Duration::from_secs(60) };

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_jitter_only_shortens() {
        let seconds = |n| CURVE.delay(n, 0.0).as_secs();
        assert_eq!([1, 2, 3, 4, 7, 100, u32::MAX].map(seconds), [1, 2, 4, 8, 60, 60, 60]);
        assert_eq!(CURVE.delay(7, 1.0), Duration::from_secs(48));
    }

    #[test]
    fn success_resets_and_objects_do_not_share_failures() {
        let backoff = Backoff::new(CURVE);
        for _ in 0..5 {
            backoff.failure("a", None);
        }
        assert!(backoff.failure("a", None) >= Duration::from_secs(25));
        assert!(backoff.failure("b", None) <= Duration::from_secs(1));
        backoff.success(&"a");
        assert_eq!(backoff.failures(&"a"), 0);
        assert!(backoff.failure("a", None) <= Duration::from_secs(1));
    }

    #[test]
    fn never_sooner_than_the_other_side_asked_for() {
        let backoff = Backoff::new(CURVE);
        let asked = Duration::from_secs(120);
        for _ in 0..20 {
            let wait = backoff.failure("a", Some(asked));
            assert!(wait >= asked && wait <= asked.mul_f64(1.2), "{wait:?}");
        }
    }
}
