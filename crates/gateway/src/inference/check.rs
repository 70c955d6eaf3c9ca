//! One small request of the gateway's own, by the way that a user's request goes: with a user's time, and not let in by
//! anybody's limits.

use std::sync::Arc;

use duo_protocol::capability::adapt;
use duo_protocol::model::ModelRequest;
use tokio::time::Instant;

use super::classes::error_class;
use super::course::Course;
use super::lost::Lost;
use crate::active::Active;
use crate::app::App;
use crate::model_health::says_nothing;
use crate::telemetry::Passed;
use crate::upstream::{CallOptions, Declared, Place};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The model, or a fallback of it, answered: users are served.
    Answered,
    /// A failure that says nothing about the model: it is throttled, or does not like this request.
    Unclear(&'static str),
    /// Nobody answered.
    Failed(&'static str),
}

/// Asks the model's own places, those included that are left alone for a moment; when all fail, goes a user's whole way,
/// fallbacks included. The model's health is told the end.
pub async fn check(
    app: &App,
    active: &Active,
    target: &Declared,
    ask: impl Fn(&Place) -> ModelRequest + Sync,
) -> Checked {
    let timeouts = active.timeouts.of_model(&target.policy, target.members.len() > 1);
    let call = |place: Arc<Place>, options: CallOptions| {
        let request = adapt(ask(&place), &place.capability);
        async move { place.complete(&request, &options).await }
    };
    let mut failure = None;
    let ways: &[bool] = if target.members.len() > target.own { &[true, false] } else { &[true] };
    for own_only in ways {
        let course = Course {
            target,
            deadline: Instant::now() + timeouts.overall,
            options: CallOptions { timeouts, trace: Passed::default(), prompt_cache: false },
            streaming: false,
            check: *own_only,
            hedge: None,
            lost: Lost::default(),
        };
        match course.run(&call).await {
            Ok(mut won) => {
                won.attempt.answered();
                app.models.answered(&target.name);
                return Checked::Answered;
            }
            Err(lost) => failure = Some(lost.telling(target)),
        }
    }
    let Some(failure) = failure else { return Checked::Unclear("none") };
    let class = error_class(&failure);
    if says_nothing(&failure) {
        return Checked::Unclear(class);
    }
    app.models.failed(&target.name, &failure, class);
    Checked::Failed(class)
}
