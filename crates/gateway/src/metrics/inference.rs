//! Model calls under the names of GitLab's own gateway (19.x).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::series::{Labels, group};
use super::{OFFICIAL_BUCKETS, OTHER};

/// A kind of model server and the model's family.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ModelLabels {
    /// Kind of server: `bedrock`, `custom_openai`, `azure`.
    pub model_engine: &'static str,
    /// Model family.
    pub model_name: &'static str,
}

impl Labels for ModelLabels {
    fn coarser(&self) -> Option<Self> {
        (self.model_engine != OTHER).then_some(Self { model_engine: OTHER, model_name: OTHER })
    }
}

group! {
    /// What is known of a model at any time.
    ModelGauges {
        in_flight: Gauge = Gauge::default(), Gauge("model_inferences_in_flight", "Model calls under way");
    }
}

group! {
    /// Limits of a model, where one is configured.
    MaxConcurrent {
        limit: Gauge = Gauge::default(),
            Gauge("model_inferences_max_concurrent", "Model calls that may be under way at a time");
    }
}

group! {
    /// As `AIGW_MODEL_ENGINE_LIMITS` says.
    MaxInput {
        limit: Gauge = Gauge::default(), Gauge("model_max_input_tokens", "Most tokens read, as configured");
    }
}

group! {
    /// As `AIGW_MODEL_ENGINE_LIMITS` says.
    MaxOutput {
        limit: Gauge = Gauge::default(), Gauge("model_max_output_tokens", "Most tokens written, as configured");
    }
}

group! {
    /// As `AIGW_MODEL_ENGINE_LIMITS` says.
    MaxTotal {
        limit: Gauge = Gauge::default(), Gauge("model_max_total_tokens", "Most tokens, as configured");
    }
}

/// Label values of the caller, each one of a bounded set.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ClientLabels {
    /// `X-Gitlab-Language-Server-Version`.
    pub lsp_version: &'static str,
    /// `X-Gitlab-Version`.
    pub gitlab_version: &'static str,
    /// `X-Gitlab-Client-Type`.
    pub client_type: &'static str,
    /// `X-Gitlab-Realm`.
    pub gitlab_realm: &'static str,
    /// `X-Gitlab-Is-Team-Member`: `true`, `false` or `unknown`.
    pub is_gitlab_team_member: &'static str,
}

/// A caller that is not told apart.
const ANY_CLIENT: ClientLabels = ClientLabels {
    lsp_version: OTHER,
    gitlab_version: OTHER,
    client_type: OTHER,
    gitlab_realm: OTHER,
    is_gitlab_team_member: OTHER,
};

/// Labels of a model call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct InferenceLabels {
    /// Kind of server.
    pub model_engine: &'static str,
    /// Model family.
    pub model_name: &'static str,
    /// Who asked.
    #[prometheus(flatten)]
    pub client: ClientLabels,
    /// `yes` or `no`.
    pub error: &'static str,
    /// GitLab's classes: `none`, `prompt_too_long`, `overloaded`, `http_400`, `permission_error`,
    /// `service_unavailable`, `connection_error`, `other`.
    pub error_type: &'static str,
    /// `yes` or `no`.
    pub streaming: &'static str,
    /// Feature category of GitLab.
    pub feature_category: &'static str,
    /// Unit primitive.
    pub unit_primitive: &'static str,
    /// `stop`, `length`, … or `unknown`.
    pub finish_reason: &'static str,
}

impl Labels for InferenceLabels {
    /// First the callers go, then everything but the fault.
    fn coarser(&self) -> Option<Self> {
        if self.client != ANY_CLIENT {
            return Some(Self { client: ANY_CLIENT, ..self.clone() });
        }
        (self.model_engine != OTHER).then_some(Self {
            model_engine: OTHER,
            model_name: OTHER,
            client: ANY_CLIENT,
            error: self.error,
            error_type: self.error_type,
            streaming: OTHER,
            feature_category: OTHER,
            unit_primitive: OTHER,
            finish_reason: OTHER,
        })
    }
}

group! {
    /// Model calls by everything that GitLab's own gateway tells apart.
    InferenceGroup {
        calls: Counter = Counter::default(), Counter("model_inferences", "Model calls");
        seconds: Histogram = Histogram::new(OFFICIAL_BUCKETS),
            Histogram("inference_request_duration_seconds", "Time of model calls in seconds");
        input: Counter = Counter::default(), Counter("inference_input_tokens", "Tokens read by models");
        output: Counter = Counter::default(), Counter("inference_output_tokens", "Tokens written by models");
        total: Counter = Counter::default(), Counter("inference_total_tokens", "Tokens read and written by models");
    }
}

impl InferenceGroup {
    /// A call has ended.
    pub fn count(&self, time: Duration, tokens: Option<(u64, u64)>) {
        self.calls.inc();
        self.seconds.observe(time.as_secs_f64());
        if let Some((input, output)) = tokens {
            self.input.inc_by(input);
            self.output.inc_by(output);
            self.total.inc_by(input.saturating_add(output));
        }
    }
}
