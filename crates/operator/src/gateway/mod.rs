//! AIGateway: dereference and render, apply to the cluster, bring GitLab's settings there, report.

mod agent_platform;
mod apply;
mod cluster;
mod delete;
mod formers;
mod gitlab;
mod listener;
pub(crate) mod lookout;
pub(crate) mod patrol;
mod pods;
mod probes;
mod pruned;
mod signing_keys;
mod status;

use std::sync::Arc;
use std::time::Duration;

use duo_api::AIGateway;
use duo_api::condition::CONFIG_ACCEPTED;
use duo_api::gateway::Implementation;
use duo_core::conditions::Finding;
use duo_core::{implementation, ready, validate};
use kube::{Api, ResourceExt};

pub(crate) use cluster::declared_hash;
pub(crate) use lookout::Lookout;
pub(crate) use pruned::Pruned;

use crate::context::Context;
use crate::error::{Error, Next};
use crate::report::{Event, Report};

/// The next pass follows without a pause that anybody would notice.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Brings the cluster and GitLab to what one AIGateway declares.
pub(crate) async fn reconcile(gateway: Arc<AIGateway>, ctx: &Context) -> Result<Next, Error> {
    if let Some(next) = ctx.shard.turn(&gateway, &ctx.reporter).await? {
        // Whoever works on it asks GitLab by himself; its token is not kept here.
        ctx.sessions.forget(&crate::session::key(&gateway)).await;
        return Ok(next);
    }
    if gateway.metadata.deletion_timestamp.is_some() {
        return delete::run(&gateway, ctx).await;
    }
    if gateway.spec.suspend {
        return Ok(Next::OnChange);
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let api: Api<AIGateway> = Api::namespaced(ctx.kube.clone(), &namespace);
    let Some(mut live) = ctx.own.live(&api, gateway.as_ref(), true).await? else { return Ok(Next::OnChange) };
    if live.metadata.deletion_timestamp.is_some() {
        // The copy in the cache may not know yet.
        return delete::run(&live, ctx).await;
    }

    let from = live.resource_version();
    let cluster = Box::pin(cluster::run(&live, ctx)).await?;
    let gitlab = gitlab::run(&mut live, &api, &cluster, ctx).await;
    ctx.own.note(from.as_deref(), &live);
    let gitlab = gitlab?;

    let mut next = cluster.next.sooner(gitlab.next);
    let mut findings = cluster.findings.clone();
    findings.extend(gitlab.findings.iter().cloned());
    if let Some(refused) = &cluster.refused {
        findings = ready::refused(findings, refused.clone());
    }
    if pin_is_new(&live, &gitlab) {
        // Ready now would be taken back a moment later, when the pods are given the id.
        findings.retain(|finding| finding.type_ != CONFIG_ACCEPTED);
        findings.push(Finding::unknown(
            CONFIG_ACCEPTED,
            "Propagating",
            "GitLab's instance id became known; the gateway is told to take only its tokens",
        ));
        next = next.sooner(Next::After(AT_ONCE));
    }
    if version_is_new(&live, &gitlab) {
        next = next.sooner(Next::After(AT_ONCE));
    }
    let findings = ready::gateway(findings);
    let mut events = warnings(&live);
    events.extend(cluster.events.iter().chain(&gitlab.events).cloned());
    let status = status::render(&live, &findings, &cluster, &gitlab, ctx);
    let before = live.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let report = Report { before, findings: &findings, status: &status, events: &events };
    Ok(next.sooner(ctx.reporter.write(&api, &live, &report).await?))
}

/// Warnings about the declaration, once per generation of it.
fn warnings(gateway: &AIGateway) -> Vec<Event> {
    if gateway.status.as_ref().and_then(|status| status.observed_generation) == gateway.metadata.generation {
        return Vec::new();
    }
    validate::gateway_warnings(&gateway.spec).into_iter().map(|(reason, text)| Event::warning(reason, text)).collect()
}

/// Whether this pass found an instance id that the rendered configuration does not have yet.
fn pin_is_new(gateway: &AIGateway, gitlab: &gitlab::GitLab) -> bool {
    let known = gateway.status.as_ref().and_then(|s| s.gitlab.as_ref()).and_then(|g| g.instance_id.as_ref());
    gitlab.instance_id.is_some() && gitlab.instance_id.as_ref() != known
}

/// Whether this pass found another version of GitLab than the one by which its image was chosen.
fn version_is_new(gateway: &AIGateway, gitlab: &gitlab::GitLab) -> bool {
    let spec = &gateway.spec;
    let matters = spec.implementation == Implementation::GitLab || spec.agent_platform.is_some();
    let known = gateway.status.as_ref().and_then(|s| s.gitlab.as_ref()).and_then(|g| g.version.as_deref());
    let minor = |version: Option<&str>| version.and_then(implementation::minor);
    matters && gitlab.version.is_some() && minor(gitlab.version.as_deref()) != minor(known)
}
