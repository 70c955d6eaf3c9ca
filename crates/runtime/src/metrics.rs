//! Metrics of reconciles, of calls to other systems, of leadership; names after controller-runtime and Prometheus.
//!
//! | name (after the prefix) | kind | labels |
//! |---|---|---|
//! | `reconcile_total` | counter | `kind`, `result` (`success`, `requeue`, `error`) |
//! | `reconcile_errors_total` | counter | `kind`, `category` |
//! | `reconcile_duration_seconds` | histogram | `kind` |
//! | `reconcile_active` | gauge | `kind` |
//! | `leader` | gauge | 1 while this process leads |
//! | `<system>_requests_total` | counter | `operation`, `result` |
//! | `<system>_request_duration_seconds` | histogram | `operation` |
//!
//! Labels are `&'static str` or bounded words, never names of objects.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

/// Media type of the text that [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// 5 ms to 80 s.
fn seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0])
}

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    durations: Histograms<KindLabel>,
    active: Family<KindLabel, Gauge>,
    leader: Gauge,
}

impl Metrics {
    /// An empty registry; every name starts with `prefix` and an underscore.
    pub fn new(prefix: &str) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        let reconciles = Family::default();
        registry.register("reconcile", "Reconciles by kind and result", reconciles.clone());
        let errors = Family::default();
        registry.register("reconcile_errors", "Failed reconciles by kind and category of the error", errors.clone());
        let durations: Histograms<KindLabel> = Family::new_with_constructor(seconds);
        registry.register("reconcile_duration_seconds", "Time of one reconcile", durations.clone());
        let active = Family::default();
        registry.register("reconcile_active", "Reconciles running now", active.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        Self { registry: Arc::new(Mutex::new(registry)), reconciles, errors, durations, active, leader }
    }

    /// Adds a metric of the caller's own; the prefix applies.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// Metrics of calls to another system, named `<system>_requests_total` and `<system>_request_duration_seconds`.
    pub fn calls(&self, system: &str) -> Calls {
        let calls = Calls { requests: Family::default(), durations: Family::new_with_constructor(seconds) };
        self.register(&format!("{system}_requests"), "Requests by operation and result", calls.requests.clone());
        self.register(&format!("{system}_request_duration_seconds"), "Time of one request", calls.durations.clone());
        calls
    }

    /// Starts the clock of one reconcile.
    pub fn start(&self, kind: &'static str) -> Running {
        self.active.get_or_create(&KindLabel { kind }).inc();
        Running { metrics: self.clone(), kind, started: Instant::now() }
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// The text of `/metrics`, see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // writing to a String fails only when a metric's own encoding does; what is complete is still of use
        if text::encode(&mut out, &registry).is_err() {
            tracing::warn!("a metric cannot be encoded");
        }
        out
    }
}

/// One reconcile under way. Counted as active until it is finished or dropped.
pub struct Running {
    metrics: Metrics,
    kind: &'static str,
    started: Instant,
}

impl Running {
    /// It ended with nothing left to do.
    pub fn success(self) {
        self.count("success");
    }

    /// It waits for something and comes back by itself.
    pub fn requeue(self) {
        self.count("requeue");
    }

    /// It failed; `category` is a bounded word.
    pub fn error(self, category: &'static str) {
        self.metrics.errors.get_or_create(&ErrorLabels { kind: self.kind, category }).inc();
        self.count("error");
    }

    fn count(&self, result: &'static str) {
        self.metrics.reconciles.get_or_create(&ResultLabels { kind: self.kind, result }).inc();
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics.durations.get_or_create(&KindLabel { kind: self.kind }).observe(seconds);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.active.get_or_create(&KindLabel { kind: self.kind }).dec();
    }
}

/// Metrics of calls to another system.
#[derive(Clone)]
pub struct Calls {
    requests: Family<CallLabels, Counter>,
    durations: Histograms<OperationLabel>,
}

impl Calls {
    /// Notes one call; both words are out of fixed sets.
    pub fn observe(&self, operation: &'static str, result: &'static str, duration: Duration) {
        self.requests.get_or_create(&CallLabels { operation, result }).inc();
        self.durations.get_or_create(&OperationLabel { operation }).observe(duration.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_the_module_doc() {
        let metrics = Metrics::new("duo_operator");
        metrics.start("AIGateway").success();
        metrics.start("AIGateway").error("Timeout");
        let running = metrics.start("SelfHostedModel");
        metrics.calls("gitlab").observe("DuoObserve", "OK", Duration::from_millis(20));
        metrics.set_leader(true);
        let text = metrics.encode();
        for line in [
            r#"duo_operator_reconcile_total{kind="AIGateway",result="success"} 1"#,
            r#"duo_operator_reconcile_total{kind="AIGateway",result="error"} 1"#,
            r#"duo_operator_reconcile_errors_total{kind="AIGateway",category="Timeout"} 1"#,
            r#"duo_operator_reconcile_duration_seconds_count{kind="AIGateway"} 2"#,
            r#"duo_operator_reconcile_active{kind="SelfHostedModel"} 1"#,
            r#"duo_operator_reconcile_active{kind="AIGateway"} 0"#,
            r#"duo_operator_gitlab_requests_total{operation="DuoObserve",result="OK"} 1"#,
            r#"duo_operator_gitlab_request_duration_seconds_count{operation="DuoObserve"} 1"#,
            "duo_operator_leader 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        drop(running);
        assert!(metrics.encode().contains(r#"duo_operator_reconcile_active{kind="SelfHostedModel"} 0"#));
    }
}
