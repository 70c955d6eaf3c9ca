//! Which declared models fail their users now: the operator asks it, because GitLab's health check never calls a model.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_protocol::model::UpstreamFailure;

/// A failure that was followed by no other call for so long says nothing about now.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// When each model's last call failed; models whose last call went well are not in it.
#[derive(Debug, Default)]
pub struct ModelHealth {
    failed: Mutex<HashMap<String, Instant>>,
}

impl ModelHealth {
    /// Takes note of a call that the model answered.
    pub fn answered(&self, model: &str) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    /// Takes note of a call that failed, unless the fault was in the request or in the moment: a refused content and a
    /// throttled call say nothing about the model.
    pub fn failed(&self, model: &str, failure: &UpstreamFailure) {
        if matches!(
            failure,
            UpstreamFailure::Throttled { .. } | UpstreamFailure::Status { code: 400 | 413 | 422 | 429, .. }
        ) {
            return;
        }
        // Names come from the configuration, or are the one word for all that is not declared.
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), Instant::now());
    }

    /// Names of the models whose last call failed, in order.
    pub fn failing(&self) -> Vec<String> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| at.elapsed() < FORGET_AFTER);
        let mut names: Vec<String> = failed.keys().cloned().collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> UpstreamFailure {
        UpstreamFailure::Status { code, reason: String::new(), retry_after: None }
    }

    #[test]
    fn the_last_call_decides() {
        let health = ModelHealth::default();
        health.failed("b", &status(500));
        health.failed("a", &UpstreamFailure::Timeout);
        assert_eq!(health.failing(), ["a", "b"]);
        health.answered("a");
        assert_eq!(health.failing(), ["b"]);
    }

    #[test]
    fn a_refused_content_and_a_throttled_call_say_nothing_about_the_model() {
        let health = ModelHealth::default();
        health.failed("a", &status(400));
        health.failed("a", &UpstreamFailure::Throttled { retry_after: None });
        assert!(health.failing().is_empty());
        health.failed("a", &status(403));
        assert_eq!(health.failing(), ["a"]);
    }
}
