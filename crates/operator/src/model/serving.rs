//! Whether users' calls of a model are answered: whether each pod of the gateway has it as it is declared, what they
//! counted; where one of them counted a failure, or GitLab's check was too short for a slow model, a check by the gateway
//! itself.

use std::time::Duration;

use duo_api::condition::{CONNECTION_VERIFIED, MODEL_SERVING};
use duo_api::{AIGateway, ConditionStatus, Family, ManagementPolicy, SelfHostedModel};
use duo_core::conditions;
use duo_core::desired::model_digest;
use duo_core::scale;
use duo_core::serving::{Check, NOT_IN_FORCE, fails, serving};
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
    let same = same_to_gateway(model, gateway, ctx);
    let names: Vec<String> = same.iter().map(|(name, _)| name.clone()).collect();
    let status = model.status.as_ref();
    let changed = status.is_none_or(|status| status.observed_generation != model.metadata.generation);
    let mut seen = match changed {
        // What was seen a moment ago may be of a declaration like this one that was changed and changed back.
        true => ctx.lookout.look_now(gateway, ctx).await?,
        false => ctx.lookout.look(gateway, ctx).await?,
    };
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
    let finding = serving(&views, lookout::in_force(&seen, &same));
    if finding.reason == NOT_IN_FORCE {
        outcome.look_again(taken_over_in(before));
    }
    let told = conditions::get(before, MODEL_SERVING).is_some_and(|c| c.status == ConditionStatus::False);
    let new = finding.status == ConditionStatus::False && !told;
    outcome.findings.push(finding);
    Ok(new)
}

/// Pods that are to check the model: those that it fails; one where nothing is known of a model that seems slow.
fn who_checks(seen: &Seen, names: &[String], slow: bool) -> Vec<String> {
    let view = |pod: &lookout::Told| views(&vec![pod.clone()], names, None);
    let failing: Vec<String> =
        seen.iter().filter(|pod| view(pod).iter().any(fails)).map(|told| told.ip.clone()).collect();
    let answered = |check: &Option<Check>| matches!(check, Some(Check::Answered { age_seconds, .. }) if *age_seconds < SLOW_PERIOD_SECONDS);
    if failing.is_empty() && slow && !views(seen, names, None).iter().any(|view| answered(&view.check)) {
        return seen.iter().find(|told| told.models.is_some()).map(|told| told.ip.clone()).into_iter().collect();
    }
    failing
}

/// The gateway tells its new configuration by a change of its status; a pod that was late to answer does not.
fn taken_over_in(before: &[duo_api::Condition]) -> Duration {
    let now = jiff::Timestamp::now().as_second();
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    Duration::from_secs(scale::look_again_in(scale::unsettled_for(before, &[MODEL_SERVING], now, seconds)))
}

fn names(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Vec<String> {
    same_to_gateway(model, gateway, ctx).into_iter().map(|(name, _)| name).collect()
}

/// Names under which the gateway may know the model, each with its digest there: of two that requests cannot tell apart
/// it knows the older one.
pub(crate) fn same_to_gateway(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Vec<(String, String)> {
    let key = |model: &SelfHostedModel| {
        model_key(model.spec.family.key(), model.spec.endpoint.as_deref(), &model.spec.identifier)
    };
    let mine = key(model);
    let entry = |model: &SelfHostedModel| (model.name_any(), model_digest(&model.name_any(), &model.spec));
    let mut same: Vec<(String, String)> = ctx
        .models_of(&gateway.namespace().unwrap_or_default(), &gateway.name_any())
        .iter()
        .filter(|other| other.uid() != model.uid() && key(other) == mine)
        .take(3)
        .map(|other| entry(other))
        .collect();
    // Its own as it is declared now, not as the cache has it.
    same.push(entry(model));
    same
}
