//! The status of an AIGateway from what this pass found.

use duo_api::AIGateway;
use duo_api::condition::SYNCED;
use duo_api::gateway::AIGatewayStatus;
use duo_api::instance::{AddOnStatus, Edition, GitLabStatus, LicenseStatus};
use duo_core::conditions::{self, Finding};
use duo_core::url_rules::gateway_url;
use duo_core::{health, labels};
use kube::ResourceExt;

use super::cluster::Cluster;
use super::gitlab::GitLab;
use crate::context::{Context, now};

pub(super) fn render(
    gateway: &AIGateway,
    findings: &[Finding],
    cluster: &Cluster,
    gitlab: &GitLab,
    ctx: &Context,
) -> AIGatewayStatus {
    let before = gateway.status.clone().unwrap_or_default();
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    let synced = |conditions: &[duo_api::Condition]| conditions::is_true(conditions, SYNCED);
    let models = ctx
        .models_of(&namespace, &name)
        .iter()
        .filter(|model| model.status.as_ref().is_some_and(|status| synced(&status.conditions)))
        .count();
    let features: usize = ctx
        .assignments_of(&namespace, &name)
        .iter()
        .filter(|item| item.status.as_ref().is_some_and(|status| synced(&status.conditions)))
        .map(|item| item.spec.features.len())
        .sum();
    // What GitLab said last stays while it cannot be asked.
    let known = before.gitlab.unwrap_or_default();
    AIGatewayStatus {
        observed_generation: gateway.metadata.generation,
        conditions: conditions::merge(&before.conditions, findings, gateway.metadata.generation, &now()),
        replicas: cluster.replicas,
        ready_replicas: cluster.ready_replicas,
        selector: Some(labels::selector_text(&name)),
        url: Some(gateway_url(gateway)),
        gitlab: Some(instance(known, gitlab, &gateway_url(gateway))),
        config_hash: cluster.config_hash.clone(),
        implementation: cluster.implementation,
        models: i32::try_from(models).unwrap_or(i32::MAX),
        features: i32::try_from(features).unwrap_or(i32::MAX),
        plan: gitlab.plan.clone(),
    }
}

/// What this pass was told, over what is known from before.
fn instance(known: GitLabStatus, gitlab: &GitLab, url: &str) -> GitLabStatus {
    let mut status = GitLabStatus {
        version: gitlab.version.clone().or(known.version.clone()),
        instance_id: gitlab.instance_id.clone().or(known.instance_id.clone()),
        testing_terms_accepted: gitlab.testing_terms_accepted.or(known.testing_terms_accepted),
        ..known
    };
    if !gitlab.probes.is_empty() {
        status.probes = health::shown(&gitlab.probes, url, gitlab.agent_service.as_deref());
    }
    if let Some(facts) = &gitlab.facts {
        status.revision.clone_from(&facts.revision);
        status.edition = Some(if facts.enterprise { Edition::Enterprise } else { Edition::Community });
        status.token_expires_at = facts.token.as_ref().and_then(|token| token.expires).map(|day| day.to_string());
        status.license = facts.license.as_ref().map(|license| LicenseStatus {
            plan: license.plan.clone(),
            type_: license.kind.clone(),
            starts_at: license.starts.map(|day| day.to_string()),
            expires_at: license.expires.map(|day| day.to_string()),
            trial: license.trial,
        });
        status.add_ons = add_ons(facts);
    }
    status
}

/// Add-ons by name; several purchases of one are one.
fn add_ons(facts: &duo_core::rights::Facts) -> Vec<AddOnStatus> {
    let mut list: Vec<AddOnStatus> = Vec::new();
    for add_on in &facts.add_ons {
        match list.iter_mut().find(|known| known.name == add_on.name) {
            Some(known) => {
                known.purchased += add_on.purchased;
                known.assigned += add_on.assigned;
            }
            None => list.push(AddOnStatus {
                name: add_on.name.clone(),
                purchased: add_on.purchased,
                assigned: add_on.assigned,
            }),
        }
    }
    list.sort_by(|one, other| one.name.cmp(&other.name));
    list.truncate(32);
    list
}
