//! How many calls of one model are under way, and a short queue in front of it. First come, first served; whoever
//! leaves the queue leaves no trace. The waiting is tokio's, whose semaphore is fair.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::policy::QueueRule;

/// The door of one model.
#[derive(Debug)]
pub struct Gate {
    free: Semaphore,
    size: AtomicUsize,
    /// Places to be closed when those who hold them leave: the number was lowered under way.
    excess: AtomicUsize,
    waiting: AtomicUsize,
    /// Requests that found no free place at once.
    pub queued: AtomicU64,
    /// What they waited altogether, in microseconds.
    pub queued_micros: AtomicU64,
    /// Requests turned away: the queue was full.
    pub full: AtomicU64,
    /// Requests turned away: they had waited long enough.
    pub waited: AtomicU64,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Too many wait already.
    Full,
    /// It has waited as long as it may.
    Waited,
}

/// A place among the calls under way; dropping it frees it.
#[derive(Debug)]
pub struct Slot(Arc<Gate>);

impl Drop for Slot {
    fn drop(&mut self) {
        let gate = &self.0;
        let closed = gate.excess.fetch_update(Ordering::AcqRel, Ordering::Acquire, |excess| excess.checked_sub(1));
        if closed.is_err() {
            gate.free.add_permits(1);
        }
    }
}

/// One that waits; dropping it leaves the queue.
struct Waiting<'a>(&'a Gate, tokio::time::Instant);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        let micros = u64::try_from(self.1.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.queued_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Gate {
    /// For so many at once.
    pub fn new(at_once: usize) -> Self {
        Self {
            free: Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)),
            size: AtomicUsize::new(at_once),
            excess: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queued: AtomicU64::new(0),
            queued_micros: AtomicU64::new(0),
            full: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// From now on for so many; calls under way go on. Configurations are taken over one after the other.
    pub fn resize(&self, at_once: usize) {
        let before = self.size.swap(at_once, Ordering::AcqRel);
        if at_once > before {
            let more = at_once - before;
            let reopened = self
                .excess
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |excess| Some(excess.saturating_sub(more)))
                .map_or(0, |excess| excess.min(more));
            self.free.add_permits(more - reopened);
        } else {
            let fewer = before - at_once;
            let taken = self.free.forget_permits(fewer);
            self.excess.fetch_add(fewer - taken, Ordering::AcqRel);
        }
    }

    /// A free place, if there is one and nobody waits for it.
    pub fn try_enter(self: &Arc<Self>) -> Option<Slot> {
        self.free.try_acquire().ok().map(|permit| {
            permit.forget();
            Slot(self.clone())
        })
    }

    /// A place, after waiting at most `longest` (and no longer than the rule says).
    ///
    /// # Errors
    /// [`Turned`].
    pub async fn enter(self: &Arc<Self>, rule: &QueueRule, longest: Duration) -> Result<Slot, Turned> {
        if let Some(slot) = self.try_enter() {
            return Ok(slot);
        }
        let one_more = |waiting: usize| (waiting < rule.waiting).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            self.full.fetch_add(1, Ordering::Relaxed);
            return Err(Turned::Full);
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(self, tokio::time::Instant::now());
        match tokio::time::timeout(rule.longest.min(longest), self.free.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(Slot(self.clone()))
            }
            // the semaphore is never closed
            _ => {
                self.waited.fetch_add(1, Ordering::Relaxed);
                Err(Turned::Waited)
            }
        }
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Calls under way.
    pub fn under_way(&self) -> usize {
        let open = self.size.load(Ordering::Acquire) + self.excess.load(Ordering::Acquire);
        open.saturating_sub(self.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const RULE: QueueRule = QueueRule { at_once: 1, waiting: 2, longest: Duration::from_secs(3600) };
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn first_come_first_served_and_one_too_many_is_turned_away() {
        let gate = Arc::new(Gate::new(1));
        let slot = gate.enter(&RULE, LONG).await.unwrap();
        let mut first = Box::pin(gate.enter(&RULE, LONG));
        let mut second = Box::pin(gate.enter(&RULE, LONG));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert_eq!(gate.enter(&RULE, LONG).await.unwrap_err(), Turned::Full);
        assert_eq!((gate.waiting(), gate.under_way()), (2, 1));
        drop(slot);
        assert!((&mut second).now_or_never().is_none(), "not before the first");
        assert!(gate.try_enter().is_none(), "nor anybody who did not wait");
        let slot = first.await.unwrap();
        drop(slot);
        assert!(second.await.is_ok());
        assert_eq!((gate.waiting(), gate.under_way()), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_frees_the_place_in_it_at_once() {
        let gate = Arc::new(Gate::new(1));
        let slot = gate.enter(&RULE, LONG).await.unwrap();
        let mut gone = Box::pin(gate.enter(&RULE, LONG));
        let mut patient = Box::pin(gate.enter(&RULE, LONG));
        assert!((&mut gone).now_or_never().is_none() && (&mut patient).now_or_never().is_none());
        drop(gone);
        assert_eq!(gate.waiting(), 1);
        drop(slot);
        assert!(patient.await.is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_allowed() {
        let gate = Arc::new(Gate::new(1));
        let _slot = gate.enter(&RULE, LONG).await.unwrap();
        let short = QueueRule { longest: Duration::from_millis(1), ..RULE };
        assert_eq!(gate.enter(&short, LONG).await.unwrap_err(), Turned::Waited);
        assert_eq!(gate.enter(&RULE, Duration::from_millis(1)).await.unwrap_err(), Turned::Waited);
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn a_new_size_holds_for_calls_under_way_too() {
        let gate = Arc::new(Gate::new(3));
        let mut slots: Vec<Slot> = (0..3).filter_map(|_| gate.try_enter()).collect();
        assert_eq!(slots.len(), 3);
        gate.resize(1);
        slots.truncate(1);
        assert!(gate.try_enter().is_none(), "one is still under way");
        assert_eq!(gate.under_way(), 1);
        gate.resize(2);
        slots.extend(gate.try_enter());
        assert_eq!((slots.len(), gate.try_enter().is_none()), (2, true));
        gate.resize(1);
        gate.resize(3);
        assert!(gate.try_enter().is_some());
        slots.clear();
        let all: Vec<Slot> = (0..9).filter_map(|_| gate.try_enter()).collect();
        assert_eq!(all.len(), 3);
    }
}
