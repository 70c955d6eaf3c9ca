//! Requests of our own for each feature of an assignment, made by the gateway's pods in turn, where the assignment asks for
//! them.

use std::time::Duration;

use duo_api::{AIGateway, Feature, FeatureAssignment, SelfHostedModel};
use duo_core::durations;
use duo_core::serving::{Check, PodView, synthetic};
use kube::ResourceExt;

use super::Outcome;
use crate::context::Context;
use crate::error::Error;
use crate::gateway::lookout::{Told, views};

/// Where the interval cannot be read, which the CRD's rules do not let happen.
const DEFAULT_SECONDS: u32 = 600;
/// How soon to look for an answer that had not come, and to ask again where one failed.
const RETRY: Duration = Duration::from_secs(15);

/// Adds the finding, if the assignment asks for one.
pub(super) async fn run(
    item: &FeatureAssignment,
    gateway: &AIGateway,
    model: Option<&SelfHostedModel>,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let (Some(wanted), Some(model)) = (&item.spec.synthetic_requests, model) else { return Ok(()) };
    let interval = u64::from(durations::seconds(&wanted.interval).unwrap_or(DEFAULT_SECONDS));
    let names = [model.name_any()];
    let seen = ctx.lookout.look(gateway, ctx).await?;
    let mut told: Vec<(Feature, Option<Check>)> = Vec::new();
    for feature in &item.spec.features {
        // Each pod in turn: the one whose last request is the longest ago.
        let age = |pod: &&Told| newest(&views(&vec![(*pod).clone()], &names, Some(feature.key())));
        let pods: Vec<&Told> = seen.iter().filter(|told| told.models.is_some()).collect();
        let last = newest(&views(&seen, &names, Some(feature.key())));
        let due = last.as_ref().is_none_or(|check| match check {
            Check::Running => false,
            Check::Failed { age_seconds, .. } => *age_seconds >= RETRY.as_secs().min(interval),
            Check::Answered { age_seconds, .. } | Check::Unclear { age_seconds, .. } => *age_seconds >= interval,
        });
        let next = pods.iter().max_by_key(|pod| age(pod).map_or(u64::MAX, |check| seconds(&check)));
        let check = match next.filter(|_| due) {
            Some(Told { ip, .. }) => {
                let asked = (names[0].as_str(), Some(feature.key()));
                newest(&ctx.lookout.check(gateway, std::slice::from_ref(ip), asked, ctx).await?).or(last)
            }
            None => last,
        };
        let soon = !matches!(check, Some(Check::Answered { .. }));
        outcome.next = outcome.next.sooner(crate::error::Next::After(if soon {
            RETRY.min(ctx.resync)
        } else {
            Duration::from_secs(interval)
        }));
        told.push((*feature, check));
    }
    outcome.findings.push(synthetic(&told));
    Ok(())
}

/// The newest of the checks.
fn newest(views: &[PodView]) -> Option<Check> {
    views.iter().filter_map(|view| view.check.clone()).min_by_key(seconds)
}

fn seconds(check: &Check) -> u64 {
    match check {
        Check::Running => 0,
        Check::Answered { age_seconds, .. }
        | Check::Unclear { age_seconds, .. }
        | Check::Failed { age_seconds, .. } => *age_seconds,
    }
}
