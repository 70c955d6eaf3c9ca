//! Several metrics that share their labels, kept in one map, and bounded: one look-up per event instead of one per
//! metric, and a map that stops growing, whatever combinations of labels turn up.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::fast::RandomState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Labels of one series.
pub trait Labels: EncodeLabelSet + Clone + Eq + Hash + std::fmt::Debug + Send + Sync + 'static {
    /// The same with less told apart, for a map that is full; `None` when nothing less can be told.
    fn coarser(&self) -> Option<Self>;
}

/// One metric of a group.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name; a counter's is exported with `_total`.
    pub name: &'static str,
    /// What it counts, with the unit.
    pub help: &'static str,
    /// What it is.
    pub kind: MetricType,
}

/// The values behind one set of labels.
pub trait Group: Default + std::fmt::Debug + Send + Sync + 'static {
    /// Their descriptions, in the order of [`Group::encode`]'s index.
    const METRICS: &'static [Metric];
    /// Writes one of them.
    ///
    /// # Errors
    /// Writing failed.
    fn encode(&self, index: usize, encoder: MetricEncoder<'_>) -> std::fmt::Result;
}

/// A map of groups. Clones share it. Beyond `most` sets of labels a new one is counted under its coarser form; the
/// forms without a coarser one are few and always kept.
#[derive(Debug)]
pub struct Series<L, G>(Arc<Inner<L, G>>);

#[derive(Debug)]
struct Inner<L, G> {
    most: usize,
    /// It cannot be flooded: it is bounded.
    map: RwLock<HashMap<L, Arc<G>, RandomState>>,
}

impl<L, G> Clone for Series<L, G> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Labels, G: Group> Series<L, G> {
    /// An empty map for at most `most` sets of labels (and a few coarse ones).
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, map: RwLock::default() }))
    }

    /// The values of `labels`.
    pub fn get(&self, labels: &L) -> Arc<G> {
        if let Some(found) = self.0.map.read().unwrap_or_else(PoisonError::into_inner).get(labels) {
            return found.clone();
        }
        let mut map = self.0.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut labels = labels.clone();
        while map.len() >= self.0.most && !map.contains_key(&labels) {
            match labels.coarser() {
                Some(coarser) => labels = coarser,
                None => break,
            }
        }
        map.entry(labels).or_default().clone()
    }

    /// Forgets the series that `keep` does not name: for gauges of what the configuration no longer has.
    pub fn retain(&self, mut keep: impl FnMut(&L) -> bool) {
        self.0.map.write().unwrap_or_else(PoisonError::into_inner).retain(|labels, _| keep(labels));
    }
}

impl<L: Labels, G: Group> Collector for Series<L, G> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut series: Vec<(L, Arc<G>)> = {
            let map = self.0.map.read().unwrap_or_else(PoisonError::into_inner);
            map.iter().map(|(labels, group)| (labels.clone(), group.clone())).collect()
        };
        // a stable order makes two scrapes comparable
        series.sort_by_cached_key(|(labels, _)| format!("{labels:?}"));
        for (index, metric) in G::METRICS.iter().enumerate() {
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
            for (labels, group) in &series {
                group.encode(index, family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

/// A counter of money: exact inside, in 10⁻¹² of the currency, and a decimal number outside.
#[derive(Debug, Default)]
pub struct Money(Mutex<u128>);

impl Money {
    /// Adds 10⁻¹² of the currency.
    pub fn add(&self, pico: u128) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.saturating_add(pico);
    }
}

impl EncodeMetric for Money {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let pico = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[allow(clippy::cast_precision_loss, reason = "the sum is exact; only what is shown is the nearest double")]
        let shown = pico as f64 / 1e12;
        encoder.encode_counter::<NoLabelSet, _, f64>(&shown, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Declares a [`Group`]: its fields, how each begins, and what it is called.
macro_rules! group {
    ($(#[$doc:meta])* $group:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $new:expr, $kind:ident($name:literal, $help:literal);)+
    }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $group {
            $($(#[$field_doc])* #[doc = $help] pub $field: $type,)+
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $($field: $new,)+ }
            }
        }

        impl $crate::metrics::series::Group for $group {
            const METRICS: &'static [$crate::metrics::series::Metric] = &[
                $($crate::metrics::series::Metric {
                    name: $name,
                    help: $help,
                    kind: prometheus_client::metrics::MetricType::$kind,
                },)+
            ];

            fn encode(
                &self,
                index: usize,
                encoder: prometheus_client::encoding::MetricEncoder<'_>,
            ) -> std::fmt::Result {
                use prometheus_client::encoding::EncodeMetric;
                let all: [&dyn EncodeMetric; Self::METRICS.len()] = [$(&self.$field,)+];
                match all.get(index) {
                    Some(metric) => metric.encode(encoder),
                    None => Ok(()),
                }
            }
        }
    };
}
pub(crate) use group;

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Who {
        name: String,
    }

    impl Labels for Who {
        fn coarser(&self) -> Option<Self> {
            (self.name != "other").then(|| Self { name: "other".into() })
        }
    }

    group! {
        /// Two.
        Pair {
            calls: Counter = Counter::default(), Counter("calls", "Calls");
            cost: Money = Money::default(), Counter("cost", "Cost");
        }
    }

    #[test]
    fn a_full_map_counts_new_labels_under_the_coarser_ones_and_loses_nothing() {
        let series: Series<Who, Pair> = Series::new(3);
        for n in 0..100 {
            series.get(&Who { name: n.to_string() }).calls.inc();
        }
        series.get(&Who { name: "0".into() }).cost.add(1_500_000_000_000);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(series));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("calls_total")).collect();
        assert_eq!(
            lines,
            [
                "calls_total{name=\"0\"} 1",
                "calls_total{name=\"1\"} 1",
                "calls_total{name=\"2\"} 1",
                "calls_total{name=\"other\"} 97",
            ]
        );
        assert!(text.contains("cost_total{name=\"0\"} 1.5\n"), "{text}");
    }

    #[test]
    fn money_is_summed_exactly() {
        let money = Money::default();
        for _ in 0..10_000 {
            money.add(100_000_000_001);
        }
        assert_eq!(*money.0.lock().unwrap(), 1_000_000_000_010_000);
    }
}
