//! How long something may wait to be told, counted for each object from the first time that it is asked.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_runtime::Uid;
use kube::Resource;

/// Objects remembered; an operator has far fewer.
const MOST: usize = 100_000;

/// By uid: since when an object waits.
pub(crate) struct Grace {
    span: Duration,
    since: Mutex<HashMap<Uid, Instant>>,
}

impl Grace {
    /// `span`: how long each may wait.
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, since: Mutex::default() }
    }

    /// For how long an object may still wait; `None`: no longer. The first to ask begins.
    pub(crate) fn left<K: Resource>(&self, object: &K, now: Instant) -> Option<Duration> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= MOST {
            since.clear();
        }
        let began = *since.entry(Uid::of(object)).or_insert(now);
        Some(self.span.saturating_sub(now.saturating_duration_since(began))).filter(|left| !left.is_zero())
    }

    /// An object that waits no more; the next time it begins anew.
    pub(crate) fn end<K: Resource>(&self, object: &K) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&Uid::of(object));
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
