//! Deletion of a SelfHostedModel: never under features that use it, never a model that is not ours.

use std::time::Duration;

use duo_api::annotations::{ABANDON, FINALIZER};
use duo_api::condition::SYNCED;
use duo_api::model::SelfHostedModelStatus;
use duo_api::{AIGateway, DeletionPolicy, ManagementPolicy, SelfHostedModel};
use duo_core::conditions::{self, Finding};
use duo_core::deletion::{Step, next_step};
use duo_core::ownership::{Doomed, may_delete};
use duo_core::plan::FeatureTarget;
use duo_core::ready;
use duo_gitlab::Deleted;
use duo_runtime::metadata;
use kube::{Api, ResourceExt};

use super::marks::{left, marks_at, may_hold, taken_ids};
use super::sync::hidden;
use crate::assignment;
use crate::context::{Context, deleting_for, made_at, now};
use crate::error::{Error, Next};
use crate::report::{Event, Report};
use crate::session;

/// Steps of one pass; each looks at GitLab anew.
const STEPS: usize = 4;

pub(super) async fn run(model: &SelfHostedModel, ctx: &Context) -> Result<Next, Error> {
    if !model.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Next::OnChange);
    }
    if model.annotations().get(ABANDON).is_some_and(|value| value == "true") {
        return release(model, Some("abandoned on request"), ctx).await;
    }
    let namespace = model.namespace().unwrap_or_default();
    if model.spec.suspend || !may_hold(model) || model.spec.deletion_policy == DeletionPolicy::Orphan {
        return release(model, None, ctx).await;
    }
    let Some(gateway) = ctx.gateway(&namespace, &model.spec.gateway_ref.name) else {
        return release(model, Some("its AIGateway does not exist any more"), ctx).await;
    };
    if gateway.spec.suspend || gateway.spec.management_policy == ManagementPolicy::Observe {
        return release(model, None, ctx).await;
    }
    match remove(model, &gateway, ctx).await? {
        Removal::Done => release(model, None, ctx).await,
        Removal::TokenGone(why) => release(model, Some(&why), ctx).await,
        Removal::Waiting(finding, next) => {
            report(model, finding, ctx).await?;
            Ok(next)
        }
        Removal::Failed(error) if deleting_for(model) > ctx.patience.gitlab_gone => {
            release(model, Some(&error.to_string()), ctx).await
        }
        Removal::Failed(error) => {
            let finding = Finding::fails(SYNCED, error.category(), format!("Deleting from GitLab: {error}"));
            report(model, if error.is_transient() { finding } else { finding.by_person() }, ctx).await?;
            Ok((&error).into())
        }
    }
}

enum Removal {
    /// The model's absence was observed.
    Done,
    Waiting(Finding, Next),
    /// GitLab cannot be asked any more, or it is not the one in which the model was made.
    TokenGone(String),
    Failed(duo_gitlab::Error),
}

async fn remove(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Result<Removal, Error> {
    let session = match ctx.sessions.open_for_deletion(gateway).await? {
        Ok(session) => session,
        Err(why) => return Ok(Removal::TokenGone(why)),
    };
    let home = session.home();
    if !made_at(model, &home) {
        return Ok(Removal::TokenGone(format!("the AIGateway speaks to another GitLab now, {home}")));
    }
    let taken = taken_ids(model, &home, ctx);
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    for _ in 0..STEPS {
        let instance = match session.observe_for_deletion().await {
            Ok(instance) => instance,
            Err(error) => return Ok(Removal::Failed(error)),
        };
        let (own, hidden) = (marks_at(model, &home), hidden(model, &instance));
        let id = match may_delete(&own, &model.spec.display_name, &instance, hidden, &taken) {
            Doomed::Listed(id) | Doomed::Hidden(id) => id,
            Doomed::Nothing => return Ok(Removal::Done),
        };
        let users = ctx.assignments_of(&model.namespace().unwrap_or_default(), &gateway.name_any());
        let references = |item: &duo_api::FeatureAssignment| {
            item.spec.model_ref.as_ref().is_some_and(|reference| reference.name == model.name_any())
        };
        let (leaving, staying): (Vec<_>, Vec<_>) =
            users.iter().filter(|item| references(item)).partition(|item| item.metadata.deletion_timestamp.is_some());
        let features = instance.features_of(id).into_iter().map(ToOwned::to_owned).collect();
        let names = staying.iter().map(|item| item.name_any()).collect();
        ctx.may_write()?;
        let result = match next_step(names, !leaving.is_empty(), features, deleting_for(model), ctx.patience) {
            Step::WaitForAssignments(names) => {
                let text =
                    format!("FeatureAssignments use this model: {}; delete or change them first", names.join(", "));
                return Ok(Removal::Waiting(Finding::fails(SYNCED, "InUse", text).by_person(), Next::OnChange));
            }
            Step::WaitForFeatures(features, seconds) => {
                let text = format!(
                    "GitLab uses this model for {}; assign another model there, else they are unassigned in {seconds} s",
                    features.join(", ")
                );
                let next = Next::After(Duration::from_secs(seconds.clamp(1, 10).unsigned_abs()));
                return Ok(Removal::Waiting(Finding::fails(SYNCED, "InUse", text), next));
            }
            Step::Unassign(features) => unassign(&features, &session, model, ctx).await,
            // What is not listed is known to be gone by GitLab's word only.
            Step::Delete => match session.client.delete_model(id).await {
                Ok(Deleted::AlreadyGone) => return Ok(Removal::Done),
                result => result.map(|_| ()),
            },
        };
        session.changed().await;
        if let Err(error) = result {
            return Ok(Removal::Failed(error));
        }
    }
    Ok(Removal::Waiting(Finding::fails(SYNCED, "Deleting", "The model is still listed in GitLab"), Next::Backoff(None)))
}

async fn unassign(
    features: &[String],
    session: &session::Session,
    model: &SelfHostedModel,
    ctx: &Context,
) -> Result<(), duo_gitlab::Error> {
    for feature in features {
        assignment::set_feature(session, feature, &FeatureTarget::Unassigned).await?;
        let text = format!("{feature} was assigned to this model by hand and has no model now");
        ctx.reporter.event(model, &Event::warning("FeatureUnassigned", text)).await;
    }
    Ok(())
}

/// Tells in the status what the deletion waits for.
async fn report(model: &SelfHostedModel, finding: Finding, ctx: &Context) -> Result<(), Error> {
    let api: Api<SelfHostedModel> = Api::namespaced(ctx.kube.clone(), &model.namespace().unwrap_or_default());
    let before = model.status.clone().unwrap_or_default();
    let accepted = Finding::holds(duo_api::condition::ACCEPTED, "Deleting", "The resource is being deleted");
    let findings = ready::model(vec![accepted, finding]);
    let status = SelfHostedModelStatus {
        observed_generation: model.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, model.metadata.generation, &now()),
        ..before.clone()
    };
    let report = Report { before: &before.conditions, findings: &findings, status: &status, events: &[] };
    ctx.reporter.write(&api, model, &report).await.map(|_| ())
}

async fn release(model: &SelfHostedModel, left_behind: Option<&str>, ctx: &Context) -> Result<Next, Error> {
    if let (Some(why), Some(what)) = (left_behind, left(model)) {
        ctx.reporter.left_behind(model, &what, why).await;
    }
    let api: Api<SelfHostedModel> = Api::namespaced(ctx.kube.clone(), &model.namespace().unwrap_or_default());
    metadata::remove_finalizer(&api, model, FINALIZER).await?;
    ctx.contests.forget(model);
    ctx.attempts.forget(model);
    ctx.followed.forget(model);
    ctx.waiting.forget(model);
    Ok(Next::OnChange)
}
