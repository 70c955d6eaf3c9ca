//! Whether a request is let in: its caller's limits, then the model's queue. Nobody has been asked anything before.
//!
//! GitLab's connection check is let in always: it says whether the model works, and an administrator waits for it. A
//! token of an IDE cannot ask for it without a limit: those are held back like anything else.

use std::time::Instant;

use duo_protocol::failure::{FailureAnswer, Surface};
use duo_protocol::model::Usage;

use super::{Inference, meter};
use crate::answer::{self, Answer};
use crate::logging::seconds;
use crate::resilience::{Charge, Slot, Turned};
use crate::routes::Served;

/// What a request holds while its model call is under way.
#[derive(Default)]
pub(super) struct Held {
    _slot: Option<Slot>,
    charge: Option<Charge>,
}

impl Held {
    /// The call read and wrote so many tokens, or so many bytes where the server did not say: four to a token.
    pub(super) fn used(&self, usage: Option<Usage>, bytes: usize) {
        let Some(charge) = self.charge.as_ref().filter(|charge| charge.counts_tokens()) else { return };
        let stated = usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens)).filter(|sum| *sum > 0);
        charge.tokens(stated.unwrap_or(bytes.div_ceil(4) as u64), Instant::now());
    }
}

impl Inference<'_> {
    /// Lets the request in, perhaps after a while.
    ///
    /// # Errors
    /// 429 with the limit in the detail.
    pub(super) async fn admit(&self) -> Result<Held, Box<Answer>> {
        if self.surface == Surface::ConnectionCheck && !self.served.identity.minted_here {
            return Ok(Held::default());
        }
        let charge = self.charge()?;
        let (gate, rule) = (&self.target.state.gate, &self.target.policy.queue);
        if let Some(slot) = gate.try_enter() {
            return Ok(Held { _slot: Some(slot), charge });
        }
        let arrived = tokio::time::Instant::now();
        let left = (self.started + self.timeouts.overall).saturating_duration_since(arrived);
        let away = self.served.context.away();
        let entered = gate.enter(rule, left).await;
        drop(away);
        self.served.context.note("queue_duration_s", seconds(arrived.elapsed()));
        let turned = match entered {
            Ok(slot) => return Ok(Held { _slot: Some(slot), charge }),
            Err(turned) => turned,
        };
        if let Some(charge) = charge {
            charge.give_back();
        }
        let (name, why) = (
            &self.target.primary().identifier,
            match turned {
                Turned::Full => format!("and {} more wait", rule.waiting),
                Turned::Waited => format!("and none ended within {} s", rule.longest.min(left).as_secs()),
            },
        );
        self.served.context.note("limited_by", "queue");
        Err(self.too_many(
            &format!("Model '{name}' has as many calls under way as it may ({}), {why}.", rule.at_once),
            rule.longest,
        ))
    }

    fn charge(&self) -> Result<Option<Charge>, Box<Answer>> {
        let Some(limits) = &self.served.active.limits else { return Ok(None) };
        let allowances = &self.served.app.allowances;
        let (user, instance) = names(self.served);
        allowances.admit(allowances.caller(user, instance), limits, Instant::now()).map(Some).map_err(|refusal| {
            self.served.context.note("limited_by", refusal.to_string());
            self.too_many(&refusal.to_string(), refusal.wait)
        })
    }

    fn too_many(&self, why: &str, wait: std::time::Duration) -> Box<Answer> {
        meter::refused(self.served, self.feature, &self.target.name, self.target.primary());
        let detail = format!("Too many requests. Please try again later. {why}");
        let retry_after = Some(wait.max(std::time::Duration::from_secs(1)));
        Box::new(answer::failed(&FailureAnswer { status: 429, detail, retry_after }))
    }
}

/// The user and the instance. Tokens of IDEs name the user only; the instance is then the configured one.
fn names(served: &Served) -> (&str, &str) {
    let claims = &served.identity.claims;
    let instance = if served.identity.minted_here { claims.gitlab_instance_id.as_str() } else { claims.sub.as_str() };
    let configured = served.active.rules.instance_id.as_deref();
    let header = |name| served.header(name);
    let instance = [Some(instance), configured, header("x-gitlab-instance-id")];
    let user = [header("x-gitlab-global-user-id"), Some(claims.sub.as_str())];
    (first(user), first(instance))
}

fn first<const N: usize>(names: [Option<&str>; N]) -> &str {
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default()
}
