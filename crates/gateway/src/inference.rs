//! One model call on behalf of a request: finds the model, makes the call, counts it, notes it in the request's log
//! line, and turns a failure into the answer that GitLab is to get.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use duo_protocol::capability::{Capability, adapt};
use duo_protocol::contract::{Invalid, ModelSelection};
use duo_protocol::failure::{Surface, answer_for};
use duo_protocol::family::Family;
use duo_protocol::model::{ModelAnswer, ModelEvent, ModelRequest, StopReason, UpstreamFailure, Usage};
use futures::Stream;
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::context::RequestContext;
use crate::metrics::{InFlight, InferenceLabels, ModelLabels};
use crate::routes::Served;
use crate::upstream::{Call, ModelStream, Target, Timeouts};

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
    /// The model's family.
    pub family: Family,
    /// What the model takes.
    pub capability: Capability,
    timeouts: Timeouts,
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
        context.note("model_engine", selection.identifier.provider.as_str());
        context.note("model_name", selection.family.as_str());
        context.note("model_identifier", selection.identifier.to_string());
        let target = served.active.directory.resolve(selection)?;
        context.note("model", &*target.name);
        let mut timeouts = served.active.timeouts;
        if feature.category == DUO_CHAT.category
            && let Some(chat) = served.active.chat.request_timeout
        {
            timeouts = timeouts.within(chat);
        }
        let family = selection.family;
        let capability = duo_protocol::capability::of(&target.identifier, family);
        Ok(Self { served, feature, surface, target, family, capability, timeouts })
    }

    /// The identifier without its kind, as the model server knows the model.
    pub fn upstream_model(&self) -> &str {
        &self.target.identifier.model
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// The answer for a failed call.
    pub async fn complete(&self, request: ModelRequest) -> Result<ModelAnswer, Box<Answer>> {
        let request = adapt(request, &self.capability);
        let mut meter = self.meter(false);
        let result = self.served.active.upstream.complete(&self.call(), &request).await;
        match &result {
            Ok(answer) => {
                meter.usage = answer.usage;
                meter.end = End::Stopped(answer.stop.clone());
            }
            Err(failure) => meter.end = End::Failed(failure.clone()),
        }
        drop(meter);
        result.map_err(|failure| self.failed(&failure))
    }

    /// Asks for the answer in pieces; the first one has arrived when this returns.
    ///
    /// # Errors
    /// The answer for a call that failed before it.
    pub async fn stream(&self, request: ModelRequest) -> Result<Observed, Box<Answer>> {
        let request = adapt(request, &self.capability);
        let mut meter = self.meter(true);
        match self.served.active.upstream.stream(&self.call(), &request).await {
            Ok(inner) => Ok(Observed { inner, meter }),
            Err(failure) => {
                meter.end = End::Failed(failure.clone());
                drop(meter);
                Err(self.failed(&failure))
            }
        }
    }

    fn call(&self) -> Call<'_> {
        Call {
            identifier: &self.target.identifier,
            endpoint: self.target.endpoint.as_deref(),
            api_key: self.target.api_key.as_ref(),
            capability: &self.capability,
            timeouts: self.timeouts,
        }
    }

    fn failed(&self, failure: &UpstreamFailure) -> Box<Answer> {
        Box::new(answer::failed(&answer_for(failure, &self.target.identifier.to_string(), self.surface)))
    }

    fn meter(&self, streaming: bool) -> Meter {
        let app = self.served.app.clone();
        let engine = self.target.identifier.provider.as_str();
        // kinds we do not know come from requests
        let engine = app.metrics.bounded.value(Some(engine));
        let in_flight =
            app.metrics.begin(ModelLabels { model_engine: engine.clone(), model_name: self.family.as_str() });
        Meter {
            app,
            context: self.served.context.clone(),
            model: self.target.identifier.to_string(),
            declared: self.target.name.to_string(),
            engine,
            family: self.family.as_str(),
            feature: self.feature,
            client: self.served.client_labels(),
            streaming,
            started: Instant::now(),
            first_event: None,
            usage: None,
            end: End::Cancelled,
            _in_flight: in_flight,
        }
    }
}

/// A model stream that is counted.
pub struct Observed {
    inner: ModelStream,
    meter: Meter,
}

impl Observed {
    /// The identifier called, for error texts.
    pub fn model(&self) -> &str {
        &self.meter.model
    }

    /// Ends the call: what is still to come is not wanted. It counts as answered.
    pub fn stop(mut self) {
        self.meter.end = End::Stopped(StopReason::StopSequence);
    }

    /// The request's record.
    pub fn context(&self) -> &RequestContext {
        &self.meter.context
    }
}

impl Stream for Observed {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        let meter = &mut self.meter;
        if let Poll::Ready(Some(event)) = &polled {
            meter.first_event.get_or_insert_with(|| meter.started.elapsed());
            match event {
                Ok(ModelEvent::Text(_)) => {}
                Ok(ModelEvent::Stop(reason)) => meter.end = End::Stopped(reason.clone()),
                Ok(ModelEvent::Usage(usage)) => meter.usage = Some(*usage),
                Err(failure) => meter.end = End::Failed(failure.clone()),
            }
        }
        polled
    }
}

/// How a call ended.
enum End {
    /// The client went away first.
    Cancelled,
    Stopped(StopReason),
    Failed(UpstreamFailure),
}

/// Label values that come from request headers, already bounded.
#[derive(Clone)]
pub struct ClientLabels {
    /// `X-Gitlab-Language-Server-Version`.
    pub lsp_version: String,
    /// `X-Gitlab-Version`.
    pub gitlab_version: String,
    /// `X-Gitlab-Client-Type`.
    pub client_type: String,
    /// `X-Gitlab-Realm`.
    pub gitlab_realm: String,
}

/// Counts a call when it is over, however that came about.
struct Meter {
    app: Arc<App>,
    context: RequestContext,
    model: String,
    /// The declared model's name.
    declared: String,
    engine: String,
    family: &'static str,
    feature: Feature,
    client: ClientLabels,
    streaming: bool,
    started: Instant,
    first_event: Option<Duration>,
    usage: Option<Usage>,
    end: End,
    _in_flight: InFlight,
}

impl Drop for Meter {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let (finish, failure) = match &self.end {
            End::Cancelled => ("cancelled", None),
            End::Stopped(reason) => (finish_label(reason), None),
            End::Failed(failure) => ("unknown", Some(failure)),
        };
        match &self.end {
            End::Cancelled => {}
            End::Stopped(_) => self.app.models.answered(&self.declared),
            End::Failed(failure) => self.app.models.failed(&self.declared, failure),
        }
        let error_type = failure.map_or("none", error_type);
        let labels = InferenceLabels {
            model_engine: std::mem::take(&mut self.engine),
            model_name: self.family,
            lsp_version: self.client.lsp_version.clone(),
            gitlab_version: self.client.gitlab_version.clone(),
            client_type: self.client.client_type.clone(),
            gitlab_realm: self.client.gitlab_realm.clone(),
            error: if failure.is_some() { "yes" } else { "no" },
            error_type,
            streaming: if self.streaming { "yes" } else { "no" },
            feature_category: self.feature.category,
            unit_primitive: self.feature.unit_primitive,
            finish_reason: finish,
        };
        let tokens = self.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
        self.app.metrics.inference(&labels, took, tokens);

        let context = &self.context;
        context.note("inference_duration_s", took.as_secs_f64());
        context.note("finish_reason", finish);
        if let Some(first) = self.first_event {
            context.note("inference_first_event_s", first.as_secs_f64());
        }
        if let Some((input, output)) = tokens {
            context.note("input_tokens", input);
            context.note("output_tokens", output);
        }
        if let Some(failure) = failure {
            context.note("model_error_type", error_type);
            context.note("exception_message", failure.to_string());
            let mut fields = Map::new();
            fields.insert("model_identifier".into(), self.model.as_str().into());
            fields.insert("meta.unit_primitive".into(), self.feature.unit_primitive.into());
            fields.insert("model_error_type".into(), error_type.into());
            fields.insert("exception_message".into(), Value::String(failure.to_string()));
            context.warn("Model call failed", fields);
        }
    }
}

/// GitLab's classes of errors.
fn error_type(failure: &UpstreamFailure) -> &'static str {
    match failure {
        UpstreamFailure::Throttled { .. } => "overloaded",
        UpstreamFailure::Status { code: 401 | 403, .. } => "permission_error",
        UpstreamFailure::Status { code: 400, reason, .. }
            if duo_protocol::failure::chat_message(
                &UpstreamFailure::Status { code: 400, reason: reason.clone(), retry_after: None },
                "",
            )
            .starts_with("prompt is too long") =>
        {
            "prompt_too_long"
        }
        UpstreamFailure::Status { code: 400, .. } => "http_400",
        UpstreamFailure::Status { code: 503 | 529, .. } => "service_unavailable",
        UpstreamFailure::Unavailable { .. } | UpstreamFailure::Timeout => "connection_error",
        _ => "other",
    }
}

fn finish_label(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence => "stop",
        StopReason::MaxTokens => "length",
        StopReason::ContentFiltered => "content_filter",
        StopReason::Other(_) => "other",
    }
}
