//! Deletion of a FeatureAssignment: its features are released where they still are as it set them.

use duo_api::annotations::{ABANDON, FINALIZER};
use duo_api::condition::{ACCEPTED, SYNCED};
use duo_api::{AIGateway, DeletionPolicy, Feature, FeatureAssignment, FeatureAssignmentStatus, ManagementPolicy};
use duo_core::conditions::{self, Finding};
use duo_core::ownership::Home;
use duo_core::plan::{self, Operation, Release};
use duo_core::ready;
use duo_runtime::metadata;
use kube::{Api, ResourceExt};

use super::sync::others_features;
use super::{assigned, set_feature};
use crate::context::{Context, deleting_for, held_id, made_at, now};
use crate::error::{Error, Next};
use crate::report::Report;

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
        Err(Failure::GitLab(error)) if deleting_for(item) > ctx.patience.gitlab_gone => {
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
    for operation in plan::plan_release(&instance, &release_of(item, &home, ctx)) {
        let Operation::UpdateFeature { feature, target, .. } = operation else { continue };
        ctx.may_write()?;
        let result = set_feature(&session, &feature, &target).await;
        session.changed().await;
        if let Err(error) = result {
            return Ok(Err(error.into()));
        }
    }
    Ok(Ok(()))
}

/// What this object lets go of, and who else is on the way out.
fn release_of(item: &FeatureAssignment, home: &Home, ctx: &Context) -> Release {
    let (namespace, gateway) = (item.namespace().unwrap_or_default(), &item.spec.gateway_ref.name);
    let leaving_models = ctx
        .models_of(&namespace, gateway)
        .iter()
        .filter(|model| model.metadata.deletion_timestamp.is_some())
        .filter_map(|model| held_id(model, home))
        .collect();
    Release {
        features: assigned(item),
        models: ctx.held_ids(&namespace, gateway, home),
        elsewhere: others_features(item, ctx),
        chat_released: ctx
            .assignments_of(&namespace, gateway)
            .iter()
            .filter(|other| other.metadata.deletion_timestamp.is_some())
            .any(|other| assigned(other).iter().any(|held| held.feature == Feature::DuoChat)),
        leaving_models,
    }
}

async fn report(item: &FeatureAssignment, error: &duo_gitlab::Error, ctx: &Context) -> Result<(), Error> {
    let api: Api<FeatureAssignment> = Api::namespaced(ctx.kube.clone(), &item.namespace().unwrap_or_default());
    let before = item.status.clone().unwrap_or_default();
    let finding = Finding::fails(SYNCED, error.category(), format!("Releasing features in GitLab: {error}"));
    let findings = ready::assignment(vec![
        Finding::holds(ACCEPTED, "Deleting", "The resource is being deleted"),
        if error.is_transient() { finding } else { finding.by_person() },
    ]);
    let status = FeatureAssignmentStatus {
        observed_generation: item.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, item.metadata.generation, &now()),
        plan: Vec::new(),
        features: before.features.clone(),
    };
    let report = Report { before: &before.conditions, findings: &findings, status: &status, events: &[] };
    ctx.reporter.write(&api, item, &report).await.map(|_| ())
}

async fn release(item: &FeatureAssignment, left_behind: Option<&str>, ctx: &Context) -> Result<Next, Error> {
    let features = assigned(item);
    if let Some(why) = left_behind.filter(|_| !features.is_empty()) {
        let list: Vec<String> = features.iter().map(|held| held.feature.to_string()).collect();
        ctx.reporter.left_behind(item, &format!("features {}", list.join(", ")), why).await;
    }
    let api: Api<FeatureAssignment> = Api::namespaced(ctx.kube.clone(), &item.namespace().unwrap_or_default());
    metadata::remove_finalizer(&api, item, FINALIZER).await?;
    ctx.contests.forget(item);
    ctx.waiting.forget(item);
    Ok(Next::OnChange)
}
