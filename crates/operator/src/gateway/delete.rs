//! Deletion of an AIGateway: dependents that are being deleted go first, then GitLab's URL goes back to what it was,
//! if it is still ours, or to nothing where GitLab takes that one no more. The cluster's objects follow by garbage
//! collection.

use std::time::Duration;

use duo_api::annotations::{ABANDON, FINALIZER, PREVIOUS_AGENT_PLATFORM, PREVIOUS_GATEWAY_URL};
use duo_api::condition::GATEWAY_URL_CONFIGURED;
use duo_api::gateway::AIGatewayStatus;
use duo_api::{AIGateway, DeletionPolicy, ManagementPolicy};
use duo_core::conditions::{self, Finding};
use duo_core::deletion::gateway_waits;
use duo_core::plan::plan_agent_platform_release;
use duo_core::url_rules::gateway_url;
use duo_core::{ready, url_rules};
use duo_gitlab::SettingsInput;
use duo_runtime::metadata;
use kube::{Api, Resource, ResourceExt};

use super::agent_platform;
use crate::context::{Context, deleting_for, made_at, now};
use crate::error::{Error, Next};
use crate::report::{Event, Report};
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
    let late = deleting_for(gateway) > ctx.patience.gitlab_gone;
    let (leaving, staying) = dependents(gateway, ctx);
    if gateway_waits(leaving.len(), staying, deleting_for(gateway), ctx.patience) {
        if !leaving.is_empty() {
            let text = format!("Deleted after those that need it to leave GitLab: {}", leaving.join(", "));
            report(gateway, Finding::unknown(GATEWAY_URL_CONFIGURED, "WaitingForDependents", text), ctx).await?;
        }
        return Ok(Next::After(POLL));
    }
    let hands_off = gateway.spec.suspend
        || gateway.spec.management_policy == ManagementPolicy::Observe
        || gateway.spec.deletion_policy == DeletionPolicy::Orphan;
    let marked = [PREVIOUS_GATEWAY_URL, PREVIOUS_AGENT_PLATFORM].iter().any(|m| gateway.annotations().contains_key(*m));
    if hands_off || !marked {
        return release(gateway, None, ctx).await;
    }
    match put_back(gateway, ctx).await {
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
            let finding = Finding::fails(
                GATEWAY_URL_CONFIGURED,
                error.category(),
                format!("Putting GitLab's gateway URL back: {error}"),
            );
            report(gateway, if error.is_transient() { finding } else { finding.by_person() }, ctx).await?;
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

async fn put_back(gateway: &AIGateway, ctx: &Context) -> Result<(), Failure> {
    let session = match ctx.sessions.open_for_deletion(gateway).await.map_err(Failure::Reconcile)? {
        Ok(session) => session,
        Err(why) => return Err(Failure::TokenGone(why)),
    };
    if !made_at(gateway, &session.home()) {
        return Err(Failure::TokenGone("the AIGateway speaks to another GitLab now".to_owned()));
    }
    let instance = session.observe_for_deletion().await?;
    let observed = instance.settings.clone().unwrap_or_default();
    if let Some(before) = agent_platform::before(gateway, &session)
        && let Some(operation) = plan_agent_platform_release(&observed, &before, &instance.capabilities)
    {
        agent_platform::write(&session, &operation, ctx).await.map_err(Failure::Reconcile)??;
    }
    let Some(previous) = gateway.annotations().get(PREVIOUS_GATEWAY_URL) else { return Ok(()) };
    let found = instance.settings.as_ref().and_then(|settings| settings.gateway_url.as_deref());
    // A URL that was edited just before the deletion has not reached GitLab.
    let before = gateway.status.as_ref().and_then(|status| status.url.clone());
    let ours = [Some(gateway_url(gateway)), before];
    if !ours.iter().flatten().any(|url| url_rules::same(found, Some(url))) {
        return Ok(());
    }
    ctx.may_write().map_err(Failure::Reconcile)?;
    let set = |url| SettingsInput { ai_gateway_url: Some(url), ..SettingsInput::default() };
    let mut result = session.client.update_settings(&set(url_rules::normalize(previous))).await;
    if let Err(error @ duo_gitlab::Error::Refused { .. }) = &result {
        // GitLab saves only a URL whose host it can resolve, and this one is a memory. Ours must not stay.
        let text = format!("GitLab does not take back {previous} and has no gateway URL now: {error}");
        ctx.reporter.event(gateway, &Event::warning("PreviousURLRefused", text)).await;
        ctx.may_write().map_err(Failure::Reconcile)?;
        result = session.client.update_settings(&set(None)).await;
    }
    session.changed().await;
    result?;
    Ok(())
}

/// Tells in the status what the deletion waits for.
async fn report(gateway: &AIGateway, finding: Finding, ctx: &Context) -> Result<(), Error> {
    let api: Api<AIGateway> = Api::namespaced(ctx.kube.clone(), &gateway.namespace().unwrap_or_default());
    let before = gateway.status.clone().unwrap_or_default();
    let findings = ready::gateway(vec![finding]);
    let status = AIGatewayStatus {
        observed_generation: gateway.metadata.generation,
        conditions: conditions::merge(&before.conditions, &findings, gateway.metadata.generation, &now()),
        ..before.clone()
    };
    let report = Report { before: &before.conditions, findings: &findings, status: &status, events: &[] };
    ctx.reporter.write(&api, gateway, &report).await.map(|_| ())
}

/// Models and assignments of this gateway that hold something in GitLab: names of those on their way out, number of the
/// others.
fn dependents(gateway: &AIGateway, ctx: &Context) -> (Vec<String>, usize) {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    fn held<K: Resource<DynamicType = ()>>(object: &K) -> Option<(bool, String)> {
        let holds = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        let leaves = object.meta().deletion_timestamp.is_some();
        holds.then(|| (leaves, format!("{} {}", K::kind(&()), object.name_any())))
    }
    let models = ctx.models_of(&namespace, &name);
    let assignments = ctx.assignments_of(&namespace, &name);
    let all: Vec<(bool, String)> = models
        .iter()
        .filter_map(|model| held(model.as_ref()))
        .chain(assignments.iter().filter_map(|item| held(item.as_ref())))
        .collect();
    let staying = all.iter().filter(|(leaves, _)| !leaves).count();
    (all.into_iter().filter_map(|(leaves, name)| leaves.then_some(name)).collect(), staying)
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
    ctx.contests.forget(gateway);
    ctx.lookout.forget(&session::key(gateway)).await;
    Ok(Next::OnChange)
}
