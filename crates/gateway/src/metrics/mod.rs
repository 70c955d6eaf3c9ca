//! Prometheus metrics under the names of GitLab's own gateway (19.x), and a few of ours (`duo_gateway_…`).
//!
//! Every label's values are bounded: what comes from a request passes [`Bounded`], models are named by family.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds, as GitLab's own.
const BUCKETS: [f64; 7] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Different values kept of a label that requests choose; later ones are `other`.
const MOST_VALUES: usize = 64;

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    /// Route template.
    pub handler: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Status class, `2xx`.
    pub status: &'static str,
}

/// Labels of a model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ModelLabels {
    /// Kind of server: `bedrock`, `custom_openai`, `azure`.
    pub model_engine: String,
    /// Model family.
    pub model_name: &'static str,
}

/// Labels of a model call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct InferenceLabels {
    /// Kind of server.
    pub model_engine: String,
    /// Model family.
    pub model_name: &'static str,
    /// `X-Gitlab-Language-Server-Version`, bounded.
    pub lsp_version: String,
    /// `X-Gitlab-Version`, bounded.
    pub gitlab_version: String,
    /// `X-Gitlab-Client-Type`, bounded.
    pub client_type: String,
    /// `X-Gitlab-Realm`, bounded.
    pub gitlab_realm: String,
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

type InferenceHistogram = Family<InferenceLabels, Histogram, fn() -> Histogram>;

/// All metrics.
pub struct Metrics {
    registry: Registry,
    http: Family<HttpLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<ModelLabels, Gauge>,
    inferences: Family<InferenceLabels, Counter>,
    inference_seconds: InferenceHistogram,
    input_tokens: Family<InferenceLabels, Counter>,
    output_tokens: Family<InferenceLabels, Counter>,
    total_tokens: Family<InferenceLabels, Counter>,
    /// Reloads of the mounted configuration that failed.
    pub reload_failures: Counter,
    /// Reloads that took effect.
    pub reloads: Counter,
    /// Published signing keys at hand.
    pub signing_keys: Gauge,
    /// Requests refused by authentication.
    pub auth_refusals: Counter,
    /// What the listeners count.
    pub listeners: crate::listen::Counts,
    /// Keeps label values bounded.
    pub bounded: Bounded,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Counter::default())
    }
}

impl Metrics {
    /// With the count of the token checks, which are made elsewhere.
    pub fn new(token_checks: Counter) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            http: Family::new_with_constructor(histogram as fn() -> Histogram),
            in_flight: Family::default(),
            inferences: Family::default(),
            inference_seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            input_tokens: Family::default(),
            output_tokens: Family::default(),
            total_tokens: Family::default(),
            reload_failures: Counter::default(),
            reloads: Counter::default(),
            signing_keys: Gauge::default(),
            auth_refusals: Counter::default(),
            listeners: crate::listen::Counts::default(),
            bounded: Bounded::default(),
        };
        let m = &mut metrics;
        let r = &mut m.registry;
        r.register("http_request_duration_seconds", "Time to the start of the answer", m.http.clone());
        r.register("model_inferences_in_flight", "Model calls under way", m.in_flight.clone());
        r.register("model_inferences", "Model calls", m.inferences.clone());
        r.register("inference_request_duration_seconds", "Time of model calls", m.inference_seconds.clone());
        r.register("inference_input_tokens", "Tokens read by models", m.input_tokens.clone());
        r.register("inference_output_tokens", "Tokens written by models", m.output_tokens.clone());
        r.register("inference_total_tokens", "Tokens read and written", m.total_tokens.clone());
        r.register("duo_gateway_config_reload_failures", "Configurations refused", m.reload_failures.clone());
        r.register("duo_gateway_config_reloads", "Configurations taken over", m.reloads.clone());
        r.register("duo_gateway_signing_keys", "Published signing keys at hand", m.signing_keys.clone());
        r.register("duo_gateway_auth_refusals", "Requests refused by authentication", m.auth_refusals.clone());
        r.register("duo_gateway_token_checks", "Signatures of tokens checked", token_checks);
        m.listeners.register(r);
        metrics
    }

    /// A request whose answer has begun.
    pub fn http(&self, handler: &'static str, method: &http::Method, status: u16, time: Duration) {
        let labels = HttpLabels { handler, method: method_label(method), status: status_class(status) };
        self.http.get_or_create(&labels).observe(time.as_secs_f64());
    }

    /// A model call begins; the guard's drop ends it.
    pub fn begin(&self, labels: ModelLabels) -> InFlight {
        let gauge = self.in_flight.get_or_create(&labels).clone();
        gauge.inc();
        InFlight(gauge)
    }

    /// A model call has ended.
    pub fn inference(&self, labels: &InferenceLabels, time: Duration, tokens: Option<(u64, u64)>) {
        self.inferences.get_or_create(labels).inc();
        self.inference_seconds.get_or_create(labels).observe(time.as_secs_f64());
        if let Some((input, output)) = tokens {
            self.input_tokens.get_or_create(labels).inc_by(input);
            self.output_tokens.get_or_create(labels).inc_by(output);
            self.total_tokens.get_or_create(labels).inc_by(input.saturating_add(output));
        }
    }

    /// The text of `/metrics` (OpenMetrics).
    ///
    /// # Errors
    /// Formatting failed.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts a model call as under way.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Lets through the first values that requests bring and calls all later ones `other`.
#[derive(Default)]
pub struct Bounded(RwLock<BTreeSet<String>>);

impl Bounded {
    /// The value for a label: short, plain, one of a bounded set.
    pub fn value(&self, value: Option<&str>) -> String {
        let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return "unknown".to_owned() };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+ ".contains(c);
        if value.len() > 40 || !value.chars().all(plain) {
            return "other".to_owned();
        }
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(value) {
            return value.to_owned();
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_VALUES && !known.contains(value) {
            return "other".to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }
}

fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_names_are_exported() {
        let metrics = Metrics::default();
        metrics.http("/v2/code/completions", &http::Method::POST, 200, Duration::from_millis(3));
        let labels = InferenceLabels {
            model_engine: "bedrock".into(),
            model_name: "mixtral",
            lsp_version: "unknown".into(),
            gitlab_version: "18.9.0".into(),
            client_type: "unknown".into(),
            gitlab_realm: "self-managed".into(),
            error: "no",
            error_type: "none",
            streaming: "no",
            feature_category: "code_suggestions",
            unit_primitive: "complete_code",
            finish_reason: "stop",
        };
        metrics.inference(&labels, Duration::from_millis(3), Some((5, 7)));
        let text = metrics.render().unwrap();
        for expected in [
            "http_request_duration_seconds_bucket{le=\"0.5\",handler=\"/v2/code/completions\",method=\"POST\",status=\"2xx\"} 1",
            "model_inferences_total{model_engine=\"bedrock\",model_name=\"mixtral\"",
            "inference_request_duration_seconds_count{",
            "inference_input_tokens_total{",
            "inference_output_tokens_total{",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        let model = ModelLabels { model_engine: "bedrock".into(), model_name: "mixtral" };
        let guard = metrics.begin(model);
        assert!(
            metrics
                .render()
                .unwrap()
                .contains("model_inferences_in_flight{model_engine=\"bedrock\",model_name=\"mixtral\"} 1")
        );
        drop(guard);
        assert!(
            metrics
                .render()
                .unwrap()
                .contains("model_inferences_in_flight{model_engine=\"bedrock\",model_name=\"mixtral\"} 0")
        );
    }

    #[test]
    fn label_values_are_bounded() {
        let bounded = Bounded::default();
        assert_eq!(bounded.value(Some("18.9.0")), "18.9.0");
        assert_eq!(bounded.value(None), "unknown");
        assert_eq!(bounded.value(Some("a\nb")), "other");
        assert_eq!(bounded.value(Some(&"x".repeat(41))), "other");
        for n in 0..1000 {
            bounded.value(Some(&n.to_string()));
        }
        assert_eq!(bounded.value(Some("new")), "other");
        assert_eq!(bounded.value(Some("18.9.0")), "18.9.0");
    }
}
