//! Deletion of a FeatureAssignment: its features are released where they still are as it set them.

use duo_api::annotations::{ABANDON, FINALIZER};
use duo_api::condition::{ACCEPTED, SYNCED};
use duo_api::{AIGateway, DeletionPolicy, Feature, FeatureAssignment, FeatureAssignmentStatus, ManagementPolicy};
use duo_core::conditions::{self, Finding};
use duo_core::deletion::GITLAB_GONE_SECONDS;
use duo_core::observed::Instance;
use duo_core::ownership::Home;
use duo_core::plan::{self, FeatureTarget, Operation};
use duo_core::ready;
use duo_runtime::metadata;
use kube::{Api, ResourceExt};

use super::sync::others_features;
use super::{assigned, model, set_feature};
use crate::context::{Context, deleting_for, held_id, made_at, now};
use crate::error::{Error, Next};

pub(super) async fn run(item: &FeatureAssignment, ctx: &Context) -> Result<Next, Error> {
    if !item.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Next::OnChange);
    }
    if item.annotations().get(ABANDON).is_some_and(|value| value == "true") {
        return release(item, Some("abandoned on request"), ctx).await;
    }
    if item.spec.suspend || assigned(item).is_empty() || item.spec.deletion_policy == DeletionPolicy::Orphan {
        return release(item, None, ctx).await;
    }
    let namespace = item.namespace().unwrap_or_default();
    let Some(gateway) = ctx.gateway(&namespace, &item.spec.gateway_ref.name) else {
        return release(item, Some("its AIGateway does not exist any more"), ctx).await;
    };
    if gateway.spec.suspend || gateway.spec.management_policy == ManagementPolicy::Observe {
        return release(item, None, ctx).await;
    }
    match unassign(item, &gateway, ctx).await? {
        Ok(()) => release(item, None, ctx).await,
        Err(Failure::TokenGone(why)) => release(item, Some(&why), ctx).await,
        Err(Failure::GitLab(error)) if deleting_for(item) > GITLAB_GONE_SECONDS => {
            release(item, Some(&error.to_string()), ctx).await
        }
        Err(Failure::GitLab(error)) => {
            report(item, &error, ctx).await?;
            Ok((&error).into())
        }
    }
}

enum Failure {
    TokenGone(String),
    GitLab(duo_gitlab::Error),
}

impl From<duo_gitlab::Error> for Failure {
    fn from(error: duo_gitlab::Error) -> Self {
        Self::GitLab(error)
    }
}

async fn unassign(item: &FeatureAssignment, gateway: &AIGateway, ctx: &Context) -> Result<Result<(), Failure>, Error> {
    let session = match ctx.sessions.open_for_deletion(gateway).await? {
        Ok(session) => session,
        Err(why) => return Ok(Err(Failure::TokenGone(why))),
    };
    let instance = match session.observe_for_deletion().await {
        Ok(instance) => instance,
        Err(error) => return Ok(Err(error.into())),
    };
    let home = session.home();
    if !made_at(item, &home) {
        let why = format!("the AIGateway speaks to another GitLab now, {home}");
        return Ok(Err(Failure::TokenGone(why)));
    }
    let ours = targets(item, &home, ctx);
    let elsewhere = others_features(item, ctx);
    let going: Vec<Feature> = assigned(item).into_iter().filter(|feature| !elsewhere.contains(feature)).collect();
    let chat_goes_too = going.contains(&Feature::DuoChat) || chat_leaves(item, &home, &instance, ctx);
    for feature in going {
        let Some(Operation::UpdateFeature { feature, target, .. }) =
            plan::plan_unassign(&instance, feature, &ours, chat_goes_too)
        else {
            continue;
        };
        ctx.may_write()?;
        let result = set_feature(&session, &feature, &target).await;
        session.changed().await;
        if let Err(error) = result {
            return Ok(Err(error.into()));
        }
    }
    Ok(Ok(()))
}

/// Duo Chat is being released elsewhere, or its model is being deleted: a sub-feature that returned to that model would
/// stay on it with nobody to take it off.
fn chat_leaves(item: &FeatureAssignment, home: &Home, instance: &Instance, ctx: &Context) -> bool {
    let (namespace, gateway) = (item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name);
    let model_id = instance.feature(Feature::DuoChat.key()).and_then(|chat| chat.model_id.as_ref());
    let released = ctx
        .assignments_of(&namespace, gateway)
        .iter()
        .any(|other| other.metadata.deletion_timestamp.is_some() && assigned(other).contains(&Feature::DuoChat));
    released
        || ctx.models_of(&namespace, gateway).iter().any(|model| {
            model.metadata.deletion_timestamp.is_some() && held_id(model, home).is_some_and(|id| Some(&id) == model_id)
        })
}

/// What this object may have set its features to.
fn targets(item: &FeatureAssignment, home: &Home, ctx: &Context) -> Vec<FeatureTarget> {
    let by_provider = item.spec.provider.map(FeatureTarget::from);
    let by_model = item
        .spec
        .model_ref
        .as_ref()
        .and_then(|reference| model(item, &reference.name, ctx))
        .and_then(|model| held_id(&model, home))
        .map(FeatureTarget::Model);
    by_provider.into_iter().chain(by_model).collect()
}

async fn report(item: &FeatureAssignment, error: &duo_gitlab::Error, ctx: &Context) -> Result<(), Error> {
    let api: Api<FeatureAssignment> = Api::namespaced(ctx.kube.clone(), &item.namespace().unwrap_or_default());
    let before = item.status.clone().unwrap_or_default();
    let findings = ready::assignment(vec![
        Finding::holds(ACCEPTED, "Deleting", "The resource is being deleted"),
        Finding::fails(SYNCED, error.category(), format!("Releasing features in GitLab: {error}")),
    ]);
    let status = FeatureAssignmentStatus {
        observed_generation: item.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, item.metadata.generation, &now()),
    };
    ctx.reporter.write(&api, item, Some(&before.conditions), &findings, &status).await
}

async fn release(item: &FeatureAssignment, left_behind: Option<&str>, ctx: &Context) -> Result<Next, Error> {
    let features = assigned(item);
    if let Some(why) = left_behind.filter(|_| !features.is_empty()) {
        let list: Vec<String> = features.iter().map(ToString::to_string).collect();
        ctx.reporter.left_behind(item, &format!("features {}", list.join(", ")), why).await;
    }
    let api: Api<FeatureAssignment> = Api::namespaced(ctx.kube.clone(), &item.namespace().unwrap_or_default());
    metadata::remove_finalizer(&api, item, FINALIZER).await?;
    Ok(Next::OnChange)
}
