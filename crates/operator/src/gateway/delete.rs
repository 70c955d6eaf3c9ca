//! Deletion of an AIGateway: dependents that are being deleted go first, then GitLab's URL goes back to what it was,
//! if it is still ours. The cluster's objects follow by garbage collection.

use std::time::Duration;

use duo_api::annotations::{ABANDON, FINALIZER, PREVIOUS_GATEWAY_URL};
use duo_api::{AIGateway, DeletionPolicy, ManagementPolicy};
use duo_core::deletion::GITLAB_GONE_SECONDS;
use duo_core::url_rules;
use duo_gitlab::SettingsInput;
use duo_runtime::metadata;
use kube::{Api, Resource, ResourceExt};

use super::gitlab::gateway_url;
use crate::context::{Context, deleting_for};
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session;

/// How soon to look whether the dependents are gone.
const POLL: Duration = Duration::from_secs(1);

pub(super) async fn run(gateway: &AIGateway, ctx: &Context) -> Result<Next, Error> {
    if !gateway.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Next::OnChange);
    }
    if gateway.annotations().get(ABANDON).is_some_and(|value| value == "true") {
        return release(gateway, Some("abandoned on request"), ctx).await;
    }
    let late = deleting_for(gateway) > GITLAB_GONE_SECONDS;
    if !late && leaving_dependents(gateway, ctx) > 0 {
        return Ok(Next::After(POLL));
    }
    let hands_off = gateway.spec.suspend
        || gateway.spec.management_policy == ManagementPolicy::Observe
        || gateway.spec.deletion_policy == DeletionPolicy::Orphan;
    let Some(previous) = gateway.annotations().get(PREVIOUS_GATEWAY_URL).filter(|_| !hands_off) else {
        return release(gateway, None, ctx).await;
    };
    match put_back(gateway, previous, ctx).await {
        Ok(()) => release(gateway, None, ctx).await,
        Err(Failure::Reconcile(error)) => Err(error),
        Err(Failure::TokenGone(why)) => release(gateway, Some(&why), ctx).await,
        Err(Failure::GitLab(error)) if late => release(gateway, Some(&error.to_string()), ctx).await,
        Err(Failure::GitLab(error)) => {
            ctx.reporter
                .event(
                    gateway,
                    &Event::warning(
                        error.category(),
                        format!("GitLab's gateway URL could not be put back, trying again: {error}"),
                    ),
                )
                .await;
            Ok((&error).into())
        }
    }
}

enum Failure {
    Reconcile(Error),
    TokenGone(String),
    GitLab(duo_gitlab::Error),
}

impl From<duo_gitlab::Error> for Failure {
    fn from(error: duo_gitlab::Error) -> Self {
        Self::GitLab(error)
    }
}

async fn put_back(gateway: &AIGateway, previous: &str, ctx: &Context) -> Result<(), Failure> {
    let session = match ctx.sessions.open(gateway).await {
        Ok(session) => session,
        Err(session::SessionError::Input(crate::inputs::InputError::Kube(error))) => {
            return Err(Failure::Reconcile(error.into()));
        }
        // The Secret went first, as in a namespace that is torn down: the last good token may still do.
        Err(error) => match ctx.sessions.last(&session::key(gateway)).await {
            Some(session) => session,
            None => return Err(Failure::TokenGone(error.to_string())),
        },
    };
    let instance = session.observe(Duration::ZERO).await?;
    let found = instance.settings.as_ref().and_then(|settings| settings.gateway_url.as_deref());
    if !url_rules::same(found, Some(&gateway_url(gateway))) {
        return Ok(());
    }
    ctx.may_write().map_err(Failure::Reconcile)?;
    let input = SettingsInput { ai_gateway_url: Some(url_rules::normalize(previous)), ..SettingsInput::default() };
    let result = session.client.update_settings(&input).await;
    session.changed().await;
    result?;
    Ok(())
}

/// Models and assignments of this gateway that are on their way out.
fn leaving_dependents(gateway: &AIGateway, ctx: &Context) -> usize {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    fn leaving<K: Resource>(object: &K) -> bool {
        object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
    }
    ctx.models_of(&namespace, &name).iter().filter(|model| leaving(model.as_ref())).count()
        + ctx.assignments_of(&namespace, &name).iter().filter(|item| leaving(item.as_ref())).count()
}

async fn release(gateway: &AIGateway, left_behind: Option<&str>, ctx: &Context) -> Result<Next, Error> {
    if let Some(why) = left_behind {
        ctx.reporter
            .left_behind(gateway, &format!("GitLab's Local AI gateway URL {}", gateway_url(gateway)), why)
            .await;
    }
    let api: Api<AIGateway> = Api::namespaced(ctx.kube.clone(), &gateway.namespace().unwrap_or_default());
    metadata::remove_finalizer(&api, gateway, FINALIZER).await?;
    ctx.sessions.forget(&session::key(gateway)).await;
    Ok(Next::OnChange)
}
