//! Whether users' calls of a model are answered: what the gateway's pods counted; where one of them counted a failure, or
//! GitLab's check was too short for a slow model, a check by the gateway itself.

use std::time::Duration;

use duo_api::condition::{CONNECTION_VERIFIED, MODEL_SERVING};
use duo_api::{AIGateway, ConditionStatus, Family, ManagementPolicy, SelfHostedModel};
use duo_core::conditions;
use duo_core::serving::{Check, fails, serving};
use duo_gateway_config::model_key;
use kube::ResourceExt;

use super::Outcome;
use crate::context::Context;
use crate::error::Error;
use crate::gateway::lookout::{self, Seen, views};

/// A model that fails its users is checked after this many seconds again, or after the resync period if that is shorter.
const RETRY: Duration = Duration::from_secs(15);
/// A slow model is checked by the gateway as seldom as a quick one by GitLab.
const SLOW_PERIOD_SECONDS: u64 = 6 * 3600;

/// Whether the last call of the model through some ready pod failed.
pub(super) async fn is_failing(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Result<bool, Error> {
    let seen = ctx.lookout.look(gateway, ctx).await?;
    Ok(views(&seen, &names(model, gateway, ctx), None).iter().any(fails))
}

/// Adds the finding. True when the model fails its users and its status does not say so yet.
pub(super) async fn run(
    model: &SelfHostedModel,
    gateway: &AIGateway,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<bool, Error> {
    let names = names(model, gateway, ctx);
    let mut seen = ctx.lookout.look(gateway, ctx).await?;
    let before = model.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let slow = conditions::get(before, CONNECTION_VERIFIED).is_some_and(|c| c.reason == "CheckTimedOut");
    let ask = who_checks(&seen, &names, slow);
    // Observe keeps its hands still; models of embeddings take no prompts.
    let may = gateway.spec.management_policy == ManagementPolicy::Full && model.spec.family != Family::Embedding;
    if may && !ask.is_empty() {
        for name in &names {
            ctx.lookout.check(gateway, &ask, (name, None), ctx).await?;
        }
        seen = ctx.lookout.look(gateway, ctx).await?;
    }
    let views = views(&seen, &names, None);
    if !ask.is_empty() && views.iter().any(|view| fails(view) || view.check == Some(Check::Running)) {
        outcome.look_again(RETRY.min(ctx.resync));
    }
    let finding = serving(&views);
    let told = conditions::get(before, MODEL_SERVING).is_some_and(|c| c.status == ConditionStatus::False);
    let new = finding.status == ConditionStatus::False && !told;
    outcome.findings.push(finding);
    Ok(new)
}

/// Pods that are to check the model: those that it fails; one where nothing is known of a model that seems slow.
fn who_checks(seen: &Seen, names: &[String], slow: bool) -> Vec<String> {
    let view = |pod: &(String, lookout::Models)| views(&vec![pod.clone()], names, None);
    let failing: Vec<String> =
        seen.iter().filter(|pod| view(pod).iter().any(fails)).map(|(ip, _)| ip.clone()).collect();
    let answered = |check: &Option<Check>| matches!(check, Some(Check::Answered { age_seconds, .. }) if *age_seconds < SLOW_PERIOD_SECONDS);
    if failing.is_empty() && slow && !views(seen, names, None).iter().any(|view| answered(&view.check)) {
        return seen.iter().find(|(_, models)| models.is_some()).map(|(ip, _)| ip.clone()).into_iter().collect();
    }
    failing
}

/// Names under which the gateway may know the model: of two that requests cannot tell apart it knows the older one.
fn names(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Vec<String> {
    let key = |model: &SelfHostedModel| {
        model_key(model.spec.family.key(), model.spec.endpoint.as_deref(), &model.spec.identifier)
    };
    let mine = key(model);
    let mut names: Vec<String> = ctx
        .models_of(&gateway.namespace().unwrap_or_default(), &gateway.name_any())
        .iter()
        .filter(|other| key(other) == mine)
        .map(|other| other.name_any())
        .collect();
    if !names.contains(&model.name_any()) {
        names.push(model.name_any());
    }
    names.truncate(4);
    names
}
