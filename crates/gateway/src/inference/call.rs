//! One call of one place, for the traces and the metrics of single calls: a request may need several.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure, Usage};
use futures::Stream;

use super::Inference;
use super::classes::{error_class, finish_label};
use crate::app::App;
use crate::context::RequestContext;
use crate::logging::seconds;
use crate::metrics::{AskedLabels, ChunkGroup, GenAiLabels, Operation, provider_name};
use crate::telemetry::{Kind, Passed, Span, SpanContext};
use crate::upstream::{ModelStream, Place};

/// Counts a call when it is over, however that came about.
pub(super) struct Call {
    app: Arc<App>,
    context: RequestContext,
    place: Arc<Place>,
    role: Cow<'static, str>,
    declared: Arc<str>,
    operation: Operation,
    /// Of the request's calls, from 1.
    number: u32,
    streaming: bool,
    started: Instant,
    /// A call that is given up after this time has timed out.
    patience: Duration,
    first: Option<Duration>,
    usage: Option<Usage>,
    finish: Option<&'static str>,
    /// Empty for none.
    class: &'static str,
    span: Option<SpanContext>,
}

impl Call {
    /// A call of `place` begins; it is the request's `number`-th.
    pub(super) fn begin(
        inference: &Inference<'_>,
        place: &Arc<Place>,
        number: u32,
        streaming: bool,
        patience: Duration,
    ) -> Self {
        let context = &inference.served.context;
        let member = inference.target.members.iter().find(|member| Arc::ptr_eq(&member.place, place));
        Self {
            app: inference.served.app.clone(),
            context: context.clone(),
            place: place.clone(),
            role: member.map_or(Cow::Borrowed("primary"), |member| member.role.clone()),
            declared: inference.target.name.clone(),
            operation: inference.operation(place),
            number,
            streaming,
            started: Instant::now(),
            patience,
            first: None,
            usage: None,
            finish: None,
            class: "cancelled",
            span: context.trace().map(|trace| trace.child()),
        }
    }

    /// What the model server is told of the trace.
    pub(super) fn passed(&self, headers: &http::HeaderMap) -> Passed {
        match (self.context.trace(), &self.span) {
            (Some(trace), Some(span)) => trace.passed(span),
            _ => Passed::on(headers),
        }
    }

    /// The answer is complete.
    pub(super) fn answered(&mut self, usage: Option<Usage>, stop: &StopReason) {
        self.usage = usage;
        self.stopped(stop);
    }

    fn stopped(&mut self, stop: &StopReason) {
        self.finish = Some(finish_label(stop));
        self.class = "";
    }

    /// The first piece is here.
    pub(super) fn began(&mut self) {
        self.first = Some(self.started.elapsed());
    }

    /// It failed.
    pub(super) fn failed(&mut self, failure: &UpstreamFailure) {
        self.class = error_class(failure);
    }

    /// Goes on counting while the stream passes.
    pub(super) fn stream(self, inner: ModelStream) -> ModelStream {
        // how the stream ends is not known yet; its pieces came well
        let chunks = self.app.metrics.chunks(&GenAiLabels { error_type: "", ..self.labels() });
        Box::pin(Counted { inner, call: self, chunks, last: None })
    }

    fn labels(&self) -> GenAiLabels {
        let model = self.app.metrics.names.model_id.value(Some(self.place.model()));
        let asked = AskedLabels {
            gen_ai_provider_name: provider_name(&self.place.identifier.provider),
            gen_ai_operation_name: self.operation.as_str(),
            gen_ai_request_model: model,
            gen_ai_response_model: model,
        };
        GenAiLabels { asked, error_type: self.class }
    }

    fn span(&self, span: SpanContext) {
        let Some(trace) = self.context.trace().filter(|trace| trace.own.sampled) else { return };
        let name = format!("{} {}", self.operation.as_str(), self.place.model());
        let mut out = Span::new(span, name, Kind::Client, self.started);
        out.parent = Some(trace.own.span_id);
        out.state = trace.state().map(str::to_owned);
        out.failed = !matches!(self.class, "" | "cancelled");
        out.add::<&'static str>("gen_ai.operation.name", self.operation.as_str());
        out.add::<&'static str>("gen_ai.provider.name", provider_name(&self.place.identifier.provider));
        out.add::<String>("gen_ai.request.model", self.place.model().to_owned());
        out.add::<String>("duo.model", self.declared.to_string());
        out.add::<String>("duo.place", self.role.to_string());
        out.add::<u64>("duo.call", u64::from(self.number));
        out.add::<bool>("duo.streaming", self.streaming);
        let url = self.place.endpoint.as_deref().and_then(|endpoint| url::Url::parse(endpoint).ok());
        if let Some(url) = url {
            out.add::<String>("server.address", url.host_str().map(str::to_owned));
            out.add::<u64>("server.port", url.port_or_known_default().map(u64::from));
        }
        if let Some(usage) = &self.usage {
            out.add::<u64>("gen_ai.usage.input_tokens", usage.input_tokens);
            out.add::<u64>("gen_ai.usage.output_tokens", usage.output_tokens);
            let cached = Some(usage.cache_read_tokens).filter(|count| *count > 0);
            out.add::<u64>("gen_ai.usage.cache_read.input_tokens", cached);
            let written = Some(usage.cache_write_tokens).filter(|count| *count > 0);
            out.add::<u64>("gen_ai.usage.cache_creation.input_tokens", written);
        }
        if let Some(finish) = self.finish {
            out.attributes.push(("gen_ai.response.finish_reasons", crate::telemetry::Attribute::Texts(finish)));
        }
        out.add::<f64>("gen_ai.response.time_to_first_chunk", self.first.filter(|_| self.streaming).map(seconds));
        out.add::<&'static str>("error.type", Some(self.class).filter(|class| !class.is_empty()));
        trace.end(out);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.class == "cancelled" && self.first.is_none() && self.started.elapsed() >= self.patience {
            self.class = "timeout";
        }
        let first = self.first.filter(|_| self.streaming);
        self.app.metrics.called(&self.labels(), self.started.elapsed(), first, self.usage.as_ref());
        if let Some(span) = self.span {
            self.span(span);
        }
    }
}

struct Counted {
    inner: ModelStream,
    call: Call,
    chunks: Arc<ChunkGroup>,
    last: Option<Instant>,
}

impl Stream for Counted {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let polled = this.inner.as_mut().poll_next(cx);
        let call = &mut this.call;
        if let Poll::Ready(Some(event)) = &polled {
            match event {
                Ok(ModelEvent::Text(_)) => {
                    let now = Instant::now();
                    if let Some(last) = this.last.replace(now) {
                        this.chunks.between.observe(now.saturating_duration_since(last).as_secs_f64());
                    }
                }
                Ok(ModelEvent::Stop(reason)) => call.stopped(reason),
                Ok(ModelEvent::Usage(usage)) => call.usage = Some(*usage),
                Err(failure) => call.failed(failure),
            }
        }
        polled
    }
}
