//! Counting a model call: metrics, log fields and the model's health, whatever way the call ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure, Usage};
use futures::Stream;
use serde_json::{Map, Value};

use super::Feature;
use crate::app::App;
use crate::context::RequestContext;
use crate::metrics::{InFlight, InferenceLabels};
use crate::upstream::{ModelStream, Place};

/// A model stream that is counted.
pub struct Observed {
    inner: ModelStream,
    meter: Meter,
    place: Arc<Place>,
}

impl Observed {
    /// A stream with its count.
    pub(super) fn new(inner: ModelStream, meter: Meter, place: Arc<Place>) -> Self {
        Self { inner, meter, place }
    }

    /// Who answers: its family decides what is done to the text.
    pub fn place(&self) -> &Place {
        &self.place
    }

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
pub(super) enum End {
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
pub(super) struct Meter {
    pub(super) app: Arc<App>,
    pub(super) context: RequestContext,
    pub(super) model: String,
    /// The declared model's name.
    pub(super) declared: String,
    pub(super) engine: String,
    pub(super) family: &'static str,
    pub(super) feature: Feature,
    pub(super) client: ClientLabels,
    pub(super) streaming: bool,
    pub(super) started: Instant,
    pub(super) first_event: Option<Duration>,
    pub(super) usage: Option<Usage>,
    pub(super) end: End,
    pub(super) _in_flight: InFlight,
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
