//! From observed and declared to a list of typed operations on GitLab. Only the operator's `act` executes them.

mod feature;
mod model;
mod release;
mod settings;

pub use feature::{FeatureTarget, plan_feature, plan_unassign};
pub use model::{DesiredModel, desired_model, plan_model};
pub use release::{Held, Release, plan_release};
pub use settings::{plan_settings, undeclared_in_use};

use std::fmt;

/// One write to GitLab. `Display` is what events, `Observe` and a dry run show; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set the Local AI gateway URL and, where given, the request timeout in seconds.
    UpdateSettings {
        /// New URL; the inner `None` clears it.
        gateway_url: Option<Option<String>>,
        /// New timeout.
        timeout_seconds: Option<u32>,
        /// What was found, for people.
        found: String,
    },
    /// Register a model.
    CreateModel(DesiredModel),
    /// Bring a model back to what is declared.
    UpdateModel {
        /// Global id.
        id: String,
        /// What it should be.
        desired: DesiredModel,
        /// Clear the API token that GitLab stores.
        clear_token: bool,
        /// Which fields differ: (field, found, declared).
        differences: Vec<(&'static str, String, String)>,
    },
    /// Set one feature.
    UpdateFeature {
        /// Lower-case key.
        feature: String,
        /// What serves it.
        target: FeatureTarget,
        /// What was found, for people.
        found: String,
    },
    /// Remove a model.
    DeleteModel {
        /// Global id.
        id: String,
        /// Its name, for people.
        name: String,
    },
}

impl Operation {
    /// What is written, one by one: names under which a fight with another writer is counted.
    pub fn subjects(&self) -> Vec<&str> {
        match self {
            Self::UpdateSettings { gateway_url, timeout_seconds, .. } => {
                let url = gateway_url.is_some().then_some(GATEWAY_URL);
                url.into_iter().chain(timeout_seconds.is_some().then_some(REQUEST_TIMEOUT)).collect()
            }
            // GitLab updates a model as a whole.
            Self::CreateModel(_) | Self::UpdateModel { .. } | Self::DeleteModel { .. } => vec![MODEL],
            Self::UpdateFeature { feature, .. } => vec![feature],
        }
    }

    /// The operation without these subjects, if anything is left of it.
    #[must_use]
    pub fn without(mut self, left_out: &[&str]) -> Option<Self> {
        if let Self::UpdateSettings { gateway_url, timeout_seconds, .. } = &mut self {
            if left_out.contains(&GATEWAY_URL) {
                *gateway_url = None;
            }
            if left_out.contains(&REQUEST_TIMEOUT) {
                *timeout_seconds = None;
            }
        }
        let rest = self.subjects();
        (!rest.is_empty() && !rest.iter().all(|subject| left_out.contains(subject))).then_some(self)
    }
}

/// Subject of [`Operation::UpdateSettings`].
pub const GATEWAY_URL: &str = "gateway URL";
/// Subject of [`Operation::UpdateSettings`].
pub const REQUEST_TIMEOUT: &str = "request timeout";
/// Subject of operations on a model.
pub const MODEL: &str = "model";

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpdateSettings { gateway_url, timeout_seconds, found } => {
                let mut parts = Vec::new();
                if let Some(url) = gateway_url {
                    parts.push(format!("gateway URL to {}", url.as_deref().unwrap_or("nothing")));
                }
                if let Some(seconds) = timeout_seconds {
                    parts.push(format!("request timeout to {seconds} s"));
                }
                write!(f, "set {} (found: {found})", parts.join(" and "))
            }
            Self::CreateModel(desired) => write!(f, "create model {:?}", desired.name),
            Self::UpdateModel { desired, differences, clear_token, .. } => {
                let mut parts: Vec<String> = differences
                    .iter()
                    .map(|(field, found, declared)| format!("{field} from {found:?} to {declared:?}"))
                    .collect();
                if *clear_token {
                    parts.push("remove the stored API token".to_owned());
                }
                write!(f, "update model {:?}: {}", desired.name, parts.join(", "))
            }
            Self::UpdateFeature { feature, target, found } => {
                write!(f, "set feature {feature} to {target} (found: {found})")
            }
            Self::DeleteModel { name, .. } => write!(f, "delete model {name:?}"),
        }
    }
}
