//! Which token GitLab sends to the gateway.

use crate::gitlab::oidc::TokenOptions;
use crate::gitlab::sim::Sim;

/// A token the instance signs itself, as for every self-hosted feature.
pub fn own(sim: &Sim) -> Option<String> {
    issue(sim, &TokenOptions::default())
}

/// The token for a unit primitive of `feature`: signed here when the feature is self-hosted, else the one synced from
/// the customers portal, which an offline instance does not have.
pub fn for_feature(sim: &Sim, feature: &str) -> Option<String> {
    let (self_hosted, synced) = sim.read(|state| {
        let row = state.features.get(feature);
        let online = state.license.as_ref().is_some_and(|license| license.kind == "online_cloud");
        (row.is_some_and(|row| row.provider == "self_hosted"), online && state.instance.cloud_token)
    });
    if self_hosted {
        own(sim)
    } else if synced {
        issue(sim, &TokenOptions { portal: true, ..TokenOptions::default() })
    } else {
        None
    }
}

fn issue(sim: &Sim, options: &TokenOptions) -> Option<String> {
    sim.read(|state| sim.keys.issue(state, sim.external_url(), options)).ok()
}
