//! GitLab's side of an AIGateway: token, gateway URL and timeout, health check.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use duo_api::annotations::{PREVIOUS_AGENT_PLATFORM, PREVIOUS_GATEWAY_URL};
use duo_api::condition::{GATEWAY_REACHABLE, GATEWAY_URL_CONFIGURED, TOKEN_VALID};
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ManagementPolicy};
use duo_core::conditions::{self, Finding};
use duo_core::observed::{Instance, Probe, Settings};
use duo_core::ownership::Home;
use duo_core::plan::{self, Operation};
use duo_core::rights::{self, Facts};
use duo_core::url_rules::gateway_url;
use duo_core::{claims, durations, health, url_rules};
use duo_gitlab::SettingsInput;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, ResourceExt};

use super::cluster::Cluster;
use crate::contests::Fights;
use crate::context::{Context, claimant, held_id, home_mark, made_at, told_home};
use crate::convert;
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session::{Denied, Session, SessionError, Written};

/// How soon a refused token or a missing licence is looked at again: both are cured inside GitLab, which tells nobody.
pub(super) const ACCESS_RETRY: Duration = Duration::from_secs(30);

/// What became of GitLab's side.
#[derive(Default)]
pub(super) struct GitLab {
    pub findings: Vec<Finding>,
    pub events: Vec<Event>,
    pub version: Option<String>,
    pub instance_id: Option<String>,
    /// What is not written although it differs.
    pub plan: Vec<String>,
    /// What token, licence and add-ons allow, if that could be read.
    pub facts: Option<Arc<Facts>>,
    /// GitLab's health check, as far as it ran.
    pub probes: Arc<Vec<Probe>>,
    /// GitLab's address of the self-hosted Agent Platform service.
    pub agent_service: Option<String>,
    pub testing_terms_accepted: Option<bool>,
    pub next: Next,
}

/// How old an answer may be that is asked for once in each period: a moment less than one, or the next period would take
/// that of the one before.
pub(super) fn once_a_period(resync: Duration) -> Duration {
    resync - resync / 8
}

impl GitLab {
    fn stop(finding: Finding, next: Next) -> Self {
        Self { findings: vec![finding], next, ..Self::default() }
    }
}

pub(super) async fn run(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    cluster: &Cluster,
    ctx: &Context,
) -> Result<GitLab, Error> {
    let declared = Home::new(&gateway.spec.gitlab.url, None);
    if let Some(finding) = claimed(gateway, &declared, ctx) {
        return Ok(GitLab::stop(finding, Next::OnChange));
    }
    let session = match ctx.sessions.open(gateway).await {
        Ok(session) => session,
        Err(SessionError::Input(crate::inputs::InputError::Kube(error))) => return Err(error.into()),
        Err(error) => {
            let finding = Finding::unknown(TOKEN_VALID, error.category(), error.to_string()).by_person();
            return Ok(GitLab::stop(finding, Next::OnChange));
        }
    };
    let silent = gateway.status.as_ref().and_then(|status| conditions::get(&status.conditions, GATEWAY_REACHABLE));
    let max_age = match silent.is_some_and(|told| told.reason == "SilentMode") {
        true => ACCESS_RETRY.min(once_a_period(ctx.resync)),
        false => once_a_period(ctx.resync),
    };
    let facts = match session.access(max_age).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(denied)) => return Ok(refused(denied)),
        Err(error) => return Ok(failed(&error)),
    };
    let instance = match session.observe_period().await {
        Ok(instance) => instance,
        Err(error) => return Ok(failed(&error)),
    };
    let home = identified(gateway, &session, ctx).await;
    note_home(gateway, api, &home).await?;
    if let Some(finding) = claimed(gateway, &home, ctx) {
        return Ok(GitLab {
            findings: vec![rights::token_valid(&facts, crate::rights::today()).finding, finding],
            version: Some(instance.version.clone()),
            facts: Some(facts),
            ..GitLab::default()
        });
    }
    let token = rights::token_valid(&facts, crate::rights::today());
    let mut outcome = GitLab {
        findings: vec![token.finding, health::code_suggestions_model_assigned(&instance)],
        events: super::probes::new_warning(gateway, TOKEN_VALID, token.warning).into_iter().collect(),
        version: Some(instance.version.clone()),
        instance_id: None,
        plan: Vec::new(),
        facts: Some(facts),
        probes: Arc::default(),
        agent_service: instance.settings.as_ref().and_then(|settings| settings.agent_platform_url.clone()),
        testing_terms_accepted: Some(instance.testing_terms_accepted()),
        next: Next::OnChange,
    };
    let was_settled = gateway.status.as_ref().is_some_and(|status| {
        [TOKEN_VALID, GATEWAY_URL_CONFIGURED].iter().all(|type_| conditions::is_true(&status.conditions, type_))
    });
    let before = outcome.events.len();
    let configured = settings(gateway, api, cluster, &session, Arc::clone(&instance), ctx, &mut outcome).await?;
    super::agent_platform::run(gateway, api, cluster, &session, &instance, ctx, &mut outcome).await?;
    // A GitLab that was away or had to be told again may be another one, with another instance id.
    let fresh = !was_settled || outcome.events.len() != before;
    super::probes::run(gateway, &session, configured, fresh, ctx, &mut outcome).await;
    Ok(outcome)
}

/// The token does not do. A licence that does not do is said twice: it is why the token has no rights.
fn refused(denied: Denied) -> GitLab {
    let finding = Finding::fails(TOKEN_VALID, denied.reason, denied.message).by_person();
    let mut outcome = GitLab::stop(finding, Next::After(ACCESS_RETRY));
    if let Some(facts) = denied.facts.filter(|facts| facts.administrator) {
        outcome.findings.push(rights::license_active(Some(&facts), &[], crate::rights::today()).finding);
        outcome.version = Some(facts.version.clone());
        outcome.facts = Some(facts);
    }
    outcome
}

/// GitLab could not be asked.
fn failed(error: &duo_gitlab::Error) -> GitLab {
    let finding = match error {
        duo_gitlab::Error::TokenInvalid { .. }
        | duo_gitlab::Error::TokenLacksRights { .. }
        | duo_gitlab::Error::Forbidden { .. } => {
            Finding::fails(TOKEN_VALID, error.category(), error.to_string()).by_person()
        }
        error if error.is_transient() => Finding::unknown(TOKEN_VALID, error.category(), error.to_string()),
        error => Finding::unknown(TOKEN_VALID, error.category(), error.to_string()).by_person(),
    };
    GitLab::stop(finding, error.into())
}

/// Another, older AIGateway for the same GitLab: two would fight over one URL.
fn claimed(gateway: &AIGateway, home: &Home, ctx: &Context) -> Option<Finding> {
    let others = ctx.stores.gateways.state().into_iter().filter(|other| other.uid() != gateway.uid());
    let others = others.map(|other| (claimant(other.as_ref()), told_home(&other)));
    claims::instance_claimed(&claimant(gateway), home, &gateway.spec.gitlab.url, others)
}

/// The GitLab that is spoken to, with its instance id where another gateway might speak to the same one by another URL.
/// Only the health check tells the id, and it takes seconds: it is asked before the first write, once.
async fn identified(gateway: &AIGateway, session: &Session, ctx: &Context) -> Home {
    let home = session.home();
    if home.is_identified() {
        return home;
    }
    let told = told_home(gateway);
    let alone = ctx.stores.gateways.state().iter().all(|other| other.uid() == gateway.uid());
    if alone || (told.is_identified() && claimed(gateway, &told, ctx).is_none()) {
        return told;
    }
    match session.health(Duration::MAX).await {
        Ok(_) => session.home(),
        Err(error) => {
            tracing::info!(gateway = gateway.name_any(), %error, "GitLab does not tell its instance id");
            told
        }
    }
}

/// Writes down which GitLab this is once its instance id is known. What was noted of another one counts no more.
async fn note_home(gateway: &mut AIGateway, api: &Api<AIGateway>, home: &Home) -> Result<(), Error> {
    if !home.is_identified() {
        return Ok(());
    }
    let mut marks = BTreeMap::from([home_mark(gateway, home)].map(|(name, value)| (name.to_owned(), value)));
    if !made_at(gateway, home) {
        marks.insert(PREVIOUS_GATEWAY_URL.to_owned(), None);
        marks.insert(PREVIOUS_AGENT_PLATFORM.to_owned(), None);
    }
    annotate(gateway, api, &marks).await
}

/// Brings URL and timeout to what is declared. True when GitLab's URL is the declared one.
async fn settings(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    cluster: &Cluster,
    session: &Session,
    instance: Arc<Instance>,
    ctx: &Context,
    outcome: &mut GitLab,
) -> Result<bool, Error> {
    let url = gateway_url(gateway);
    let timeout = gateway.spec.request_timeout.as_deref().and_then(durations::seconds);
    let observed = instance.settings.clone().unwrap_or_default();
    let has_timeout = instance.capabilities.timeout_setting;
    let seen_before = gateway.status.as_ref().and_then(|s| s.observed_generation) == gateway.metadata.generation;
    if timeout.is_some() && !has_timeout && !seen_before {
        outcome.events.push(Event::warning(
            "RequestTimeoutIgnored",
            format!("spec.requestTimeout: GitLab {} has no such setting (18.7 or later has)", instance.version),
        ));
    }
    let operation = plan::plan_settings(&observed, &url, timeout, has_timeout);
    let before = gateway.status.clone().unwrap_or_default().conditions;
    let subject = gateway.clone();
    let fights = Fights::new(ctx, &subject, GATEWAY_URL_CONFIGURED, &before);
    fights.looked(operation.as_slice());
    let Some(operation) = operation else {
        remember_previous_url(gateway, api, &observed, &url, &session.home(), ctx).await?;
        outcome.findings.push(fights.standing().unwrap_or_else(|| fights.with_told(configured(&url))));
        return Ok(true);
    };
    let url_is_ours = url_rules::same(observed.gateway_url.as_deref(), Some(&url));
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        outcome.plan = plan::sentences(std::slice::from_ref(&operation));
        outcome.findings.push(
            Finding::fails(
                GATEWAY_URL_CONFIGURED,
                "Drifted",
                format!("managementPolicy is Observe; would {operation}"),
            )
            .by_person(),
        );
        return Ok(url_is_ours);
    }
    if !url_is_ours && !cluster.serves {
        outcome.findings.push(waiting_for_gateway());
        return Ok(false);
    }
    // What is written, and which URL is remembered as the one of before, is decided on what GitLab holds now: another
    // gateway may have let go of this GitLab a moment ago.
    let instance = match session.observe(Duration::ZERO).await {
        Ok(instance) => instance,
        Err(error) => {
            outcome.findings.push(Finding::unknown(GATEWAY_URL_CONFIGURED, error.category(), error.to_string()));
            outcome.next = outcome.next.sooner(Next::from(&error));
            return Ok(url_is_ours);
        }
    };
    let observed = instance.settings.clone().unwrap_or_default();
    let Some(operation) = plan::plan_settings(&observed, &url, timeout, has_timeout) else {
        remember_previous_url(gateway, api, &observed, &url, &session.home(), ctx).await?;
        outcome.findings.push(fights.standing().unwrap_or_else(|| fights.with_told(configured(&url))));
        return Ok(true);
    };
    let url_is_ours = url_rules::same(observed.gateway_url.as_deref(), Some(&url));
    let home = session.home();
    if !url_is_ours && let Some(finding) = not_yet(gateway, cluster, &instance, &home, ctx) {
        outcome.findings.push(finding);
        return Ok(false);
    }
    remember_previous_url(gateway, api, &observed, &url, &home, ctx).await?;
    let written = match fights.judge(operation) {
        Some(operation) => write(session, &operation, &url, &fights, ctx, outcome).await?,
        None => url_is_ours,
    };
    if let Some(contested) = fights.standing() {
        let told = |finding: &Finding| finding.type_ == GATEWAY_URL_CONFIGURED;
        outcome.findings.retain(|finding| !told(finding) || finding.status != duo_api::ConditionStatus::True);
        // what GitLab refused just now stands
        if !outcome.findings.iter().any(told) {
            outcome.findings.push(contested);
        }
    }
    Ok(written)
}

fn configured(url: &str) -> Finding {
    // GitLab refuses a certificate that it does not trust only when it calls.
    let trust = if url.starts_with("https://") { "; GitLab has to trust the certificate shown there" } else { "" };
    Finding::holds(GATEWAY_URL_CONFIGURED, "Configured", format!("GitLab's Local AI gateway URL is {url}{trust}"))
}

fn waiting_for_gateway() -> Finding {
    Finding::unknown(
        GATEWAY_URL_CONFIGURED,
        "WaitingForGateway",
        "GitLab's URL is switched once the gateway's pods are available and serve the configuration",
    )
}

/// Why GitLab is not pointed at the gateway now.
fn not_yet(gateway: &AIGateway, cluster: &Cluster, instance: &Instance, home: &Home, ctx: &Context) -> Option<Finding> {
    if !cluster.serves {
        return Some(waiting_for_gateway());
    }
    // GitLab's own image calls what the request names.
    if gateway.spec.undeclared_models.is_some() || gateway.spec.implementation == Implementation::GitLab {
        return None;
    }
    let models = ctx.models_of(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
    let ids: Vec<String> = models.iter().filter_map(|model| held_id(model, home)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let names: Vec<&str> = models.iter().map(|model| model.spec.display_name.as_str()).collect();
    let undeclared = plan::undeclared_in_use(instance, &ids, &names);
    (!undeclared.is_empty()).then(|| {
        Finding::fails(
            GATEWAY_URL_CONFIGURED,
            "UndeclaredModelsInUse",
            format!(
                "models that no SelfHostedModel declares serve features in GitLab: {}. Declare them (adoptionPolicy: \
                 ByName), or set spec.undeclaredModels to Refuse or Allow",
                undeclared.join(", ")
            ),
        )
        .by_person()
    })
}

/// Writes down, once for each GitLab and before the first write, what its URL was: deletion puts it back.
async fn remember_previous_url(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    observed: &Settings,
    url: &str,
    home: &Home,
    ctx: &Context,
) -> Result<(), Error> {
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        return Ok(());
    }
    let known = gateway.annotations().get(PREVIOUS_GATEWAY_URL).filter(|_| made_at(gateway, home)).cloned();
    // Neither this gateway's URL nor that of another one of ours, which may have lost a claim a moment ago.
    let of_others = ctx.stores.gateways.state().into_iter().map(|other| gateway_url(&other));
    let ours: Vec<String> = of_others.chain([url.to_owned()]).collect();
    let foreign = |found: &String| !ours.iter().any(|url| url_rules::same(Some(found), Some(url)));
    let previous = known.unwrap_or_else(|| observed.gateway_url.clone().filter(foreign).unwrap_or_default());
    let marks: BTreeMap<String, Option<String>> = [(PREVIOUS_GATEWAY_URL, Some(previous)), home_mark(gateway, home)]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    annotate(gateway, api, &marks).await
}

/// Writes annotations where they differ and keeps the object current.
pub(super) async fn annotate(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    marks: &BTreeMap<String, Option<String>>,
) -> Result<(), Error> {
    if marks.iter().all(|(name, value)| gateway.annotations().get(name) == value.as_ref()) {
        return Ok(());
    }
    if let Changed::Now(live) | Changed::Already(live) = metadata::set_annotations(api, gateway, marks).await? {
        *gateway = live;
    }
    Ok(())
}

async fn write(
    session: &Session,
    operation: &Operation,
    url: &str,
    fights: &Fights<'_, AIGateway>,
    ctx: &Context,
    outcome: &mut GitLab,
) -> Result<bool, Error> {
    let Operation::UpdateSettings { gateway_url, timeout_seconds, .. } = operation else { return Ok(false) };
    ctx.may_write()?;
    let input = SettingsInput {
        ai_gateway_url: gateway_url.clone(),
        timeout_seconds: *timeout_seconds,
        ..SettingsInput::default()
    };
    let result = session.client.update_settings(&input).await;
    match &result {
        Ok(now) => session.wrote(Written::Settings(convert::settings(now.clone()))),
        Err(_) => session.changed().await,
    }
    match result {
        Ok(now) if gateway_url.is_none() || url_rules::same(now.ai_gateway_url.as_deref(), Some(url)) => {
            let ours = url_rules::same(now.ai_gateway_url.as_deref(), Some(url));
            let drift = fights.is_drift(operation);
            if fights.wrote(operation) {
                return Ok(ours);
            }
            outcome.events.push(if drift {
                let text = format!("changed in GitLab and put back: {operation}");
                fights.tell(&text);
                Event::normal("DriftCorrected", text)
            } else {
                Event::normal("SettingsUpdated", operation.to_string())
            });
            outcome.findings.push(fights.with_told(configured(url)));
            Ok(ours)
        }
        Ok(now) => {
            outcome.findings.push(Finding::fails(
                GATEWAY_URL_CONFIGURED,
                "NotTaken",
                format!("GitLab kept {} after the update", now.ai_gateway_url.unwrap_or_else(|| "no URL".to_owned())),
            ));
            outcome.next = Next::Backoff(None);
            Ok(false)
        }
        Err(error) => {
            let finding = Finding::fails(GATEWAY_URL_CONFIGURED, error.category(), error.to_string());
            outcome.findings.push(if error.is_transient() { finding } else { finding.by_person() });
            outcome.next = (&error).into();
            Ok(false)
        }
    }
}
