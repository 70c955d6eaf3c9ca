//! GitLab's circuit breaker around calls that are not streamed: 5xx answers open it for every model at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Pace;

/// The breaker of the gateway.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: VecDeque<(Instant, bool)>,
    open_since: Option<Instant>,
}

impl Breakers {
    /// Whether calls are refused now.
    pub fn is_open(&self, pace: &Pace) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.open_since.is_some_and(|since| since.elapsed() < pace.breaker_window)
    }

    /// Counts a call; half of enough calls failed within the window opens the breaker.
    pub fn count(&self, failed: bool, pace: &Pace) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.calls.push_back((Instant::now(), failed));
        while inner.calls.front().is_some_and(|(at, _)| at.elapsed() > pace.breaker_window) {
            inner.calls.pop_front();
        }
        let failures = inner.calls.iter().filter(|(_, failed)| *failed).count();
        if inner.calls.len() >= pace.breaker_volume && failures * 2 >= inner.calls.len() {
            inner.open_since = Some(Instant::now());
            inner.calls.clear();
        }
    }
}
