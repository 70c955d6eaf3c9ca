//! Who is woken when this process begins to lead: first what people use already, then what is new, a few gateways at a time.
//!
//! All that a gateway needs to come up is shared by what belongs to it and short-lived: looks at GitLab, Secrets, words
//! that can wait to be told. Two hundred that come up side by side would each look and tell anew what a few share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_api::condition::{self, CONFIG_ACCEPTED, TOKEN_VALID};
use duo_api::{AIGateway, Condition};
use duo_core::{conditions, dependents};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;
use crate::session::key;
use crate::watches::Router;

/// New gateways that come up at the same time: with fewer of them the next one would wait for nothing but GitLab's answers.
const AT_ONCE: usize = 8;
/// One that takes longer is waited for no more; neither is one that waits for somebody.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nor one whose pods do: an image takes its time, and what of the gateway follows is little for each.
const PODS_PATIENCE: Duration = Duration::from_secs(3);
/// Between two that are known: some 15 ms of a processor are what looking at one takes, and an edit waits for no more than
/// those that are under way.
const PAUSE: Duration = Duration::from_millis(20);
/// With so many reconciles at work nobody new comes up: on a slow machine all would, and each would tell each step of the
/// others for want of their news.
const BUSY: usize = 48;
/// How often it is looked at who is there.
const LOOK: Duration = Duration::from_millis(200);

/// Wakes everything once.
pub(crate) async fn run(ctx: Arc<Context>, router: Router) {
    let mut gateways = ctx.stores.gateways.state();
    gateways.sort_by_cached_key(|gateway| (gateway.namespace(), gateway.name_any()));
    router.wake_without(&gateways).await;
    let (new, known): (Vec<_>, Vec<_>) = gateways.into_iter().partition(|gateway| is_new(gateway, &ctx));
    for gateway in known {
        let (namespace, name) = key(&gateway);
        router.wake_all_of(&namespace, &name).await;
        tokio::time::sleep(PAUSE).await;
    }
    let mut coming: Vec<(ObjectRef<AIGateway>, Instant)> = Vec::new();
    for gateway in new {
        let key = ObjectRef::from_obj(gateway.as_ref());
        let waits = Instant::now();
        while coming.len() >= AT_ONCE || ctx.places.taken() >= BUSY && waits.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
            coming.retain(|(gateway, since)| {
                let patience = if waits_for_pods(gateway, &ctx) { PODS_PATIENCE } else { PATIENCE };
                since.elapsed() < patience && comes_up(gateway, &ctx)
            });
        }
        router.wake_gateway(key.clone()).await;
        coming.push((key, Instant::now()));
    }
}

/// Nobody has looked at it yet, and this process is to.
pub(crate) fn is_new(gateway: &AIGateway, ctx: &Context) -> bool {
    let unseen = gateway.status.as_ref().is_none_or(|status| condition::is_unseen(status.observed_generation));
    unseen && !gateway.spec.suspend && ctx.shard.works_on(Some(gateway))
}

/// Whether its pods do not have its configuration yet.
fn waits_for_pods(gateway: &ObjectRef<AIGateway>, ctx: &Context) -> bool {
    let gateway = ctx.stores.gateways.get(gateway);
    let status = gateway.as_ref().and_then(|gateway| gateway.status.as_ref());
    !status.is_some_and(|status| conditions::is_true(&status.conditions, CONFIG_ACCEPTED))
}

/// Whether something of it has neither come up nor waits for somebody.
fn comes_up(gateway: &ObjectRef<AIGateway>, ctx: &Context) -> bool {
    let Some(gateway) = ctx.stores.gateways.get(gateway) else { return false };
    let of_gateway = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    // GitLab does not answer, or takes the token for none.
    if conditions::get(of_gateway, TOKEN_VALID).is_some() && !conditions::is_true(of_gateway, TOKEN_VALID) {
        return false;
    }
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    let models = ctx.stores.models_of(&namespace, &name);
    let assignments = ctx.stores.assignments_of(&namespace, &name);
    let comes = |suspended: bool, conditions: Option<&[Condition]>| {
        !suspended && dependents::comes_up(conditions.unwrap_or_default())
    };
    dependents::comes_up(of_gateway)
        || models
            .iter()
            .any(|model| comes(model.spec.suspend, model.status.as_ref().map(|status| status.conditions.as_slice())))
        || assignments
            .iter()
            .any(|item| comes(item.spec.suspend, item.status.as_ref().map(|status| status.conditions.as_slice())))
}
