//! Tokens and cost per feature and declared model: what chargeback is made from.

use duo_protocol::model::Usage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;

use super::OTHER;
use super::series::{Labels, Money, group};

/// Whose tokens.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SpendLabels {
    /// Name of the declared model; `undeclared` for those that requests bring.
    pub model: &'static str,
    /// Unit primitive.
    pub feature: &'static str,
}

impl Labels for SpendLabels {
    fn coarser(&self) -> Option<Self> {
        (self.model != OTHER).then_some(Self { model: OTHER, feature: OTHER })
    }
}

group! {
    /// Tokens of a feature.
    SpendGroup {
        requests: Counter = Counter::default(),
            Counter("duo_gateway_feature_requests", "Requests for a model, however they ended");
        input: Counter = Counter::default(),
            Counter("duo_gateway_input_tokens", "Tokens read, those of the prompt cache included");
        output: Counter = Counter::default(), Counter("duo_gateway_output_tokens", "Tokens written");
        cache_read: Counter = Counter::default(),
            Counter("duo_gateway_cache_read_tokens", "Tokens read from the provider's prompt cache");
        cache_write: Counter = Counter::default(),
            Counter("duo_gateway_cache_write_tokens", "Tokens written to the provider's prompt cache");
    }
}

impl SpendGroup {
    /// What a model says it read and wrote.
    pub fn tokens(&self, usage: &Usage) {
        self.input.inc_by(usage.input_tokens);
        self.output.inc_by(usage.output_tokens);
        self.cache_read.inc_by(usage.cache_read_tokens);
        self.cache_write.inc_by(usage.cache_write_tokens);
    }
}

/// Whose money.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CostLabels {
    /// ISO 4217.
    pub currency: &'static str,
    /// As in [`SpendLabels`].
    pub model: &'static str,
    /// As in [`SpendLabels`].
    pub feature: &'static str,
}

impl Labels for CostLabels {
    /// Sums of different currencies are never mixed.
    fn coarser(&self) -> Option<Self> {
        (self.model != OTHER).then_some(Self { currency: self.currency, model: OTHER, feature: OTHER })
    }
}

group! {
    /// Cost of a feature, for models with a price.
    CostGroup {
        cost: Money = Money::default(),
            Counter("duo_gateway_cost", "Cost of the tokens of models with a price, in the currency of the label");
    }
}
