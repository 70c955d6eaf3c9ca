//! Whose turn it is when a declaration changes by which GitLab's requests name the model: first the gateway's pods, then
//! GitLab. [`duo_core::formers`] decides.

use std::time::Duration;

use duo_api::condition::{CONFIG_ACCEPTED, SYNCED};
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel};
use duo_core::formers::{self, PATIENCE, SILENCE, Turn};
use duo_core::serving::InForce;
use duo_core::{conditions, contest, observed};

use super::{Outcome, conditions_of, serving};
use crate::context::Context;
use crate::error::Error;
use crate::gateway::lookout;
use crate::report::Event;

/// How soon the pods are asked again at first.
const SOON: Duration = Duration::from_millis(200);
/// And later.
const LATER: Duration = Duration::from_secs(1);

/// Whether GitLab is not told yet of what is declared; `found`: the model as GitLab holds it.
pub(super) async fn waits(
    model: &SelfHostedModel,
    gateway: &AIGateway,
    found: Option<&observed::Model>,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<bool, Error> {
    let declared = formers::declared(&model.spec);
    if !found.is_some_and(|found| formers::renames(found, &declared)) || !matters(model, gateway) {
        ctx.waiting.forget(model);
        return Ok(false);
    }
    let seen = ctx.lookout.look_now(gateway, ctx).await?;
    let InForce { told, have } = lookout::in_force(&seen, &serving::same_to_gateway(model, gateway, ctx));
    // One that has never answered has something in force, too.
    let in_force = InForce { told: told + lookout::silent(&seen), have };
    let accepted = conditions::is_true(conditions_of(gateway), CONFIG_ACCEPTED);
    let waited = ctx.waiting.elapsed(model, &declared);
    match formers::turn(in_force, accepted, waited) {
        Turn::Tell => Ok(false),
        Turn::TellLate => {
            let text = format!(
                "GitLab is told of the new family, endpoint or identifier although only {have} of {} ready gateway pods have \
                 it after {} s; calls that reach the others are refused until they do",
                in_force.told,
                PATIENCE.as_secs()
            );
            outcome.events.push(Event::warning("GatewayPodsLate", text));
            Ok(false)
        }
        Turn::Wait => {
            outcome.silent = waited < SILENCE;
            outcome.findings.push(formers::waiting(in_force, waited));
            outcome.look_again(if outcome.silent { SOON } else { LATER });
            Ok(true)
        }
    }
}

/// Whether anybody would lose a call if GitLab was told before the pods.
fn matters(model: &SelfHostedModel, gateway: &AIGateway) -> bool {
    let before = model.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    // GitLab's own image knows no models: GitLab names one with each request.
    gateway.spec.implementation == Implementation::Embedded
        && gateway.spec.management_policy == ManagementPolicy::Full
        // Somebody else has changed it in GitLab since: the pods have what is declared, and nobody what it says there.
        && !contest::was_settled(before, SYNCED, model.metadata.generation)
}
