//! Whose turn it is when GitLab's requests begin to name a model that they did not name so before: first the gateway's
//! pods, then GitLab. [`duo_core::formers`] decides.

use std::collections::HashSet;
use std::time::Duration;

use duo_api::condition::{CONFIG_ACCEPTED, Condition, SYNCED};
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::{self, Finding};
use duo_core::contest;
use duo_core::formers::{self, PATIENCE, SILENCE};
use duo_core::serving::InForce;
use duo_gateway_config::ModelKey;
use duo_runtime::Uid;
use kube::Resource;

use crate::context::Context;
use crate::gateway::lookout::{self, Seen};
use crate::model::same_to_gateway;
use crate::report::Event;
use crate::since::Since;

/// How soon the pods are asked again at first.
const SOON: Duration = Duration::from_millis(200);
/// And later.
const LATER: Duration = Duration::from_secs(1);

/// Since when the pods are waited for, by object.
#[derive(Default)]
pub(crate) struct Waiting {
    asked: Since,
    /// Since when some of them have what others lack.
    some: Since,
}

impl Waiting {
    /// For how long the pods have been waited for, and for how long some of them have had it.
    fn times<K: Resource>(&self, subject: &K, declared: &ModelKey, some: bool) -> (Duration, Option<Duration>) {
        if !some {
            self.some.forget(subject);
        }
        (self.asked.elapsed(subject, declared), some.then(|| self.some.elapsed(subject, declared)))
    }

    /// Nothing is waited for, or the object is gone.
    pub(crate) fn forget<K: Resource>(&self, subject: &K) {
        self.asked.forget(subject);
        self.some.forget(subject);
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.asked.keep(uids);
        self.some.keep(uids);
    }
}

/// Whose turn it is.
pub(crate) enum Turn {
    /// GitLab may be told; perhaps with a word on pods that are late.
    GitLab(Option<Event>),
    /// The pods come first.
    Pods {
        finding: Finding,
        /// It is a matter of moments: nothing is told yet.
        silent: bool,
        /// When to ask again.
        again: Duration,
    },
}

/// Whether anybody would lose a call if GitLab was told before the pods. `before`: the conditions of who declares it, of
/// `generation` now.
pub(crate) fn matters(gateway: &AIGateway, before: &[Condition], generation: Option<i64>) -> bool {
    // GitLab's own image knows no models: GitLab names one with each request.
    gateway.spec.implementation == Implementation::Embedded
        && gateway.spec.management_policy == ManagementPolicy::Full
        // Somebody else has changed it in GitLab since: the pods have what is declared, and nobody what it says there.
        && !contest::was_settled(before, SYNCED, generation)
}

/// Whose turn it is to take over what `subject` declares. `what`: what the pods are to have of the `model`.
pub(crate) fn of<K: Resource>(
    subject: &K,
    what: &str,
    model: &SelfHostedModel,
    gateway: &AIGateway,
    seen: &Seen,
    ctx: &Context,
) -> Turn {
    let InForce { told, have } = lookout::in_force(seen, &same_to_gateway(model, gateway, ctx));
    // One that has never answered has something in force, too.
    let in_force = InForce { told: told + lookout::silent(seen), have };
    let of_gateway = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let accepted = conditions::is_true(of_gateway, CONFIG_ACCEPTED);
    let (waited, some_for) =
        ctx.waiting.times(subject, &formers::declared(&model.spec), formers::some_have(in_force, accepted));
    match formers::turn(in_force, some_for) {
        formers::Turn::Tell => Turn::GitLab(None),
        formers::Turn::TellLate => {
            let text = format!(
                "GitLab is told although only {have} of {} ready gateway pods have {what}, {} s after the first of them; calls \
                 that reach the others are refused until they do",
                in_force.told,
                PATIENCE.as_secs()
            );
            Turn::GitLab(Some(Event::warning("GatewayPodsLate", text)))
        }
        formers::Turn::Wait => {
            let silent = waited < SILENCE;
            let again = if silent { SOON } else { LATER };
            Turn::Pods { finding: formers::waiting(what, in_force, waited), silent, again }
        }
    }
}
