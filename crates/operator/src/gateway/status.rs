//! The status of an AIGateway from what this pass found.

use duo_api::AIGateway;
use duo_api::condition::SYNCED;
use duo_api::gateway::{AIGatewayStatus, GitLabStatus};
use duo_core::conditions::{self, Finding};
use duo_core::labels;
use kube::ResourceExt;

use super::cluster::Cluster;
use super::gitlab::{GitLab, gateway_url};
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
        gitlab: Some(GitLabStatus {
            version: gitlab.version.clone().or(known.version),
            instance_id: gitlab.instance_id.clone().or(known.instance_id),
        }),
        config_hash: cluster.config_hash.clone(),
        models: i32::try_from(models).unwrap_or(i32::MAX),
        features: i32::try_from(features).unwrap_or(i32::MAX),
        plan: gitlab.plan.clone(),
    }
}
