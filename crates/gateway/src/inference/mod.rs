//! What a request wants from a model: finds the model, lets the request in, has the call made ([`course`]), counts it,
//! notes it in the request's log line, and turns a failure into the answer that GitLab is to get.

mod admission;
mod call;
mod check;
mod classes;
mod course;
mod lost;
mod meter;
mod observed;
mod prompts;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use duo_protocol::capability::adapt;
use duo_protocol::contract::{Invalid, ModelSelection};
use duo_protocol::failure::Surface;
use duo_protocol::model::{ModelAnswer, ModelRequest, StopReason, UpstreamFailure, Usage};
use duo_protocol::react::GitlabVersion;

use call::Call;
pub use check::{Checked, check};
use course::{Course, Won};
use lost::Lost;
use meter::{Asked, End, Meter};
pub use observed::Observed;
use prompts::PromptLog;

use crate::answer::{self, Answer};
use crate::metrics::Operation;
use crate::routes::Served;
use crate::telemetry::Passed;
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
/// `global_search`: GitLab's code search.
pub const EMBED_CODE: Feature = Feature { unit_primitive: "generate_embeddings_codebase", category: "global_search" };
/// `duo_chat`.
pub const DUO_CHAT: Feature = Feature { unit_primitive: "duo_chat", category: "duo_chat" };

/// A model that was found for a request.
pub struct Inference<'a> {
    served: &'a Served,
    feature: Feature,
    surface: Surface,
    target: Target,
    timeouts: Timeouts,
    /// From here on GitLab waits.
    started: tokio::time::Instant,
    operation: Operation,
    /// Calls of places so far.
    calls: Arc<AtomicU32>,
    prompts: Option<PromptLog>,
}

/// What is counted of an answer of any kind.
pub struct Measure {
    /// Tokens, where the server states them.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub stop: StopReason,
    /// Bytes of text read and written, for an estimate where it does not.
    pub bytes: usize,
}

/// A whole answer and who gave it.
pub struct Answered {
    /// The answer.
    pub answer: ModelAnswer,
    /// The place that gave it: its family decides what is done to the text.
    pub place: Arc<Place>,
}

/// GitLab up to 18.9 waits 3 s for its connection check, later ones 15 s; the answer has to be there before.
const CHECK: [Duration; 2] = [Duration::from_millis(2800), Duration::from_millis(14_500)];

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
            context.note("model_engine", target.primary().identifier.provider.as_str());
            context.note("model_identifier", target.primary().identifier.to_string());
        }
        context.note("model", &*target.name);
        let mut timeouts = served.active.timeouts;
        if feature.category == DUO_CHAT.category
            && let Some(chat) = served.active.chat.request_timeout
        {
            timeouts = timeouts.within(chat);
        }
        timeouts = timeouts.of_model(&target.policy, target.members.len() > 1);
        if surface == Surface::ConnectionCheck {
            let later = served.header("x-gitlab-version").and_then(GitlabVersion::parse).is_none_or(|v| v.major >= 19);
            timeouts = timeouts.within(CHECK[usize::from(later)].min(timeouts.overall));
        }
        let started = tokio::time::Instant::from_std(context.started());
        let prompts = PromptLog::wanted(served, feature, &target.name);
        let calls = Arc::default();
        let vectors = feature.unit_primitive.starts_with("generate_embeddings");
        let operation = if vectors { Operation::Embeddings } else { Operation::Chat };
        Ok(Self { served, feature, surface, target, timeouts, started, operation, calls, prompts })
    }

    /// The family that the request names; answers name it, whoever gave them.
    pub fn family(&self) -> &'static str {
        self.target.primary().family.as_str()
    }

    /// Asks for a whole answer. `ask` writes the prompt for a place: another family is asked in other words.
    ///
    /// # Errors
    /// The answer for a failed call.
    pub async fn complete(&self, ask: impl Fn(&Place) -> ModelRequest + Sync) -> Result<Answered, Box<Answer>> {
        let asked = AtomicUsize::new(0);
        let call = |place: Arc<Place>, options| {
            let request = self.request(&ask, &place, &asked);
            async move { place.complete(&request, &options).await }
        };
        let measure = |answer: &ModelAnswer| Measure {
            usage: answer.usage,
            stop: answer.stop.clone(),
            bytes: asked.load(Ordering::Relaxed) + answer.text.len(),
        };
        let (answer, place) = self.run(call, measure).await?;
        if let Some(log) = &self.prompts {
            log.said(&place, &answer.text, answer.text.len());
        }
        Ok(Answered { answer, place })
    }

    /// Has any kind of call made that ends with its answer: lets the request in, makes the call at the place whose turn
    /// it is, again or elsewhere where that may help, and counts it. `call` is one call of one place.
    ///
    /// # Errors
    /// The answer for a request that was not let in, or whose calls all failed.
    pub async fn run<T, F>(
        &self,
        call: impl Fn(Arc<Place>, CallOptions) -> F + Sync,
        measure: impl Fn(&T) -> Measure + Sync,
    ) -> Result<(T, Arc<Place>), Box<Answer>>
    where
        T: Send,
        F: Future<Output = Result<T, UpstreamFailure>> + Send,
    {
        let held = self.admit().await?;
        let mut meter = self.meter(false);
        let away = self.served.context.away();
        let counted = |place: Arc<Place>, options: CallOptions| {
            let mut one = self.begin(&place, &options, false);
            let going = call(place, CallOptions { trace: one.passed(&self.served.headers), ..options });
            let measure = &measure;
            async move {
                let result = going.await;
                match &result {
                    Ok(value) => {
                        let Measure { usage, stop, .. } = measure(value);
                        one.answered(usage, &stop);
                    }
                    Err(failure) => one.failed(failure),
                }
                result
            }
        };
        let went = self.course(false).run(&counted).await;
        drop(away);
        match went {
            Ok(mut won) => {
                won.attempt.answered();
                let measured = measure(&won.value);
                held.used(measured.usage, measured.bytes);
                let place = self.answered(&mut meter, &won);
                meter.usage = measured.usage;
                meter.end = End::Stopped(measured.stop);
                Ok((won.value, place))
            }
            Err(lost) => Err(self.lost(&lost, meter)),
        }
    }

    /// Asks for the answer in pieces; the first one has arrived when this returns.
    ///
    /// # Errors
    /// The answer for a call that failed before it.
    pub async fn stream(&self, ask: impl Fn(&Place) -> ModelRequest + Sync) -> Result<Observed, Box<Answer>> {
        let asked = AtomicUsize::new(0);
        let call = |place: Arc<Place>, options: CallOptions| {
            let mut one = self.begin(&place, &options, true);
            let request = self.request(&ask, &place, &asked);
            let options = CallOptions { trace: one.passed(&self.served.headers), ..options };
            async move {
                match place.stream(&request, &options).await {
                    Ok(stream) => {
                        one.began();
                        Ok(one.stream(stream))
                    }
                    Err(failure) => {
                        one.failed(&failure);
                        Err(failure)
                    }
                }
            }
        };
        let held = self.admit().await?;
        let mut meter = self.meter(true);
        let away = self.served.context.away();
        let went = self.course(true).run(&call).await;
        drop(away);
        match went {
            Ok(won) => {
                let place = self.answered(&mut meter, &won);
                let bytes = asked.load(Ordering::Relaxed);
                Ok(Observed::new(won.value, meter, place, won.attempt, held, bytes, self.prompts.clone()))
            }
            Err(lost) => Err(self.lost(&lost, meter)),
        }
    }

    fn options(&self) -> CallOptions {
        CallOptions {
            timeouts: self.timeouts,
            trace: Passed::default(),
            prompt_cache: self.served.header("x-gitlab-model-prompt-cache-enabled") != Some("false"),
        }
    }

    fn request(&self, ask: impl Fn(&Place) -> ModelRequest, place: &Place, asked: &AtomicUsize) -> ModelRequest {
        let request = adapt(ask(place), &place.capability);
        if let Some(log) = &self.prompts {
            log.asked(place, &request, self.calls.load(Ordering::Relaxed));
        }
        asked.store(request.messages.iter().map(|message| message.content.len()).sum(), Ordering::Relaxed);
        request
    }

    fn course(&self, streaming: bool) -> Course<'_> {
        let completion = self.feature.unit_primitive == COMPLETE_CODE.unit_primitive;
        let check = self.surface == Surface::ConnectionCheck;
        Course {
            target: &self.target,
            deadline: self.started + self.timeouts.overall,
            options: self.options(),
            streaming,
            check,
            hedge: self.target.policy.hedge.filter(|_| completion && !check),
            lost: Lost::default(),
        }
    }

    /// Notes who answered, where it could have been somebody else.
    fn answered<T>(&self, meter: &mut Meter, won: &Won<T>) -> Arc<Place> {
        let member = &self.target.members[won.member];
        if self.target.members.len() > 1 {
            self.served.context.note("model_place", &*member.role);
        }
        if won.member >= self.target.own {
            member.state.fell_back.fetch_add(1, Ordering::Relaxed);
            self.served.context.note("model_fallback_identifier", member.place.identifier.to_string());
        }
        if won.member > 0 {
            meter.answered_by(&member.place, won.member >= self.target.own);
        }
        self.note(&won.lost);
        member.place.clone()
    }

    fn note(&self, lost: &Lost) {
        if !lost.failures.is_empty() {
            self.served.context.note("model_failed_calls", lost.told(&self.target));
        }
    }

    fn lost(&self, lost: &Lost, mut meter: Meter) -> Box<Answer> {
        self.note(lost);
        meter.end = End::Failed(lost.telling(&self.target));
        Box::new(answer::failed(&lost.answer(&self.target, self.surface)))
    }

    fn begin(&self, place: &Arc<Place>, options: &CallOptions, streaming: bool) -> Call {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        Call::begin(self, place, number, streaming, options.timeouts.first_byte)
    }

    /// What is asked of a place, for the conventions.
    fn operation(&self, place: &Place) -> Operation {
        let completion = self.feature.unit_primitive == COMPLETE_CODE.unit_primitive;
        match self.operation {
            Operation::Chat if completion && place.fills_gaps() => Operation::TextCompletion,
            operation => operation,
        }
    }

    fn meter(&self, streaming: bool) -> Meter {
        let target = &self.target;
        let asked = Asked {
            declared: target.name.clone(),
            place: target.primary().clone(),
            operation: self.operation(target.primary()),
            streaming,
            check: self.surface == Surface::ConnectionCheck,
            calls: self.calls.clone(),
        };
        Meter::begin(self.served, self.feature, asked)
    }
}
