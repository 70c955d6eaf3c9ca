//! The states as metrics. They are read when somebody looks at `/metrics`, so that calls do not pay for it.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Allowances, Outcome};
use crate::upstream::Directory;

/// Labels of a declared model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

/// Labels of one of its places.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceLabels {
    model: String,
    /// `primary`, `replica-1`, `fallback-1`, …
    place: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    model: String,
    place: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    model: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    scope: &'static str,
    limit: &'static str,
}

/// The families; labels are bounded by the configuration.
#[derive(Default)]
pub struct ResilienceMetrics {
    breakers: Family<PlaceLabels, Gauge>,
    calls: Family<CallLabels, Counter>,
    calls_under_way: Family<PlaceLabels, Gauge>,
    fallbacks: Family<PlaceLabels, Counter>,
    retries: Family<ModelLabel, Counter>,
    hedges: Family<ModelLabel, Counter>,
    hedges_won: Family<ModelLabel, Counter>,
    requests: Family<ModelLabel, Gauge>,
    waiting: Family<ModelLabel, Gauge>,
    queued: Family<ModelLabel, Counter>,
    queued_seconds: Family<ModelLabel, Counter<f64, AtomicU64>>,
    turned_away: Family<ReasonLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
}

impl ResilienceMetrics {
    /// Names them.
    pub fn register(&self, r: &mut Registry) {
        let state = "Circuit breaker of a place: 0 closed, 1 trying, 2 open";
        r.register("duo_gateway_circuit_breaker_state", state, self.breakers.clone());
        r.register("duo_gateway_upstream_calls", "Calls of model servers by how they ended", self.calls.clone());
        r.register("duo_gateway_upstream_in_flight", "Calls of a place under way", self.calls_under_way.clone());
        r.register("duo_gateway_fallbacks", "Requests that a fallback answered", self.fallbacks.clone());
        r.register("duo_gateway_retries", "Calls made again at the same places", self.retries.clone());
        r.register("duo_gateway_hedges", "Second calls of slow completions", self.hedges.clone());
        r.register("duo_gateway_hedges_won", "Second calls that answered first", self.hedges_won.clone());
        r.register("duo_gateway_model_requests", "Requests of a model under way", self.requests.clone());
        r.register("duo_gateway_queue_length", "Requests that wait for their model", self.waiting.clone());
        r.register("duo_gateway_queued_requests", "Requests that had to wait", self.queued.clone());
        r.register("duo_gateway_queue_seconds", "Time they waited", self.queued_seconds.clone());
        let reasons = "Requests turned away: the queue was full, or they waited too long";
        r.register("duo_gateway_queue_rejections", reasons, self.turned_away.clone());
        r.register("duo_gateway_limited_requests", "Requests beyond a caller's limits", self.limited.clone());
    }

    /// Takes the present values.
    pub fn update(&self, directory: &Directory, allowances: &Allowances) {
        self.clear();
        for target in directory.models.values() {
            self.model(target);
        }
        for (scope, limit, count) in allowances.refusals() {
            set(&self.limited.get_or_create(&LimitLabels { scope, limit }), count);
        }
    }

    /// What is no longer declared is no longer told.
    fn clear(&self) {
        self.breakers.clear();
        self.calls.clear();
        self.calls_under_way.clear();
        self.fallbacks.clear();
        for family in [&self.retries, &self.hedges, &self.hedges_won, &self.queued] {
            family.clear();
        }
        self.requests.clear();
        self.waiting.clear();
        self.queued_seconds.clear();
        self.turned_away.clear();
    }

    fn model(&self, target: &crate::upstream::Declared) {
        let (state, gate) = (&target.state, &target.state.gate);
        let label = ModelLabel { model: target.name.to_string() };
        for (family, count) in [
            (&self.retries, &state.retried),
            (&self.hedges, &state.hedged),
            (&self.hedges_won, &state.hedges_won),
            (&self.queued, &gate.queued),
        ] {
            set(&family.get_or_create(&label), count.load(Ordering::Relaxed));
        }
        self.requests.get_or_create(&label).set(signed(gate.under_way()));
        self.waiting.get_or_create(&label).set(signed(gate.waiting()));
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a process's life")]
        let seconds = gate.queued_micros.load(Ordering::Relaxed) as f64 / 1e6;
        self.queued_seconds.get_or_create(&label).inner().store(seconds.to_bits(), Ordering::Relaxed);
        for (reason, count) in [("full", &gate.full), ("waited", &gate.waited)] {
            let labels = ReasonLabels { model: label.model.clone(), reason };
            set(&self.turned_away.get_or_create(&labels), count.load(Ordering::Relaxed));
        }
        for (at, member) in target.members.iter().enumerate() {
            let labels = PlaceLabels { model: label.model.clone(), place: member.role.to_string() };
            self.breakers.get_or_create(&labels).set(member.state.breaker_number());
            self.calls_under_way.get_or_create(&labels).set(signed(member.state.under_way()));
            if at >= target.own {
                set(&self.fallbacks.get_or_create(&labels), member.state.fell_back.load(Ordering::Relaxed));
            }
            for outcome in Outcome::ALL {
                let PlaceLabels { model, place } = labels.clone();
                let labels = CallLabels { model, place, outcome: outcome.as_str() };
                set(&self.calls.get_or_create(&labels), member.state.count(outcome));
            }
        }
    }
}

fn set(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
