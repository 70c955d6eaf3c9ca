//! Whose turn it is when a declaration changes by which GitLab's requests name the model: first the gateway's pods, then
//! GitLab. [`duo_core::formers`] decides.

use std::time::Duration;

use duo_api::condition::SYNCED;
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::formers::{self, PATIENCE, SILENCE, Turn};
use duo_core::observed;

use super::{Outcome, serving};
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
    let changes = found.filter(|found| formers::renames(found, &declared)).filter(|_| {
        let spec = &gateway.spec;
        // GitLab's own image knows no models: GitLab names one with each request.
        spec.implementation == Implementation::Embedded && spec.management_policy == ManagementPolicy::Full
    });
    if changes.is_none() {
        ctx.waiting.forget(model);
        return Ok(false);
    }
    let seen = ctx.lookout.look_now(gateway, ctx).await?;
    let in_force = lookout::in_force(&seen, &serving::same_to_gateway(model, gateway, ctx));
    let waited = ctx.waiting.elapsed(model, &declared);
    let pods = format!("{} of {} ready gateway pods", in_force.have, in_force.told);
    match formers::turn(in_force, waited) {
        Turn::Tell => Ok(false),
        Turn::TellLate => {
            let text = format!(
                "GitLab is told of the new declaration although only {pods} have it after {} s; calls that reach the others \
                 are refused until they do",
                PATIENCE.as_secs()
            );
            outcome.events.push(Event::warning("GatewayPodsLate", text));
            Ok(false)
        }
        Turn::Wait => {
            outcome.silent = waited < SILENCE;
            let text = format!(
                "{pods} have the new family, endpoint or identifier; GitLab is told once all do, or {} s after the edit, and \
                 users are served as before until then",
                PATIENCE.as_secs()
            );
            outcome.findings.push(Finding::unknown(SYNCED, "WaitingForGateway", text));
            outcome.look_again(if outcome.silent { SOON } else { LATER });
            Ok(true)
        }
    }
}
