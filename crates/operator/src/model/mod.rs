//! SelfHostedModel: validate, find its model in GitLab, plan, act, check the connection, report.

mod check;
mod delete;
mod marks;
mod serving;
mod sync;
mod token;
mod turn;

use std::sync::Arc;
use std::time::Instant;

use duo_api::condition::{self, ACCEPTED, SYNCED};
use duo_api::model::SelfHostedModelStatus;
use duo_api::{AIGateway, SelfHostedModel};
use duo_core::conditions::{self, Finding};
use duo_core::validate::{self, Sibling};
use duo_core::{dependents, ready};
use kube::{Api, ResourceExt};

pub(crate) use serving::same_to_gateway;

use crate::context::{Context, claimant, now};
use crate::error::{Error, Next};
use crate::inputs;
use crate::report::{Event, Report};

/// What a pass found out.
struct Outcome {
    began: Instant,
    findings: Vec<Finding>,
    events: Vec<Event>,
    gitlab_id: Option<String>,
    gitlab_instance: Option<String>,
    checked: Option<String>,
    checked_at: Option<String>,
    /// What is not written although it differs.
    plan: Vec<String>,
    /// Nothing is told yet: what is waited for is a matter of moments.
    silent: bool,
    next: Next,
}

/// Brings GitLab to what one SelfHostedModel declares.
pub(crate) async fn reconcile(model: Arc<SelfHostedModel>, ctx: &Context) -> Result<Next, Error> {
    let began = Instant::now();
    let namespace = model.namespace().unwrap_or_default();
    // Counted before it is looked whose the gateway is: its shard does not let go of it in between.
    let _busy = ctx.shard.begin(&namespace, &model.spec.gateway_ref.name);
    let gateway = ctx.gateway(&namespace, &model.spec.gateway_ref.name);
    let deleted = model.metadata.deletion_timestamp.is_some();
    // What goes after its gateway is let go of by any shard: there is nothing left to write to.
    if !(ctx.shard.works_on(gateway.as_deref()) || deleted && gateway.is_none()) {
        return Ok(Next::OnChange);
    }
    if deleted {
        return delete::run(&model, ctx).await;
    }
    if model.spec.suspend || gateway.as_ref().is_some_and(|gateway| gateway.spec.suspend) {
        return Ok(Next::OnChange);
    }
    let api: Api<SelfHostedModel> = Api::namespaced(ctx.kube.clone(), &namespace);
    if model.status.as_ref().is_none_or(|status| condition::is_unseen(status.observed_generation))
        && gateway.as_deref().is_some_and(|gateway| dependents::gateway_comes_up(conditions_of(gateway)))
        && let Some(left) = ctx.may_be_silent(model.as_ref())
    {
        return Ok(Next::After(left));
    }
    let holds = marks::may_hold(&model);
    let Some(mut live) = ctx.own.live(&api, model.as_ref(), holds).await? else { return Ok(Next::OnChange) };
    if live.metadata.deletion_timestamp.is_some() {
        // The copy in the cache may not know yet.
        return delete::run(&live, ctx).await;
    }
    let before = live.status.clone().unwrap_or_default();
    let mut outcome = Outcome {
        began,
        findings: Vec::new(),
        events: warnings(&live, &before),
        gitlab_id: before.gitlab_id.clone(),
        gitlab_instance: before.gitlab_instance.clone(),
        checked: before.checked.clone(),
        checked_at: before.checked_at.clone(),
        plan: Vec::new(),
        silent: false,
        next: Next::OnChange,
    };
    match accept(&live, gateway.as_deref(), ctx).await? {
        Ok(gateway) => match sync::run(&mut live, &api, gateway, ctx, &mut outcome).await {
            Err(Error::Gone) => return Ok(Next::OnChange),
            synced => synced?,
        },
        Err(refusal) => outcome.findings.push(refusal),
    }
    if outcome.silent {
        return Ok(outcome.next);
    }
    let findings = ready::model(outcome.findings);
    let status = SelfHostedModelStatus {
        observed_generation: live.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, live.metadata.generation, &now()),
        gitlab_id: outcome.gitlab_id,
        gitlab_instance: outcome.gitlab_instance,
        checked: outcome.checked,
        checked_at: outcome.checked_at,
        plan: outcome.plan,
    };
    let (before, events) = (before.conditions.as_slice(), outcome.events.as_slice());
    let report = Report { before, findings: &findings, status: &status, events };
    let told = ctx.reporter.write(&api, &live, &report).await?;
    let look = ctx.next_look(&namespace, &live.spec.gateway_ref.name);
    Ok(outcome.next.sooner(told).sooner(look))
}

fn conditions_of_model(model: &SelfHostedModel) -> &[duo_api::Condition] {
    model.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

fn conditions_of(gateway: &AIGateway) -> &[duo_api::Condition] {
    gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

/// Warnings about the declaration, once per generation of it.
fn warnings(model: &SelfHostedModel, before: &SelfHostedModelStatus) -> Vec<Event> {
    if before.observed_generation == model.metadata.generation {
        return Vec::new();
    }
    validate::warnings(&model.spec).into_iter().map(|(reason, text)| Event::warning(reason, text)).collect()
}

/// The gateway, when nothing but GitLab can object any more; else the finding that refuses.
async fn accept<'a>(
    model: &SelfHostedModel,
    gateway: Option<&'a AIGateway>,
    ctx: &Context,
) -> Result<Result<&'a AIGateway, Finding>, Error> {
    let Some(gateway) = gateway else {
        return Ok(Err(Finding::unknown(
            ACCEPTED,
            "GatewayNotFound",
            format!("AIGateway {:?} does not exist in this namespace", model.spec.gateway_ref.name),
        )));
    };
    let siblings = siblings(model, ctx);
    if let Some(refusal) = validate::model(&claimant(model), &model.spec, &gateway.spec, &siblings) {
        return Ok(Err(refusal));
    }
    let namespace = model.namespace().unwrap_or_default();
    let needed = duo_core::inputs::of_all_places(&model.name_any(), &model.spec);
    match inputs::Objects::new(&ctx.fresh, &namespace).files(&needed).await {
        Ok(_) => {}
        Err(inputs::FieldError { error: inputs::InputError::Kube(error), .. }) => return Err(error.into()),
        Err(error) => {
            return Ok(Err(Finding::unknown(ACCEPTED, error.error.category(), error.to_string()).by_person()));
        }
    }
    Ok(Ok(gateway))
}

/// Other models of the same gateway; one that is being deleted keeps its claim until it is gone.
fn siblings(model: &SelfHostedModel, ctx: &Context) -> Vec<Sibling> {
    ctx.models_of(&model.namespace().unwrap_or_default(), &model.spec.gateway_ref.name)
        .iter()
        .filter(|other| other.uid() != model.uid())
        .map(|other| Sibling { claimant: claimant(other.as_ref()), spec: other.spec.clone() })
        .collect()
}

impl Outcome {
    fn accepted(&mut self) {
        self.findings.push(Finding::holds(ACCEPTED, "Accepted", "The declaration is valid"));
    }

    /// GitLab could not be asked or refused.
    fn failed(&mut self, error: &duo_gitlab::Error, sending: bool) {
        let message = error.to_string();
        let finding = if sending {
            Finding::fails(SYNCED, error.category(), message)
        } else {
            Finding::unknown(SYNCED, error.category(), message)
        };
        self.findings.push(if error.is_transient() { finding } else { finding.by_person() });
        self.next = self.next.sooner(error.into());
    }
}
