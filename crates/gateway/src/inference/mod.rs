//! One model call on behalf of a request: finds the model, makes the call, counts it, notes it in the request's log
//! line, and turns a failure into the answer that GitLab is to get.

mod classes;
mod meter;
mod observed;

use std::sync::Arc;

use duo_protocol::capability::adapt;
use duo_protocol::contract::{Invalid, ModelSelection};
use duo_protocol::failure::{Surface, answer_for};
use duo_protocol::model::{ModelAnswer, ModelRequest, UpstreamFailure};

use meter::{End, Meter};
pub use observed::Observed;

use crate::answer::{self, Answer};
use crate::routes::Served;
use crate::upstream::{CallOptions, Place, Target, Timeouts};

/// What a call is for, in GitLab's words.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Unit primitive.
    pub unit_primitive: &'static str,
    /// Feature category.
    pub category: &'static str,
}

/// `code_suggestions`.
pub const COMPLETE_CODE: Feature = Feature { unit_primitive: "complete_code", category: "code_suggestions" };
/// `code_suggestions`.
pub const GENERATE_CODE: Feature = Feature { unit_primitive: "generate_code", category: "code_suggestions" };
/// `duo_chat`.
pub const DUO_CHAT: Feature = Feature { unit_primitive: "duo_chat", category: "duo_chat" };

/// A model that was found for a request.
pub struct Inference<'a> {
    served: &'a Served,
    feature: Feature,
    surface: Surface,
    target: Target,
    timeouts: Timeouts,
}

/// A whole answer and who gave it.
pub struct Answered {
    /// The answer.
    pub answer: ModelAnswer,
    /// The place that gave it: its family decides what is done to the text.
    pub place: Arc<Place>,
}

impl<'a> Inference<'a> {
    /// Finds the model of a request and notes it in the log line.
    ///
    /// # Errors
    /// The 422 for a model that may not be called.
    pub fn prepare(
        served: &'a Served,
        selection: &ModelSelection,
        feature: Feature,
        surface: Surface,
    ) -> Result<Self, Invalid> {
        let context = &served.context;
        context.note("meta.unit_primitive", feature.unit_primitive);
        context.note("meta.feature_category", feature.category);
        context.note("model_name", selection.family.as_str());
        if let Some(identifier) = &selection.identifier {
            context.note("model_engine", identifier.provider.as_str());
            context.note("model_identifier", identifier.to_string());
        }
        let target = served.active.directory.resolve(selection)?;
        if selection.identifier.is_none() {
            context.note("model_engine", target.place.identifier.provider.as_str());
            context.note("model_identifier", target.place.identifier.to_string());
        }
        context.note("model", &*target.name);
        let mut timeouts = served.active.timeouts;
        if feature.category == DUO_CHAT.category
            && let Some(chat) = served.active.chat.request_timeout
        {
            timeouts = timeouts.within(chat);
        }
        Ok(Self { served, feature, surface, target, timeouts })
    }

    /// The family that the request names; answers name it, whoever gave them.
    pub fn family(&self) -> &'static str {
        self.target.place.family.as_str()
    }

    /// Asks for a whole answer. `ask` writes the prompt for a place: another family is asked in other words.
    ///
    /// # Errors
    /// The answer for a failed call.
    pub async fn complete(&self, ask: impl Fn(&Place) -> ModelRequest) -> Result<Answered, Box<Answer>> {
        let place = self.target.place.clone();
        let request = adapt(ask(&place), &place.capability);
        let mut meter = self.meter(&place, false);
        let away = self.served.context.away();
        let result = place.complete(&request, &self.options()).await;
        drop(away);
        match &result {
            Ok(answer) => {
                meter.usage = answer.usage;
                meter.end = End::Stopped(answer.stop.clone());
            }
            Err(failure) => meter.end = End::Failed(failure.clone()),
        }
        drop(meter);
        match result {
            Ok(answer) => Ok(Answered { answer, place }),
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    /// Asks for the answer in pieces; the first one has arrived when this returns.
    ///
    /// # Errors
    /// The answer for a call that failed before it.
    pub async fn stream(&self, ask: impl Fn(&Place) -> ModelRequest) -> Result<Observed, Box<Answer>> {
        let place = self.target.place.clone();
        let request = adapt(ask(&place), &place.capability);
        let mut meter = self.meter(&place, true);
        let away = self.served.context.away();
        let result = place.stream(&request, &self.options()).await;
        drop(away);
        match result {
            Ok(inner) => Ok(Observed::new(inner, meter, place)),
            Err(failure) => {
                meter.end = End::Failed(failure.clone());
                drop(meter);
                Err(self.failed(&failure))
            }
        }
    }

    fn options(&self) -> CallOptions {
        CallOptions {
            timeouts: self.timeouts,
            prompt_cache: self.served.header("x-gitlab-model-prompt-cache-enabled") != Some("false"),
        }
    }

    fn failed(&self, failure: &UpstreamFailure) -> Box<Answer> {
        Box::new(answer::failed(&answer_for(failure, &self.target.place.identifier.to_string(), self.surface)))
    }

    fn meter(&self, place: &Arc<Place>, streaming: bool) -> Meter {
        Meter::begin(self.served, self.feature, self.target.name.clone(), place.clone(), streaming)
    }
}
