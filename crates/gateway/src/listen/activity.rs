//! What one connection is doing, and since when: from it follows when its client has been too slow. The times are
//! noted where they happen (in the I/O, around each request); one timer per connection looks at them, and it is set anew
//! only when something ends sooner than it, so that a request in good order costs no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::counts::Cut;
use super::limits::Limits;

/// Shared by a connection's task, its I/O and its requests. Only they write, one after the other or without harm.
pub(super) struct Activity {
    origin: Instant,
    /// Requests whose answer is not out yet.
    under_way: AtomicU32,
    asked: AtomicBool,
    /// Times: milliseconds after `origin`, plus one; 0 is never.
    idle: AtomicU64,
    head: AtomicU64,
    unread: AtomicU64,
    linger: AtomicU64,
    /// The connection's task.
    pub(super) waker: AtomicWaker,
    /// Seconds after `origin`, for tests.
    #[cfg(test)]
    later: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            under_way: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            idle: AtomicU64::new(1),
            head: AtomicU64::new(0),
            unread: AtomicU64::new(0),
            linger: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            #[cfg(test)]
            later: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        #[cfg(not(test))]
        let passed = self.origin.elapsed();
        #[cfg(test)]
        let passed = Duration::from_secs(self.later.load(Relaxed));
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Bytes have come in.
    pub(super) fn read(&self) {
        if self.under_way.load(Relaxed) == 0 && self.head.load(Relaxed) == 0 {
            self.head.store(self.now(), Relaxed);
        }
    }

    /// The client took nothing.
    pub(super) fn write_waits(&self) {
        if self.unread.load(Relaxed) == 0 {
            self.unread.store(self.now(), Relaxed);
        }
    }

    /// It took something.
    pub(super) fn written(&self) {
        if self.unread.load(Relaxed) != 0 {
            self.unread.store(0, Relaxed);
        }
    }

    /// All is said; the rest of what the client sends is thrown away.
    pub(super) fn lingers(&self) {
        if self.linger.load(Relaxed) == 0 {
            self.linger.store(self.now(), Relaxed);
        }
    }

    /// Whether there ever was a request.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// A request's head is there; the guard's drop ends it.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        self.asked.store(true, Relaxed);
        self.head.store(0, Relaxed);
        UnderWay(self.clone())
    }

    /// What runs out next, and when. `http2`: heads are not told from other frames there; its pings find dead clients.
    pub(super) fn next(&self, limits: &Limits, http2: bool) -> Option<(Instant, Cut)> {
        let ends = |since: &AtomicU64, limit: Duration, cut: Cut| {
            let since = since.load(Relaxed).checked_sub(1)?;
            Some((self.origin + Duration::from_millis(since) + limit, cut))
        };
        let quiet = self.under_way.load(Relaxed) == 0;
        [
            // an HTTP/2 connection that takes its leave still finishes what came in meanwhile
            if quiet || !http2 { ends(&self.linger, limits.linger, Cut::Lingered) } else { None },
            ends(&self.unread, limits.unread, Cut::Unread),
            if http2 { None } else { ends(&self.head, limits.head, Cut::SlowHead) },
            if quiet { ends(&self.idle, limits.idle, Cut::Idle) } else { None },
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }
}

/// A request until the last byte of its answer was handed to the connection.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle.store(self.0.now(), Relaxed);
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_next_follows_from_what_the_client_does() {
        let limits = Limits::default();
        let activity = Activity::new();
        let at = |second: u64| activity.later.store(second, Relaxed);
        let next = |http2| activity.next(&limits, http2).map(|(at, cut)| ((at - activity.origin).as_secs(), cut));
        let idle = Some((120, Cut::Idle));
        assert_eq!(next(false), idle, "it has said nothing");

        at(5);
        activity.read();
        at(10);
        activity.read();
        assert_eq!(next(false), Some((15, Cut::SlowHead)), "from its first byte");
        assert_eq!(next(true), idle);

        let request = activity.begin();
        activity.read();
        assert_eq!(next(false), None, "a model may take its time");
        activity.write_waits();
        at(15);
        activity.write_waits();
        assert_eq!(next(true), Some((70, Cut::Unread)));
        activity.written();
        assert_eq!(next(false), None);
        activity.lingers();
        assert_eq!((next(false), next(true)), (Some((17, Cut::Lingered)), None));

        drop(request);
        assert_eq!(next(true), Some((17, Cut::Lingered)));
    }
}
