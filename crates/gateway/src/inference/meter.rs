//! Counting what a feature asked of a model, whatever way it ends: metrics, the access line's fields, the audit line,
//! cost and the model's health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use duo_gateway_config::{Rates, Tokens, decimal};
use duo_protocol::model::{StopReason, UpstreamFailure, Usage};

use super::Feature;
use super::classes::{error_class, error_type, finish_label};
use crate::app::App;
use crate::context::RequestContext;
use crate::logging::seconds;
use crate::metrics::{
    AskedLabels, ClientLabels, GenAiLabels, InFlight, InferenceLabels, ModelLabels, Operation, SpendLabels,
    provider_name,
};
use crate::routes::Served;
use crate::upstream::Place;

/// How it ended.
pub(super) enum End {
    /// The client went away first.
    Cancelled,
    Stopped(StopReason),
    Failed(UpstreamFailure),
}

/// What is asked, and whom.
pub(super) struct Asked {
    /// The declared model's name.
    pub(super) declared: Arc<str>,
    /// Its own first place.
    pub(super) place: Arc<Place>,
    pub(super) operation: Operation,
    pub(super) streaming: bool,
    /// A connection check: GitLab gives it less time than a user's request.
    pub(super) check: bool,
    /// Calls of places so far.
    pub(super) calls: Arc<AtomicU32>,
}

/// Counts a feature's request for a model when it is over, however that came about.
pub(super) struct Meter {
    app: Arc<App>,
    context: RequestContext,
    /// Whom the request named, and who answers.
    asked: Arc<Place>,
    answering: Arc<Place>,
    /// The declared model's name.
    declared: Arc<str>,
    fallback: bool,
    currency: &'static str,
    feature: Feature,
    operation: Operation,
    client: ClientLabels,
    streaming: bool,
    check: bool,
    calls: Arc<AtomicU32>,
    started: Instant,
    /// Time to the first piece.
    pub(super) first_event: Option<Duration>,
    pub(super) usage: Option<Usage>,
    pub(super) end: End,
    _in_flight: InFlight,
}

impl Meter {
    /// A request for a model begins.
    pub(super) fn begin(served: &Served, feature: Feature, asked: Asked) -> Self {
        let Asked { declared, place: asked, operation, streaming, check, calls } = asked;
        let app = served.app.clone();
        let in_flight = app.metrics.begin(&ModelLabels {
            model_engine: app.metrics.names.engine.value(Some(asked.identifier.provider.as_str())),
            model_name: asked.family.as_str(),
        });
        Self {
            context: served.context.clone(),
            answering: asked.clone(),
            asked,
            declared,
            fallback: false,
            currency: app.metrics.names.currency.value(Some(&served.active.currency)),
            feature,
            operation,
            calls,
            client: app.metrics.client_labels(&served.headers),
            streaming,
            check,
            started: Instant::now(),
            first_event: None,
            usage: None,
            end: End::Cancelled,
            _in_flight: in_flight,
            app,
        }
    }

    /// The identifier of who answers.
    pub(super) fn model(&self) -> String {
        self.answering.identifier.to_string()
    }

    /// The request's record.
    pub(super) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Another than the model's own place answers: tokens and cost are that one's. `fallback`: it is another model.
    pub(super) fn answered_by(&mut self, place: &Arc<Place>, fallback: bool) {
        self.answering = place.clone();
        self.fallback = fallback;
    }

    /// A piece has come.
    pub(super) fn piece(&mut self) {
        let started = self.started;
        self.first_event.get_or_insert_with(|| started.elapsed());
    }

    /// 10⁻¹² of the currency.
    fn cost(&self) -> Option<u128> {
        let (usage, rates) = (self.usage?, self.answering.rates?);
        Some(cost(&rates, &usage))
    }

    fn count(&self, took: Duration, finish: &'static str, failure: Option<&UpstreamFailure>, class: &'static str) {
        let metrics = &self.app.metrics;
        let place = &self.answering;
        let engine = metrics.names.engine.value(Some(place.identifier.provider.as_str()));
        let usage = self.usage.as_ref();
        let labels = InferenceLabels {
            model_engine: engine,
            model_name: place.family.as_str(),
            client: self.client,
            error: if failure.is_some() { "yes" } else { "no" },
            error_type: failure.map_or("none", error_type),
            streaming: if self.streaming { "yes" } else { "no" },
            feature_category: self.feature.category,
            unit_primitive: self.feature.unit_primitive,
            finish_reason: finish,
        };
        metrics.inference(&labels, took, usage);
        let asked = AskedLabels {
            gen_ai_provider_name: provider_name(&place.identifier.provider),
            gen_ai_operation_name: self.operation.as_str(),
            gen_ai_request_model: metrics.names.model_id.value(Some(self.asked.model())),
            gen_ai_response_model: metrics.names.model_id.value(Some(place.model())),
        };
        let labels = GenAiLabels { asked, error_type: class };
        metrics.served(&labels, took, self.first_event.filter(|_| self.streaming), usage);
        let spend = SpendLabels {
            model: metrics.names.model.value(Some(&self.declared)),
            feature: self.feature.unit_primitive,
        };
        metrics.spent(spend, usage, self.cost().map(|pico| (self.currency, pico)));
    }

    fn note(&self, took: Duration, finish: &'static str, failure: Option<&UpstreamFailure>) {
        let context = &self.context;
        context.note("inference_duration_s", seconds(took));
        context.note("finish_reason", finish);
        if let Some(first) = self.first_event {
            context.note("inference_first_event_s", seconds(first));
        }
        if let Some(usage) = &self.usage {
            context.note("input_tokens", usage.input_tokens);
            context.note("output_tokens", usage.output_tokens);
        }
        if let Some(failure) = failure {
            let error_type = error_type(failure);
            context.note("model_error_type", error_type);
            context.note("exception_class", class_of(failure));
            context.note("exception_message", failure.to_string());
            let mut fields = context.fields();
            fields.add("model_identifier", self.model());
            fields.add("meta.unit_primitive", self.feature.unit_primitive);
            fields.add("model_error_type", error_type);
            fields.add("exception_class", class_of(failure));
            fields.add("exception_message", failure.to_string());
            context.warn("Model call failed", &fields);
        }
    }

    /// Who asked what of whom, and what became of it: no content.
    fn audit(&self, took: Duration, finish: &'static str, class: &'static str) {
        let mut line = self.context.fields();
        line.add("meta.unit_primitive", self.feature.unit_primitive);
        line.add("meta.feature_category", self.feature.category);
        line.add("model", &*self.declared);
        line.add("model_identifier", self.asked.identifier.to_string());
        line.add("answered_by", self.model());
        line.add("fallback", self.fallback);
        line.add("streaming", self.streaming);
        line.add("upstream_calls", self.calls.load(Ordering::Relaxed));
        line.add(
            "outcome",
            match self.end {
                End::Cancelled => "cancelled",
                End::Stopped(_) => "answered",
                End::Failed(_) => "failed",
            },
        );
        line.add("error_class", Some(class).filter(|class| !class.is_empty()));
        line.add("finish_reason", finish);
        if let Some(usage) = &self.usage {
            line.add("input_tokens", usage.input_tokens);
            line.add("output_tokens", usage.output_tokens);
            line.add("cache_read_tokens", usage.cache_read_tokens);
            line.add("cache_write_tokens", usage.cache_write_tokens);
        }
        if let Some(pico) = self.cost() {
            line.add_number("cost", &decimal(pico));
            line.add("currency", self.currency);
        }
        line.add("inference_duration_s", seconds(took));
        self.context.audit(line);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let (finish, failure) = match &self.end {
            End::Cancelled => ("cancelled", None),
            End::Stopped(reason) => (finish_label(reason), None),
            End::Failed(failure) => ("unknown", Some(failure)),
        };
        let class = match &self.end {
            End::Cancelled => "cancelled",
            End::Stopped(_) => "",
            End::Failed(failure) => error_class(failure),
        };
        match &self.end {
            End::Cancelled => {}
            // with a user's time it might have answered
            End::Failed(UpstreamFailure::Timeout) if self.check => {}
            End::Stopped(_) => self.app.models.answered(&self.declared),
            End::Failed(failure) => self.app.models.failed(&self.declared, failure, class),
        }
        self.count(took, finish, failure, class);
        self.note(took, finish, failure);
        self.audit(took, finish, class);
    }
}

/// Notes in the audit log a request that was not let in.
pub(super) fn refused(served: &Served, feature: Feature, declared: &str, asked: &Place) {
    let mut line = served.context.fields();
    line.add("meta.unit_primitive", feature.unit_primitive);
    line.add("meta.feature_category", feature.category);
    line.add("model", declared);
    line.add("model_identifier", asked.identifier.to_string());
    line.add("outcome", "refused");
    served.context.audit(line);
}

/// What tokens cost, in 10⁻¹² of the currency.
fn cost(rates: &Rates, usage: &Usage) -> u128 {
    rates.pico(&Tokens {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cache_read: usage.cache_read_tokens,
        cache_write: usage.cache_write_tokens,
    })
}

fn class_of(failure: &UpstreamFailure) -> &'static str {
    match failure {
        UpstreamFailure::Status { .. } => "UpstreamFailure::Status",
        UpstreamFailure::Throttled { .. } => "UpstreamFailure::Throttled",
        UpstreamFailure::Unavailable { .. } => "UpstreamFailure::Unavailable",
        UpstreamFailure::Timeout => "UpstreamFailure::Timeout",
        UpstreamFailure::Protocol { .. } => "UpstreamFailure::Protocol",
        UpstreamFailure::StreamBroken { .. } => "UpstreamFailure::StreamBroken",
    }
}
