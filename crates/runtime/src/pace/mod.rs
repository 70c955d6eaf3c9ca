//! The pace of calls to one other system: how many at once, how many an hour, and what happens while it does not answer.
//!
//! The rules are state machines without a clock ([`bucket`], [`breaker`]); [`Gate`] gives them the time and lets callers
//! wait. Knows nothing of who is called.

pub mod breaker;
pub mod bucket;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use breaker::{Breaker, Failure, Leave, Rule};
use bucket::Bucket;

/// A wait of at most so long is waited for at the gate; who would wait longer is sent away.
const SHORT: Duration = Duration::from_secs(2);

/// What is let through.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Ordinary calls at once.
    pub at_once: usize,
    /// Calls at once in which the other system itself waits for others: they must not keep ordinary ones out.
    pub long_at_once: usize,
    /// Calls in a row, as at a start.
    pub burst: u32,
    /// Calls an hour on the long run.
    pub per_hour: u32,
    /// When it is left alone.
    pub rule: Rule,
}

/// Why a call was not let through; it was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The other system does not answer, or asked for a pause. For how much longer.
    Pause(Duration),
    /// Too many calls. When there is room again.
    Rate(Duration),
}

/// The gate before one other system.
#[derive(Debug)]
pub struct Gate {
    ordinary: Arc<Semaphore>,
    long: Arc<Semaphore>,
    state: Mutex<(Breaker, Bucket)>,
}

impl Gate {
    /// An open gate.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            ordinary: Arc::new(Semaphore::new(limits.at_once.max(1))),
            long: Arc::new(Semaphore::new(limits.long_at_once.max(1))),
            state: Mutex::new((Breaker::new(limits.rule), Bucket::new(limits.burst, limits.per_hour, Instant::now()))),
        })
    }

    /// Waits for a turn. May be dropped while it waits.
    ///
    /// # Errors
    /// The call may not be made now; see [`Held`].
    pub async fn enter(self: &Arc<Self>, long: bool) -> Result<Pass, Held> {
        // who is paused anyway needs no turn
        if let Some(wait) = self.paused() {
            return Err(Held::Pause(wait));
        }
        let turns = if long { &self.long } else { &self.ordinary };
        let Ok(turn) = Arc::clone(turns).acquire_owned().await else {
            return Err(Held::Rate(SHORT)); // never closed
        };
        loop {
            let wait = {
                let now = Instant::now();
                let mut state = self.lock();
                let (breaker, bucket) = &mut *state;
                // room first: a leave to try that is not used would keep others waiting
                match bucket.take(now) {
                    Ok(()) => match breaker.ask(now) {
                        Leave::Wait(wait) => return Err(Held::Pause(wait)),
                        leave => {
                            let tried = leave == Leave::Try;
                            return Ok(Pass { gate: Some(Arc::clone(self)), tried, long, _turn: turn });
                        }
                    },
                    Err(wait) => wait,
                }
            };
            if wait > SHORT {
                return Err(Held::Rate(wait));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether calls are held back because the other system does not answer.
    pub fn is_paused(&self) -> bool {
        self.lock().0.is_open()
    }

    fn paused(&self) -> Option<Duration> {
        // asked of a copy: the leave to try is given to who has its turn
        match self.lock().0.clone().ask(Instant::now()) {
            Leave::Wait(wait) => Some(wait),
            Leave::Go | Leave::Try => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Breaker, Bucket)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one call. Say how it ended; one that is dropped without a word counts neither way.
#[derive(Debug)]
pub struct Pass {
    gate: Option<Arc<Gate>>,
    tried: bool,
    long: bool,
    _turn: OwnedSemaphorePermit,
}

impl Pass {
    /// It is the one call that finds out whether the other system answers again: it should not take long.
    pub fn tries(&self) -> bool {
        self.tried
    }

    /// The other system answered, whatever it said.
    pub fn answered(mut self) {
        if let Some(gate) = self.gate.take() {
            gate.lock().0.answered(self.tried);
        }
    }

    /// It did not, or asked for a pause. That a long call took too long says nothing: whom it waited for is at fault.
    pub fn failed(mut self, failure: Failure) {
        if self.long && failure.hung && !self.tried {
            return;
        }
        if let Some(gate) = self.gate.take() {
            gate.lock().0.failed(self.tried, failure, Instant::now(), crate::backoff::random());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.lock().0.abandoned(self.tried, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Curve;

    fn limits() -> Limits {
        let pause = Curve { initial: Duration::from_secs(5), cap: Duration::from_secs(60) };
        let rule = Rule { failures: 3, pause, patience: Duration::from_secs(30) };
        Limits { at_once: 2, long_at_once: 1, burst: 10, per_hour: 3600, rule }
    }

    async fn waits(gate: &Arc<Gate>, long: bool) -> bool {
        tokio::time::timeout(Duration::from_millis(20), gate.enter(long)).await.is_err()
    }

    #[tokio::test]
    async fn long_calls_leave_room_for_ordinary_ones() {
        let gate = Gate::new(&limits());
        let long = gate.enter(true).await.unwrap();
        assert!(waits(&gate, true).await);
        let (one, two) = (gate.enter(false).await.unwrap(), gate.enter(false).await.unwrap());
        assert!(waits(&gate, false).await);
        one.answered();
        assert!(!waits(&gate, false).await);
        drop((two, long));
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_when_it_stops_answering_is_sent_away() {
        let gate = Gate::new(&limits());
        let (one, two) = (gate.enter(false).await.unwrap(), gate.enter(false).await.unwrap());
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(false).await.map(drop) }
        });
        tokio::task::yield_now().await;
        one.failed(Failure { asked: None, hung: true });
        assert!(matches!(waiting.await.unwrap(), Err(Held::Pause(_))));
        assert!(gate.is_paused());
        assert!(matches!(gate.enter(false).await, Err(Held::Pause(_))));
        drop(two);
    }

    #[tokio::test]
    async fn a_long_call_that_hangs_says_nothing_of_the_others() {
        let gate = Gate::new(&limits());
        gate.enter(true).await.unwrap().failed(Failure { asked: None, hung: true });
        assert!(!gate.is_paused());
        gate.enter(true).await.unwrap().failed(Failure { asked: Some(Duration::from_secs(9)), hung: false });
        assert!(gate.is_paused());
    }

    #[tokio::test]
    async fn who_would_wait_long_for_room_is_sent_away_with_the_time() {
        let gate = Gate::new(&Limits { burst: 1, per_hour: 60, ..limits() });
        gate.enter(false).await.unwrap().answered();
        let Err(Held::Rate(wait)) = gate.enter(false).await.map(drop) else { panic!("it was let in") };
        assert!(wait > Duration::from_secs(50) && wait < Duration::from_secs(61), "{wait:?}");
    }
}
