//! AIGateway: dereference and render, apply to the cluster, bring GitLab's settings there, report.

mod cluster;
mod delete;
mod gitlab;
mod pods;
mod probes;
mod signing_keys;
mod status;

use std::sync::Arc;

use duo_api::AIGateway;
use duo_api::annotations::FINALIZER;
use duo_core::ready;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, ResourceExt};

pub(crate) use cluster::declared_hash;
pub(crate) use pods::model_is_failing;

use crate::context::Context;
use crate::error::{Error, Next};

/// Brings the cluster and GitLab to what one AIGateway declares.
pub(crate) async fn reconcile(gateway: Arc<AIGateway>, ctx: &Context) -> Result<Next, Error> {
    if gateway.metadata.deletion_timestamp.is_some() {
        return delete::run(&gateway, ctx).await;
    }
    if gateway.spec.suspend {
        return Ok(Next::OnChange);
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let api: Api<AIGateway> = Api::namespaced(ctx.kube.clone(), &namespace);
    let mut live = match metadata::add_finalizer(&api, gateway.as_ref(), FINALIZER).await? {
        Changed::Now(live) => live,
        // The copy in the cache may be older than the last status that this controller wrote.
        Changed::Already(live) => live,
        Changed::Gone => return Ok(Next::OnChange),
    };

    let cluster = Box::pin(cluster::run(&live, ctx)).await?;
    let gitlab = gitlab::run(&mut live, &api, &cluster, ctx).await?;

    let next = cluster.next.sooner(gitlab.next).sooner(Next::After(ctx.resync_jittered(&live)));
    let mut findings = cluster.findings.clone();
    findings.extend(gitlab.findings.iter().cloned());
    let findings = ready::gateway(findings);
    for event in &gitlab.events {
        ctx.reporter.event(&live, event).await;
    }
    let status = status::render(&live, &findings, &cluster, &gitlab, ctx);
    ctx.reporter.write(&api, &live, live.status.as_ref().map(|s| s.conditions.as_slice()), &findings, &status).await?;
    Ok(next)
}
