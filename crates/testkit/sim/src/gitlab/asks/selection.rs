//! Which model serves a feature at request time.

use crate::gitlab::catalog;
use crate::gitlab::state::{FeatureRow, Model, State};

/// The self-hosted model of a feature.
///
/// A chat sub-feature without a row uses Duo Chat's; an explicit row, be it unassigned, stops that fall-back.
///
/// # Errors
/// Why there is none, for the user.
pub fn model_for(state: &State, key: &str) -> Result<Model, String> {
    let feature = catalog::find(state.instance.version, key)
        .ok_or_else(|| format!("GitLab {} has no feature {key}", state.instance.version))?;
    let row = state
        .features
        .get(key)
        .or_else(|| if feature.falls_back_to_chat() { state.features.get("duo_chat") } else { None });
    match row {
        None => Err(format!("{} has no model assigned", feature.title)),
        Some(FeatureRow { provider, model_id, .. }) => match (provider.as_str(), model_id) {
            ("self_hosted", Some(id)) => {
                state.models.get(id).cloned().ok_or_else(|| format!("{} has no model assigned", feature.title))
            }
            ("disabled", _) => Err(format!("{} is disabled for this instance", feature.title)),
            ("vendored", _) => Err(format!("{} uses a GitLab-managed model, which is not simulated", feature.title)),
            _ => Err(format!("{} has no model assigned", feature.title)),
        },
    }
}
