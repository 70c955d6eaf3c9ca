//! Which declared models fail their users now: the operator asks it, because GitLab's health check never calls a model.
//!
//! Most of the time no model fails; then a call that is answered costs one relaxed load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duo_protocol::model::UpstreamFailure;

/// A failure that was followed by no other call for so long says nothing about now.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How each model's last call failed; models whose last call went well are not in it.
#[derive(Debug, Default)]
pub struct ModelHealth {
    failed: Mutex<HashMap<String, Failing>>,
    /// How many models are in it.
    count: AtomicUsize,
}

/// A model whose last call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    at: Instant,
    /// `timeout`, `unavailable`, or the model server's status; few words.
    pub class: &'static str,
    /// Calls that failed since one was answered.
    pub calls: u64,
}

impl ModelHealth {
    /// Takes note of a call that the model answered.
    pub fn answered(&self, model: &str) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut failed = self.lock();
            failed.remove(model);
            self.count.store(failed.len(), Ordering::Relaxed);
        }
    }

    /// Takes note of a call that failed, unless the fault was in the request or in the moment: a refused content and a
    /// throttled call say nothing about the model.
    pub fn failed(&self, model: &str, failure: &UpstreamFailure, class: &'static str) {
        if says_nothing(failure) {
            return;
        }
        // Names come from the configuration, or are the one word for all that is not declared.
        let mut failed = self.lock();
        let calls = failed.get(model).map_or(0, |failing| failing.calls);
        failed.insert(model.to_owned(), Failing { at: Instant::now(), class, calls: calls.saturating_add(1) });
        self.count.store(failed.len(), Ordering::Relaxed);
    }

    /// The models whose last call failed, by name.
    pub fn failing(&self) -> Vec<(String, Failing)> {
        let mut failed = self.lock();
        failed.retain(|_, failing| failing.at.elapsed() < FORGET_AFTER);
        self.count.store(failed.len(), Ordering::Relaxed);
        let mut list: Vec<_> = failed.iter().map(|(name, failing)| (name.clone(), failing.clone())).collect();
        list.sort_by(|one, other| one.0.cmp(&other.0));
        list
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failure is the request's own or the moment's.
pub fn says_nothing(failure: &UpstreamFailure) -> bool {
    matches!(failure, UpstreamFailure::Throttled { .. } | UpstreamFailure::Status { code: 400 | 413 | 422 | 429, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> UpstreamFailure {
        UpstreamFailure::Status { code, reason: String::new(), retry_after: None }
    }

    fn names(health: &ModelHealth) -> Vec<String> {
        health.failing().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_last_call_decides() {
        let health = ModelHealth::default();
        health.answered("a");
        health.failed("b", &status(500), "500");
        health.failed("a", &UpstreamFailure::Timeout, "timeout");
        health.failed("a", &UpstreamFailure::Timeout, "timeout");
        assert_eq!(names(&health), ["a", "b"]);
        assert_eq!(health.failing()[0].1.calls, 2);
        health.answered("a");
        assert_eq!(names(&health), ["b"]);
        health.answered("b");
        assert!(names(&health).is_empty());
        health.failed("b", &status(500), "500");
        assert_eq!(health.failing()[0].1.calls, 1, "counted from the last answer");
    }

    #[test]
    fn a_refused_content_and_a_throttled_call_say_nothing_about_the_model() {
        let health = ModelHealth::default();
        health.failed("a", &status(400), "400");
        health.failed("a", &UpstreamFailure::Throttled { retry_after: None }, "429");
        assert!(names(&health).is_empty());
        health.failed("a", &status(403), "403");
        assert_eq!(names(&health), ["a"]);
    }
}
