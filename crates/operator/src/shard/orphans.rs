//! Gateways that no running shard takes: nobody works on them, so nobody would say so. The first shard by name does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use duo_core::shards::{ORPHAN_SECONDS, Peer, tells_of_orphan};
use duo_runtime::metrics::Metrics;
use kube::ResourceExt;
use prometheus_client::metrics::gauge::Gauge;

use crate::context::Context;
use crate::report::Event;

/// How often it is looked who takes what.
const LOOK: Duration = Duration::from_secs(5);

/// Looks for them for ever. An operator without a selector takes all and has nothing to look for.
pub(crate) async fn watch(ctx: Arc<Context>, metrics: Metrics) {
    let shard = &ctx.shard;
    if shard.name == duo_core::shards::WHOLE {
        return std::future::pending().await;
    }
    let count: Gauge<i64, AtomicI64> = Gauge::default();
    metrics.register(
        "gateways_without_shard",
        "AIGateways that no running shard takes, as the first shard by name counts them",
        count.clone(),
    );
    // Since when nobody takes it, and whether that has been told.
    let mut orphans: HashMap<String, (Instant, bool)> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let mut peers = match shard.peers.all().await {
            Ok(peers) => peers,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the other shards' leases");
                continue;
            }
        };
        // The own lease is known to be held.
        peers.retain(|(name, _)| *name != shard.name);
        peers.push((shard.name.clone(), Some(shard.scope.clone())));
        let mut now = HashMap::new();
        for gateway in ctx.stores.gateways.state() {
            let namespace = gateway.namespace().unwrap_or_default();
            if !tells_of_orphan(&shard.name, &peers, &namespace, gateway.labels()) {
                continue;
            }
            let uid = gateway.uid().unwrap_or_default();
            let (since, told) = orphans.get(&uid).copied().unwrap_or((Instant::now(), false));
            let due = since.elapsed() >= Duration::from_secs(ORPHAN_SECONDS);
            if due && !told {
                let text = sentence(&peers);
                tracing::warn!(namespace, gateway = gateway.name_any(), text);
                ctx.reporter.event(gateway.as_ref(), &Event::warning("NoShard", text)).await;
            }
            now.insert(uid, (since, told || due));
        }
        count.set(i64::try_from(now.values().filter(|(_, told)| *told).count()).unwrap_or(i64::MAX));
        orphans = now;
    }
}

fn sentence(peers: &[Peer]) -> String {
    let mut running: Vec<String> = peers
        .iter()
        .map(|(name, scope)| match scope.as_ref().map(|scope| scope.written()) {
            Some((selector, namespaces)) if namespaces.is_empty() => format!("{name} ({selector})"),
            Some((selector, namespaces)) => format!("{name} ({selector}, in {namespaces})"),
            None => name.clone(),
        })
        .collect();
    running.sort();
    format!(
        "nobody works on this gateway: no running shard takes its labels; there are {}. Give it labels that one of them \
         takes, or start the shard that takes these",
        running.join(", ")
    )
}
