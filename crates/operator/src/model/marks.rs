//! What a SelfHostedModel has written down about its model in GitLab, and who holds which.

use std::collections::BTreeMap;
use std::sync::Arc;

use duo_api::SelfHostedModel;
use duo_api::annotations::{CREATE_PENDING, EXTERNAL_ID, EXTERNAL_INSTANCE, FINALIZER};
use duo_core::ownership::{Home, Marks, may_be_left};
use duo_runtime::metadata::{self, Changed};
use kube::{Api, ResourceExt};

use crate::context::{Context, held_id, made_at};
use crate::error::Error;
use crate::report::Event;

/// The marks as they stand in the annotations, whatever GitLab they speak of.
pub(super) fn marks(model: &SelfHostedModel) -> Marks {
    Marks {
        external_id: model.annotations().get(EXTERNAL_ID).cloned(),
        create_pending: model.annotations().get(CREATE_PENDING).cloned(),
    }
}

/// The marks that count in the GitLab that is spoken to.
pub(super) fn marks_at(model: &SelfHostedModel, home: &Home) -> Marks {
    let status =
        model.status.as_ref().and_then(|status| status.gitlab_id.as_deref().zip(status.gitlab_instance.as_deref()));
    marks(model).at(model.annotations().get(EXTERNAL_INSTANCE).map(String::as_str), status, home)
}

/// Whether this resource may hold a model in some GitLab.
pub(super) fn may_hold(model: &SelfHostedModel) -> bool {
    marks(model) != Marks::default() || model.status.as_ref().is_some_and(|status| status.gitlab_instance.is_some())
}

/// What a deletion that lets go may leave in GitLab, for people.
pub(super) fn left(model: &SelfHostedModel) -> Option<String> {
    let status = model.status.as_ref().filter(|status| status.gitlab_instance.is_some());
    let mut marks = marks(model);
    if marks == Marks::default() {
        marks.external_id = status.and_then(|status| status.gitlab_id.clone());
    }
    may_be_left(&marks, &model.spec.display_name)
}

/// Where the gateway speaks to another GitLab than before: what stays in that one. To be told when the marks that speak of
/// it are overwritten.
pub(super) fn left_in_former(model: &SelfHostedModel, home: &Home) -> Option<Event> {
    let what = may_be_left(&marks(model), &model.spec.display_name).filter(|_| !made_at(model, home))?;
    let text = format!("the AIGateway speaks to {home} now; {what} stays in the GitLab of before");
    Some(Event::warning("LeftInFormerGitLab", text))
}

/// The other SelfHostedModel of the gateway that holds this model in GitLab.
pub(super) fn holder(model: &SelfHostedModel, id: &str, home: &Home, ctx: &Context) -> Option<Arc<SelfHostedModel>> {
    ctx.models_of(&model.namespace().unwrap_or_default(), &model.spec.gateway_ref.name)
        .into_iter()
        .find(|other| other.uid() != model.uid() && held_id(other, home).as_deref() == Some(id))
}

/// Ids that other SelfHostedModels of the gateway hold.
pub(super) fn taken_ids(model: &SelfHostedModel, home: &Home, ctx: &Context) -> Vec<String> {
    ctx.models_of(&model.namespace().unwrap_or_default(), &model.spec.gateway_ref.name)
        .iter()
        .filter(|other| other.uid() != model.uid())
        .filter_map(|other| held_id(other, home))
        .collect()
}

/// Writes annotations where they differ, our finalizer with them, and keeps the object current.
pub(super) async fn mark(
    model: &mut SelfHostedModel,
    api: &Api<SelfHostedModel>,
    changes: &[(&str, Option<String>)],
    ctx: &Context,
) -> Result<(), Error> {
    let differs = changes.iter().any(|(key, value)| model.annotations().get(*key) != value.as_ref());
    if !differs && model.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let annotations: BTreeMap<String, Option<String>> =
        changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let from = model.resource_version();
    *model = match metadata::mark(api, model, FINALIZER, &annotations).await? {
        Changed::Now(live) | Changed::Already(live) => live,
        Changed::Gone => return Err(Error::Gone),
    };
    ctx.own.note(from.as_deref(), model);
    Ok(())
}
