//! Prometheus metrics: under the names of GitLab's own gateway (19.x), under those of the OpenTelemetry semantic
//! conventions for generative AI, and ours (`duo_gateway_…`). `SIGNALS.md` of this crate lists all of them; a test here
//! compares.
//!
//! Every label's values are bounded ([`names`]), and so is the number of their combinations ([`series`]).

mod docs;
mod genai;
mod inference;
mod names;
mod process;
mod requests;
mod series;
mod spend;

use std::sync::Arc;
use std::time::Duration;

use duo_protocol::model::Usage;
use http::HeaderMap;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::settings::ModelLimit;
pub use docs::Docs;
pub use genai::{AskedLabels, ChunkGroup, GenAiLabels, Operation, TokenLabels, provider_name};
use genai::{ClientGroup, FirstChunkGroup, FirstTokenGroup, PerTokenGroup, ServerGroup, TokenGroup};
pub use inference::{ClientLabels, InferenceLabels, ModelLabels};
use inference::{InferenceGroup, MaxConcurrent, MaxInput, MaxOutput, MaxTotal, ModelGauges};
pub use names::{Bounded, Names};
use process::Process;
use requests::{HttpGroup, LanguageGroup, OverheadLabels, method_label, status_class};
pub use requests::{HttpLabels, LanguageLabels};
use series::Series;
use spend::{CostGroup, SpendGroup};
pub use spend::{CostLabels, SpendLabels};

/// What is not told apart.
const OTHER: &str = "other";
/// Upper bounds in seconds, as GitLab's own.
const OFFICIAL_BUCKETS: [f64; 7] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds in seconds of what the gateway itself takes.
const OVERHEAD: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_8, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0];
/// Upper bounds in seconds of what is done to an answer.
const POST_PROCESSING: [f64; 10] = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 1.0];

/// Counters that others own.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// Log lines that were thrown away.
    pub log_lines_dropped: Counter,
    /// Signatures of tokens checked.
    pub token_checks: Counter,
    /// What becomes of spans.
    pub spans: crate::telemetry::Counters,
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    http: Series<HttpLabels, HttpGroup>,
    overhead: Family<OverheadLabels, Histogram, fn() -> Histogram>,
    models: Series<ModelLabels, ModelGauges>,
    max_concurrent: Series<ModelLabels, MaxConcurrent>,
    max_input: Series<ModelLabels, MaxInput>,
    max_output: Series<ModelLabels, MaxOutput>,
    max_total: Series<ModelLabels, MaxTotal>,
    inferences: Series<InferenceLabels, InferenceGroup>,
    server: Series<GenAiLabels, ServerGroup>,
    first_token: Series<GenAiLabels, FirstTokenGroup>,
    per_token: Series<GenAiLabels, PerTokenGroup>,
    client: Series<GenAiLabels, ClientGroup>,
    first_chunk: Series<GenAiLabels, FirstChunkGroup>,
    chunks: Series<GenAiLabels, ChunkGroup>,
    tokens: Series<TokenLabels, TokenGroup>,
    spend: Series<SpendLabels, SpendGroup>,
    cost: Series<CostLabels, CostGroup>,
    languages: Series<LanguageLabels, LanguageGroup>,
    post_processing: Histogram,
    /// Reloads of the mounted configuration that failed.
    pub reload_failures: Counter,
    /// Reloads that took effect.
    pub reloads: Counter,
    /// Published signing keys at hand.
    pub signing_keys: Gauge,
    /// Requests refused by authentication.
    pub auth_refusals: Counter,
    elsewhere: Elsewhere,
    /// The documentation index.
    pub docs: Docs,
    /// What the listeners count.
    pub listeners: crate::listen::Counts,
    /// Places, queues and limits.
    pub resilience: crate::resilience::ResilienceMetrics,
    /// Keeps label values bounded.
    pub names: Names,
}

fn overhead() -> Histogram {
    Histogram::new(OVERHEAD)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Elsewhere::default())
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(elsewhere: Elsewhere) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            http: Series::new(512),
            overhead: Family::new_with_constructor(overhead as fn() -> Histogram),
            models: Series::new(128),
            max_concurrent: Series::new(128),
            max_input: Series::new(128),
            max_output: Series::new(128),
            max_total: Series::new(128),
            inferences: Series::new(512),
            server: Series::new(192),
            first_token: Series::new(192),
            per_token: Series::new(192),
            client: Series::new(192),
            first_chunk: Series::new(192),
            chunks: Series::new(192),
            tokens: Series::new(192),
            spend: Series::new(1024),
            cost: Series::new(1024),
            languages: Series::new(512),
            post_processing: Histogram::new(POST_PROCESSING),
            reload_failures: Counter::default(),
            reloads: Counter::default(),
            signing_keys: Gauge::default(),
            auth_refusals: Counter::default(),
            elsewhere,
            docs: Docs::default(),
            listeners: crate::listen::Counts::default(),
            resilience: crate::resilience::ResilienceMetrics::default(),
            names: Names::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register_collector(Box::new(self.http.clone()));
        r.register(
            "duo_gateway_overhead_seconds",
            "Time to the start of the answer without the waiting for models and in line, in seconds",
            self.overhead.clone(),
        );
        r.register_collector(Box::new(self.models.clone()));
        r.register_collector(Box::new(self.max_concurrent.clone()));
        r.register_collector(Box::new(self.max_input.clone()));
        r.register_collector(Box::new(self.max_output.clone()));
        r.register_collector(Box::new(self.max_total.clone()));
        r.register_collector(Box::new(self.inferences.clone()));
        r.register_collector(Box::new(self.server.clone()));
        r.register_collector(Box::new(self.first_token.clone()));
        r.register_collector(Box::new(self.per_token.clone()));
        r.register_collector(Box::new(self.client.clone()));
        r.register_collector(Box::new(self.first_chunk.clone()));
        r.register_collector(Box::new(self.chunks.clone()));
        r.register_collector(Box::new(self.tokens.clone()));
        r.register_collector(Box::new(self.spend.clone()));
        r.register_collector(Box::new(self.cost.clone()));
        r.register_collector(Box::new(self.languages.clone()));
        r.register(
            "code_suggestions_post_processing_duration_seconds",
            "Time of what is done to a model's whole answer in seconds",
            self.post_processing.clone(),
        );
        for (name, help, counter) in [
            ("duo_gateway_config_reload_failures", "Configurations refused", &self.reload_failures),
            ("duo_gateway_config_reloads", "Configurations taken over", &self.reloads),
            ("duo_gateway_auth_refusals", "Requests refused by authentication", &self.auth_refusals),
            ("duo_gateway_spans_exported", "Spans that the collector took", &self.elsewhere.spans.exported),
            ("duo_gateway_spans_dropped", "Spans that were thrown away", &self.elsewhere.spans.dropped),
            ("duo_gateway_log_lines_dropped", "Log lines that were thrown away", &self.elsewhere.log_lines_dropped),
            ("duo_gateway_token_checks", "Signatures of tokens checked", &self.elsewhere.token_checks),
        ] {
            r.register(name, help, counter.clone());
        }
        r.register("duo_gateway_signing_keys", "Published signing keys at hand", self.signing_keys.clone());
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        r.register("duo_gateway_build", "This program", Info::new(version));
        self.docs.register(r);
        self.listeners.register(r);
        self.resilience.register(r);
        r.register_collector(Box::new(Process));
    }

    /// A request whose answer has begun.
    pub fn http(&self, handler: &'static str, method: &http::Method, status: u16, time: Duration) {
        let labels = HttpLabels { handler, method: method_label(method), status: status_class(status) };
        self.http.get(&labels).seconds.observe(time.as_secs_f64());
    }

    /// The gateway's own share of the time to the start of an answer.
    pub fn overhead(&self, handler: &'static str, time: Duration) {
        self.overhead.get_or_create(&OverheadLabels { handler }).observe(time.as_secs_f64());
    }

    /// Label values of a caller.
    pub fn client_labels(&self, headers: &HeaderMap) -> ClientLabels {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        ClientLabels {
            lsp_version: self.names.lsp_version.value(header("x-gitlab-language-server-version")),
            gitlab_version: self.names.gitlab_version.value(header("x-gitlab-version")),
            client_type: self.names.client_type.value(header("x-gitlab-client-type")),
            gitlab_realm: self.names.realm.value(header("x-gitlab-realm")),
            is_gitlab_team_member: match header("x-gitlab-is-team-member") {
                Some("true") => "true",
                Some("false") => "false",
                Some(_) => OTHER,
                None => "unknown",
            },
        }
    }

    /// What is configured as limits: `said` is shown only, `kept` is kept as well, and counts where both name a model.
    pub fn limits(&self, said: &[ModelLimit], kept: &[ModelLimit]) {
        self.max_concurrent.retain(|_| false);
        self.max_input.retain(|_| false);
        self.max_output.retain(|_| false);
        self.max_total.retain(|_| false);
        let labels = |limit: &ModelLimit| ModelLabels {
            model_engine: self.names.engine.value(Some(&limit.engine)),
            model_name: self.names.model.value(Some(&limit.model)),
        };
        for limit in said {
            let labels = labels(limit);
            if let Some(count) = limit.concurrent {
                self.max_concurrent.get(&labels).limit.set(count);
            }
            if let Some(count) = limit.input_tokens {
                self.max_input.get(&labels).limit.set(count);
            }
            if let Some(count) = limit.output_tokens {
                self.max_output.get(&labels).limit.set(count);
            }
            if let Some(count) = limit.total_tokens {
                self.max_total.get(&labels).limit.set(count);
            }
        }
        for limit in kept {
            self.max_concurrent.get(&labels(limit)).limit.set(0);
        }
        // several models of one family on one kind of server are one line
        for limit in kept {
            self.max_concurrent.get(&labels(limit)).limit.inc_by(limit.concurrent.unwrap_or_default());
        }
    }

    /// A model call begins; the guard's drop ends it.
    pub fn begin(&self, labels: &ModelLabels) -> InFlight {
        let group = self.models.get(labels);
        group.in_flight.inc();
        InFlight(group)
    }

    /// A feature's call of a model has ended.
    pub fn inference(&self, labels: &InferenceLabels, time: Duration, usage: Option<&Usage>) {
        self.inferences.get(labels).count(time, usage.map(|usage| (usage.input_tokens, usage.output_tokens)));
    }

    /// The same, by the conventions. `first`: time to the first piece of a stream.
    pub fn served(&self, labels: &GenAiLabels, time: Duration, first: Option<Duration>, usage: Option<&Usage>) {
        self.server.get(labels).request.observe(time.as_secs_f64());
        let Some(first) = first else { return };
        self.first_token.get(labels).first.observe(first.as_secs_f64());
        if let Some(tokens) = usage.and_then(|usage| u32::try_from(usage.output_tokens).ok()).filter(|count| *count > 1)
        {
            let rest = time.saturating_sub(first).as_secs_f64();
            self.per_token.get(labels).per_token.observe(rest / f64::from(tokens - 1));
        }
    }

    /// For the times between the pieces of one stream.
    pub fn chunks(&self, labels: &GenAiLabels) -> Arc<ChunkGroup> {
        self.chunks.get(labels)
    }

    /// A single call of a model server has ended.
    pub fn called(&self, labels: &GenAiLabels, time: Duration, first: Option<Duration>, usage: Option<&Usage>) {
        self.client.get(labels).duration.observe(time.as_secs_f64());
        if let Some(first) = first {
            self.first_chunk.get(labels).first.observe(first.as_secs_f64());
        }
        let Some(usage) = usage else { return };
        for (kind, count) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            let labels = TokenLabels { asked: labels.asked, gen_ai_token_type: kind };
            #[allow(clippy::cast_precision_loss, reason = "beyond 2⁵³ tokens nobody counts")]
            self.tokens.get(&labels).tokens.observe(count as f64);
        }
    }

    /// What a feature used of a model. `cost`: the currency and 10⁻¹² of it.
    pub fn spent(&self, labels: SpendLabels, usage: Option<&Usage>, cost: Option<(&'static str, u128)>) {
        let group = self.spend.get(&labels);
        group.requests.inc();
        if let Some(usage) = usage {
            group.tokens(usage);
        }
        if let Some((currency, pico)) = cost {
            let labels = CostLabels { currency, model: labels.model, feature: labels.feature };
            self.cost.get(&labels).cost.add(pico);
        }
    }

    /// The file of a code suggestion. `lang`: our name of the language, or nothing.
    pub fn prompt_language(&self, lang: &'static str, file_name: &str, editor: Option<&str>) {
        let extension = file_name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, end)| end);
        let labels = LanguageLabels {
            lang: if lang.is_empty() { "unknown" } else { lang },
            extension: self.names.extension.value(extension),
            editor_lang: self.names.language.value(editor),
        };
        self.languages.get(&labels).files.inc();
    }

    /// What is done to a model's whole answer took so long.
    pub fn post_processing(&self, time: Duration) {
        self.post_processing.observe(time.as_secs_f64());
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
#[derive(Debug)]
pub struct InFlight(Arc<ModelGauges>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

#[cfg(test)]
mod tests;
