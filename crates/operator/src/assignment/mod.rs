//! FeatureAssignment: validate, resolve the model, plan feature by feature, act, report.

mod delete;
mod sync;
mod synthetic;

use std::sync::Arc;

use duo_api::annotations::ASSIGNED_FEATURES;
use duo_api::condition::{self, ACCEPTED, MODEL_RESOLVED, READY, SYNCED};
use duo_api::{AIGateway, Feature, FeatureAssignment, FeatureAssignmentStatus, FeatureStatus, SelfHostedModel};
use duo_core::claims::Claimant;
use duo_core::conditions::{self, Finding};
use duo_core::observed::Instance;
use duo_core::plan::{FeatureTarget, Held};
use duo_core::ready::{self, GATEWAY_READY, MODEL_READY};
use duo_core::{contest, dependents, formers, tiers, validate};
use duo_gitlab::FeatureProvider;
use kube::{Api, ResourceExt};

use crate::context::{Context, claimant, now};
use crate::error::{Error, Next};
use crate::report::{Event, Report};
use crate::session::{Session, Written};

/// What a pass found out.
struct Outcome {
    findings: Vec<Finding>,
    events: Vec<Event>,
    /// What is not written although it differs.
    plan: Vec<String>,
    /// What is known of the features; `None` when GitLab could not be looked at: then what was known stays.
    features: Option<Vec<FeatureStatus>>,
    /// Nothing is told yet: what is waited for is a matter of moments.
    silent: bool,
    next: Next,
}

impl Outcome {
    /// Takes note of how fit the model is for the features. Told as events once.
    fn known(&mut self, instance: &Instance, item: &FeatureAssignment, model: Option<&SelfHostedModel>) {
        let of = model.map(|model| (model.spec.family, model.spec.identifier.as_str()));
        let now = tiers::features(instance, &item.spec.features, of);
        let before = item.status.as_ref().map(|status| status.features.as_slice()).unwrap_or_default();
        let name = model.map(ResourceExt::name_any).unwrap_or_default();
        let warnings = tiers::warnings(before, &now, &name);
        self.events.extend(warnings.into_iter().map(|(reason, text)| Event::warning(reason, text)));
        self.features = Some(now);
    }
}

/// Brings GitLab to what one FeatureAssignment declares.
pub(crate) async fn reconcile(item: Arc<FeatureAssignment>, ctx: &Context) -> Result<Next, Error> {
    let namespace = item.namespace().unwrap_or_default();
    // Counted before it is looked whose the gateway is: its shard does not let go of it in between.
    let _busy = ctx.shard.begin(&namespace, &item.spec.gateway_ref.name);
    let gateway = ctx.gateway(&namespace, &item.spec.gateway_ref.name);
    let deleted = item.metadata.deletion_timestamp.is_some();
    // What goes after its gateway is let go of by any shard: there is nothing left to write to.
    if !(ctx.shard.works_on(gateway.as_deref()) || deleted && gateway.is_none()) {
        return Ok(Next::OnChange);
    }
    if deleted {
        return delete::run(&item, ctx).await;
    }
    if item.spec.suspend || gateway.as_ref().is_some_and(|gateway| gateway.spec.suspend) {
        return Ok(Next::OnChange);
    }
    let api: Api<FeatureAssignment> = Api::namespaced(ctx.kube.clone(), &namespace);
    if item.status.as_ref().is_none_or(|status| condition::is_unseen(status.observed_generation))
        && comes_up(&item, gateway.as_deref(), ctx)
        && let Some(left) = ctx.may_be_silent(item.as_ref())
    {
        return Ok(Next::After(left));
    }
    let holds = sync::may_hold(&item);
    let Some(mut live) = ctx.own.live(&api, item.as_ref(), holds).await? else { return Ok(Next::OnChange) };
    if live.metadata.deletion_timestamp.is_some() {
        // The copy in the cache may not know yet.
        return delete::run(&live, ctx).await;
    }
    let before = live.status.clone().unwrap_or_default();
    let mut outcome = Outcome {
        findings: Vec::new(),
        events: Vec::new(),
        plan: Vec::new(),
        features: None,
        silent: false,
        next: Next::OnChange,
    };
    match gateway {
        None => outcome.findings.push(Finding::unknown(
            ACCEPTED,
            "GatewayNotFound",
            format!("AIGateway {:?} does not exist in this namespace", live.spec.gateway_ref.name),
        )),
        Some(gateway) => {
            let model = live.spec.model_ref.as_ref().and_then(|reference| model(&live, &reference.name, ctx));
            let target = resolve(&live, model.as_deref(), &mut outcome);
            match sync::run(&mut live, &api, &gateway, (target, model.as_deref()), ctx, &mut outcome).await {
                Err(Error::Gone) => return Ok(Next::OnChange),
                synced => synced?,
            }
            if outcome.silent {
                return Ok(outcome.next);
            }
            if outcome.findings.iter().any(|f| f.type_ == SYNCED && f.status == duo_api::ConditionStatus::True) {
                synthetic::run(&live, &gateway, model.as_deref(), ctx, &mut outcome).await?;
            }
            outcome.findings.extend(readiness(&gateway, &live, model.as_deref()));
        }
    }
    let findings = ready::assignment(outcome.findings);
    let status = FeatureAssignmentStatus {
        observed_generation: live.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, live.metadata.generation, &now()),
        plan: outcome.plan,
        features: outcome.features.unwrap_or_else(|| before.features.clone()),
    };
    let (before, events) = (before.conditions.as_slice(), outcome.events.as_slice());
    let report = Report { before, findings: &findings, status: &status, events };
    let told = ctx.reporter.write(&api, &live, &report).await?;
    let look = ctx.next_look(&namespace, &live.spec.gateway_ref.name);
    Ok(outcome.next.sooner(told).sooner(look))
}

/// Whether gateway or model are on their way and wake it when they are there: until then there is nothing to say.
fn comes_up(item: &FeatureAssignment, gateway: Option<&AIGateway>, ctx: &Context) -> bool {
    let model = item.spec.model_ref.as_ref().and_then(|reference| model(item, &reference.name, ctx));
    let gateway_comes_up = gateway.is_some_and(|gateway| {
        let status = gateway.status.as_ref();
        dependents::gateway_comes_up(status.map(|status| status.conditions.as_slice()).unwrap_or_default())
    });
    gateway_comes_up
        || gateway.is_some()
            && model.is_some_and(|model| {
                let status = model.status.as_ref();
                let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
                !model.spec.suspend && dependents::comes_up(conditions)
            })
}

fn model(item: &FeatureAssignment, name: &str, ctx: &Context) -> Option<Arc<SelfHostedModel>> {
    ctx.models_of(&item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name)
        .into_iter()
        .find(|model| model.name_any() == name)
}

/// What should serve the features; `None` with a finding while the model is not there.
///
/// A model counts once it is Synced, not once it is verified: an offline instance can verify one only after code
/// completion is assigned.
fn resolve(item: &FeatureAssignment, model: Option<&SelfHostedModel>, outcome: &mut Outcome) -> Option<FeatureTarget> {
    if let Some(provider) = item.spec.provider {
        outcome.findings.push(Finding::holds(
            MODEL_RESOLVED,
            "NoModelNeeded",
            format!("spec.provider is {provider:?}"),
        ));
        return Some(provider.into());
    }
    let name = item.spec.model_ref.as_ref().map(|reference| reference.name.clone()).unwrap_or_default();
    let Some(model) = model else {
        outcome.findings.push(Finding::unknown(
            MODEL_RESOLVED,
            "ModelNotFound",
            format!("SelfHostedModel {name:?} of this gateway does not exist in this namespace"),
        ));
        return None;
    };
    let status = model.status.clone().unwrap_or_default();
    // One that somebody fights about, or that the pods are given first, is registered all the same.
    let registered = conditions::get(&status.conditions, SYNCED).is_some_and(|synced| {
        synced.status == duo_api::ConditionStatus::True
            || [contest::CONTESTED, formers::WAITING_FOR_GATEWAY].contains(&synced.reason.as_str())
    });
    let id = status.gitlab_id.filter(|_| registered && model.metadata.deletion_timestamp.is_none());
    match id {
        Some(id) => {
            outcome.findings.push(Finding::holds(MODEL_RESOLVED, "Resolved", format!("{name} is {id} in GitLab")));
            Some(FeatureTarget::Model(id))
        }
        None => {
            outcome.findings.push(Finding::unknown(
                MODEL_RESOLVED,
                "ModelNotSynced",
                format!("SelfHostedModel {name} is not registered in GitLab"),
            ));
            None
        }
    }
}

/// Whether a status is of the present declaration, and its conditions.
type Known<'a> = (bool, Option<&'a [duo_api::Condition]>);

/// Readiness of what this assignment rests on, as inputs of its own.
fn readiness(gateway: &AIGateway, item: &FeatureAssignment, model: Option<&SelfHostedModel>) -> Vec<Finding> {
    let of = |type_: &'static str, what: String, (seen, conditions): Known<'_>| match conditions
        .and_then(|conditions| conditions::get(conditions, READY))
    {
        // What it says is of what was declared before.
        Some(_) if !seen => {
            Finding::unknown(type_, "NotObserved", format!("{what} is declared anew and not looked at yet"))
        }
        Some(ready) if ready.status == duo_api::ConditionStatus::True => Finding::holds(type_, "Ready", what),
        Some(ready) => {
            let reason = if type_ == MODEL_READY { "ModelNotReady" } else { "GatewayNotReady" };
            let finding = match ready.status {
                duo_api::ConditionStatus::False => Finding::fails(type_, reason, ""),
                _ => Finding::unknown(type_, reason, ""),
            };
            Finding { message: format!("{what}: {} ({})", ready.message, ready.reason), ..finding }
        }
        None => Finding::unknown(type_, "NotObserved", format!("{what} has not been looked at yet")),
    };
    let gateway_ready = of(
        GATEWAY_READY,
        format!("AIGateway {}", gateway.name_any()),
        // An edit of the gateway leaves its pods serving until they have it, and then its own Ready says what is amiss.
        (true, gateway.status.as_ref().map(|status| status.conditions.as_slice())),
    );
    let model_ready = match (item.spec.provider, model) {
        (Some(_), _) => Finding::holds(MODEL_READY, "NoModelNeeded", ""),
        (None, Some(model)) => {
            let status = model.status.as_ref();
            // One that is suspended is not looked at, and stays what it was.
            let seen = status.is_some_and(|status| status.observed_generation == model.metadata.generation);
            let known = (seen || model.spec.suspend, status.map(|status| status.conditions.as_slice()));
            of(MODEL_READY, format!("SelfHostedModel {}", model.name_any()), known)
        }
        (None, None) => Finding::unknown(MODEL_READY, "ModelNotFound", "The model does not exist"),
    };
    vec![model_ready, gateway_ready]
}

/// Features that older assignments hold.
fn claimed(item: &FeatureAssignment, ctx: &Context) -> Vec<(Feature, Claimant)> {
    let others: Vec<(Claimant, Vec<Feature>)> = ctx
        .assignments_of(&item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name)
        .iter()
        .filter(|other| other.uid() != item.uid() && other.metadata.deletion_timestamp.is_none())
        .map(|other| (claimant(other.as_ref()), other.spec.features.clone()))
        .collect();
    validate::claimed_features(&claimant(item), &item.spec.features, &others)
}

/// Features that this object has set in GitLab, from its annotation.
fn assigned(item: &FeatureAssignment) -> Vec<Held> {
    Held::read(item.annotations().get(ASSIGNED_FEATURES).map(String::as_str).unwrap_or_default())
}

/// Sets one feature in GitLab, by its lower-case key.
pub(crate) async fn set_feature(
    session: &Session,
    feature: &str,
    target: &FeatureTarget,
) -> Result<(), duo_gitlab::Error> {
    let provider = match target {
        FeatureTarget::Model(_) => FeatureProvider::SelfHosted,
        FeatureTarget::Disabled => FeatureProvider::Disabled,
        FeatureTarget::GitLabManaged => FeatureProvider::Vendored,
        FeatureTarget::Unassigned => FeatureProvider::Unassigned,
    };
    match session.client.update_feature(feature, &provider, target.model_id()).await? {
        Some(now) => session.wrote(Written::Feature {
            key: feature.to_owned(),
            provider: now.provider.as_key().to_owned(),
            model_id: now.model_id,
        }),
        // GitLab did not say what it made of it.
        None => session.changed().await,
    }
    Ok(())
}
