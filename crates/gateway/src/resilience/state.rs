//! What is remembered of a model and its places between calls; it outlives configurations.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duo_protocol::model::UpstreamFailure;

use super::balance::Turns;
use super::breaker::{Admission, Breaker};
use super::budget::Budget;
use super::gate::Gate;
use super::latency::Latency;
use super::policy::{BreakerRule, Policy};
use super::verdict::Outcome;

/// Of a hundred calls, so many more may be made again at most, and a few.
const RETRY_PERCENT: u32 = 20;
const FEW_RETRIES: u32 = 10;
const FEW_HEDGES: u32 = 5;

/// A model's memory.
#[derive(Debug)]
pub struct Model {
    /// Who may call now.
    pub gate: Arc<Gate>,
    /// Whose turn it is among its places.
    pub turns: Mutex<Turns>,
    retries: Budget,
    hedges: Budget,
    latency: [Mutex<Latency>; 2],
    /// Calls made again.
    pub retried: AtomicU64,
    /// Second calls begun.
    pub hedged: AtomicU64,
    /// Second calls that were quicker.
    pub hedges_won: AtomicU64,
}

impl Model {
    /// Nothing happened yet.
    pub fn new(policy: &Policy) -> Self {
        Self {
            gate: Arc::new(Gate::new(policy.queue.at_once)),
            turns: Mutex::default(),
            retries: Budget::new(FEW_RETRIES),
            hedges: Budget::new(FEW_HEDGES),
            latency: Default::default(),
            retried: AtomicU64::new(0),
            hedged: AtomicU64::new(0),
            hedges_won: AtomicU64::new(0),
        }
    }

    /// A request's first call is made.
    pub fn called(&self) {
        self.retries.ordinary(RETRY_PERCENT);
    }

    /// Whether a call may be made again; if so, it is counted.
    pub fn may_retry(&self) -> bool {
        let may = self.retries.take();
        if may {
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// When the second call of a request may start, if hedging is on and enough is known. `streaming`: until the
    /// first piece, else until the whole answer.
    pub fn hedge_delay(&self, percentile: u8, min_delay: Duration, streaming: bool) -> Option<Duration> {
        // twice as many as the percentile promises
        self.hedges.ordinary((100 - u32::from(percentile.min(99))) * 2);
        Some(self.latency(streaming).percentile(percentile)?.max(min_delay))
    }

    /// Whether a second call may be made; if so, it is counted.
    pub fn may_hedge(&self) -> bool {
        let may = self.hedges.take();
        if may {
            self.hedged.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// A call's time, for [`Self::hedge_delay`].
    pub fn took(&self, time: Duration, streaming: bool) {
        self.latency(streaming).took(time);
    }

    fn latency(&self, streaming: bool) -> MutexGuard<'_, Latency> {
        self.latency[usize::from(streaming)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place's memory.
#[derive(Debug, Default)]
pub struct PlaceState {
    breaker: Mutex<Breaker>,
    last_failure: Mutex<Option<UpstreamFailure>>,
    under_way: AtomicUsize,
    outcomes: [AtomicU64; 6],
    /// Requests of another place's users that it answered.
    pub fell_back: AtomicU64,
}

impl PlaceState {
    /// A call of this place begins.
    ///
    /// # Errors
    /// The place is left alone for so long. Never with `anyway`.
    pub fn begin(self: &Arc<Self>, rule: Option<BreakerRule>, anyway: bool, now: Instant) -> Result<Attempt, Duration> {
        let probe = match rule.map_or(Admission::Closed, |_| self.breaker().admit(now)) {
            Admission::Closed => false,
            Admission::Probe => true,
            Admission::Open(_) if anyway => false,
            Admission::Open(wait) => return Err(wait),
        };
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Attempt { place: self.clone(), rule, started: now, probe, over: false })
    }

    /// Whether a call could begin now.
    pub fn usable(&self, rule: Option<BreakerRule>, now: Instant) -> bool {
        let mut copy = *self.breaker();
        rule.is_none() || !matches!(copy.admit(now), Admission::Open(_))
    }

    /// Calls under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// What it failed with last.
    pub fn last_failure(&self) -> Option<UpstreamFailure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the gauge.
    pub fn breaker_number(&self) -> i64 {
        self.breaker().number()
    }

    /// Calls that ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call of one place. Dropped without a word it counts as cancelled.
#[derive(Debug)]
pub struct Attempt {
    place: Arc<PlaceState>,
    rule: Option<BreakerRule>,
    started: Instant,
    probe: bool,
    over: bool,
}

impl Attempt {
    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The server answered.
    pub fn answered(&mut self) {
        if self.end(Outcome::Answered) && self.rule.is_some() {
            self.place.breaker().worked();
        }
    }

    /// It did not.
    pub fn failed(&mut self, failure: &UpstreamFailure, now: Instant) {
        let outcome = Outcome::of(failure);
        if !self.end(outcome) {
            return;
        }
        let Some(rule) = self.rule else { return };
        if matches!(outcome, Outcome::Refused | Outcome::Throttled) {
            self.place.breaker().worked();
        } else {
            *self.place.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
            self.place.breaker().failed(rule, now);
        }
    }

    fn end(&mut self, outcome: Outcome) -> bool {
        if self.over {
            return false;
        }
        self.over = true;
        self.place.under_way.fetch_sub(1, Ordering::Relaxed);
        self.place.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.end(Outcome::Cancelled) && self.probe {
            self.place.breaker().abandoned(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Option<BreakerRule> = Some(BreakerRule { failures: 1, open: Duration::from_secs(15) });

    fn status(code: u16) -> UpstreamFailure {
        UpstreamFailure::Status { code, reason: "r".into(), retry_after: None }
    }

    #[test]
    fn only_failing_servers_are_left_alone() {
        let (place, now) = (Arc::new(PlaceState::default()), Instant::now());
        for code in [400, 401, 403, 404, 413, 422, 429] {
            place.begin(RULE, false, now).unwrap().failed(&status(code), now);
        }
        assert!(place.usable(RULE, now));
        place.begin(RULE, false, now).unwrap().failed(&status(500), now);
        assert!(!place.usable(RULE, now) && place.usable(None, now));
        assert_eq!(place.begin(RULE, false, now).unwrap_err(), Duration::from_secs(15));
        assert_eq!(place.last_failure(), Some(status(500)));
        let mut asked_by_hand = place.begin(RULE, true, now).unwrap();
        asked_by_hand.answered();
        assert!(place.usable(RULE, now), "an answer closes it, whoever got it");
        assert_eq!(place.under_way(), 0);
    }

    #[test]
    fn a_dropped_attempt_is_cancelled_and_leaves_the_next_to_try() {
        let (place, now) = (Arc::new(PlaceState::default()), Instant::now());
        let long_ago = now.checked_sub(Duration::from_secs(60)).unwrap();
        place.begin(RULE, false, long_ago).unwrap().failed(&UpstreamFailure::Timeout, long_ago);
        let probe = place.begin(RULE, false, now).unwrap();
        assert!(!place.usable(RULE, now));
        drop(probe);
        assert!(place.usable(RULE, Instant::now()));
        assert_eq!((place.count(Outcome::Cancelled), place.count(Outcome::TimedOut), place.under_way()), (1, 1, 0));
    }
}
