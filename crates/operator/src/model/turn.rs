//! Whether GitLab waits for the gateway's pods before a model is named otherwise in its requests.

use duo_api::{AIGateway, SelfHostedModel};
use duo_core::{formers, observed};

use super::{Outcome, conditions_of_model};
use crate::context::Context;
use crate::error::Error;
use crate::turn::{self, Turn};

/// Whether GitLab is not told yet of what is declared; `found`: the model as GitLab holds it.
pub(super) async fn waits(
    model: &SelfHostedModel,
    gateway: &AIGateway,
    found: Option<&observed::Model>,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<bool, Error> {
    let renames = found.is_some_and(|found| formers::renames(found, &formers::declared(&model.spec)));
    if !renames || !turn::matters(gateway, conditions_of_model(model), model.metadata.generation) {
        ctx.waiting.forget(model);
        return Ok(false);
    }
    let seen = ctx.lookout.look_now(gateway, ctx).await?;
    match turn::of(model, "the new family, endpoint or identifier", model, gateway, &seen, ctx) {
        Turn::GitLab(late) => {
            outcome.events.extend(late);
            Ok(false)
        }
        Turn::Pods { finding, silent, again } => {
            outcome.silent = silent;
            outcome.findings.push(finding);
            outcome.look_again(again);
            Ok(true)
        }
    }
}
