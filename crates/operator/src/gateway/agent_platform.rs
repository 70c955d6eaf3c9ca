//! GitLab's settings of the Agent Platform's service: brought to what is declared, and back to what was there before when
//! it is no longer declared.

use std::collections::BTreeMap;
use std::time::Duration;

use duo_api::annotations::PREVIOUS_AGENT_PLATFORM;
use duo_api::condition::{AGENT_PLATFORM_AVAILABLE, AGENT_PLATFORM_CONFIGURED};
use duo_api::{AIGateway, ConditionStatus, ManagementPolicy};
use duo_core::conditions::{self, Finding};
use duo_core::observed::{Instance, Settings};
use duo_core::plan::{
    self, AgentPlatformBefore, AgentPlatformTarget, Operation, plan_agent_platform, plan_agent_platform_release,
};
use duo_core::url_rules;
use duo_gitlab::SettingsInput;
use kube::{Api, ResourceExt};

use super::cluster::Cluster;
use super::gitlab::{GitLab, annotate};
use crate::contests::Fights;
use crate::context::{Context, made_at};
use crate::error::{Error, Next};
use crate::report::Event;
use crate::session::Session;

/// What was there before the operator's own, in this GitLab.
pub(super) fn before(gateway: &AIGateway, session: &Session) -> Option<AgentPlatformBefore> {
    let text = gateway.annotations().get(PREVIOUS_AGENT_PLATFORM).filter(|_| made_at(gateway, &session.home()))?;
    AgentPlatformBefore::read(text)
}

fn target(gateway: &AIGateway) -> Option<AgentPlatformTarget> {
    let url = url_rules::agent_platform_url(gateway)?;
    Some(AgentPlatformTarget { url, secure: url_rules::agent_platform_secure(gateway)? })
}

/// Brings GitLab's settings there and says so in a condition of its own.
pub(super) async fn run(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    cluster: &Cluster,
    session: &Session,
    instance: &Instance,
    ctx: &Context,
    outcome: &mut GitLab,
) -> Result<(), Error> {
    let mut observed = instance.settings.clone().unwrap_or_default();
    let Some(target) = target(gateway) else {
        return take_back(gateway, api, session, instance, &observed, ctx, outcome).await;
    };
    if !instance.capabilities.agent_platform_url {
        let text = format!(
            "spec.agentPlatform: GitLab {} has no setting for an Agent Platform service (18.4 or later has)",
            instance.version
        );
        outcome.findings.push(Finding::fails(AGENT_PLATFORM_CONFIGURED, "NotSupportedByGitLab", text).by_person());
        return Ok(());
    }
    warn_of_tls(gateway, instance, &target, outcome);
    let operation = plan_agent_platform(&observed, &target, &instance.capabilities);
    let conditions = gateway.status.clone().unwrap_or_default().conditions;
    let subject = gateway.clone();
    let fights = Fights::new(ctx, &subject, AGENT_PLATFORM_CONFIGURED, &conditions);
    fights.looked(operation.as_slice());
    let Some(operation) = operation else {
        note(gateway, api, session, &observed, &target).await?;
        outcome.findings.push(fights.standing().unwrap_or_else(|| fights.with_told(configured(&target))));
        return Ok(());
    };
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        outcome.plan.extend(plan::sentences(std::slice::from_ref(&operation)));
        let text = format!("managementPolicy is Observe; would {operation}");
        outcome.findings.push(Finding::fails(AGENT_PLATFORM_CONFIGURED, "Drifted", text).by_person());
        return Ok(());
    }
    let there = conditions::find(&cluster.findings, AGENT_PLATFORM_AVAILABLE);
    let url_is_ours = url_rules::same(observed.agent_platform_url.as_deref(), Some(&target.url));
    if !url_is_ours && there.is_none_or(|finding| finding.status != ConditionStatus::True) {
        let text = "GitLab is told once the agent platform's pods are available";
        outcome.findings.push(Finding::unknown(AGENT_PLATFORM_CONFIGURED, "WaitingForAgentPlatform", text));
        return Ok(());
    }
    if before(gateway, session).is_none() {
        // What is written down now is what comes back one day: an older look may have missed a click.
        match session.observe(Duration::ZERO).await {
            Ok(fresh) => observed = fresh.settings.clone().unwrap_or_default(),
            Err(error) => {
                failed(&error, outcome);
                return Ok(());
            }
        }
    }
    note(gateway, api, session, &observed, &target).await?;
    if let Some(operation) = fights.judge(operation) {
        match write(session, &operation, ctx).await? {
            Ok(()) => {
                let drift = fights.is_drift(&operation);
                if !fights.wrote(&operation) {
                    outcome.events.push(if drift {
                        let text = format!("changed in GitLab and put back: {operation}");
                        fights.tell(&text);
                        Event::normal("DriftCorrected", text)
                    } else {
                        Event::normal("SettingsUpdated", operation.to_string())
                    });
                }
            }
            Err(error) => {
                failed(&error, outcome);
                return Ok(());
            }
        }
    }
    outcome.findings.push(fights.standing().unwrap_or_else(|| fights.with_told(configured(&target))));
    Ok(())
}

fn configured(target: &AgentPlatformTarget) -> Finding {
    let text = format!("GitLab's Agent Platform service is {}", target.url);
    Finding::holds(AGENT_PLATFORM_CONFIGURED, "Configured", text)
}

fn failed(error: &duo_gitlab::Error, outcome: &mut GitLab) {
    let finding = Finding::fails(AGENT_PLATFORM_CONFIGURED, error.category(), error.to_string());
    outcome.findings.push(if error.is_transient() { finding } else { finding.by_person() });
    outcome.next = outcome.next.sooner(Next::from(error));
}

/// GitLab has no setting for TLS up to 18.9: its own environment decides, and speaks TLS by default.
fn warn_of_tls(gateway: &AIGateway, instance: &Instance, target: &AgentPlatformTarget, outcome: &mut GitLab) {
    let seen = gateway.status.as_ref().and_then(|s| s.observed_generation) == gateway.metadata.generation;
    if !instance.capabilities.agent_platform_secure && !target.secure && !seen {
        let text = format!(
            "spec.agentPlatform: GitLab {} speaks TLS to it unless its own environment has \
             DUO_AGENT_PLATFORM_SERVICE_SECURE=false; set it there, or give spec.agentPlatform.tls",
            instance.version
        );
        outcome.events.push(Event::warning("AgentPlatformTLSNotSettable", text));
    }
}

async fn note(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    session: &Session,
    observed: &Settings,
    target: &AgentPlatformTarget,
) -> Result<(), Error> {
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        return Ok(());
    }
    let note = AgentPlatformBefore::note(before(gateway, session), observed, target);
    annotate(gateway, api, &BTreeMap::from([(PREVIOUS_AGENT_PLATFORM.to_owned(), Some(note.text()))])).await
}

/// It is no longer declared.
async fn take_back(
    gateway: &mut AIGateway,
    api: &Api<AIGateway>,
    session: &Session,
    instance: &Instance,
    observed: &Settings,
    ctx: &Context,
    outcome: &mut GitLab,
) -> Result<(), Error> {
    let Some(before) = before(gateway, session) else { return Ok(()) };
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        return Ok(());
    }
    if let Some(operation) = plan_agent_platform_release(observed, &before, &instance.capabilities) {
        if let Err(error) = write(session, &operation, ctx).await? {
            failed(&error, outcome);
            return Ok(());
        }
        outcome.events.push(Event::normal("SettingsPutBack", operation.to_string()));
    }
    annotate(gateway, api, &BTreeMap::from([(PREVIOUS_AGENT_PLATFORM.to_owned(), None)])).await
}

/// Executes one operation; the inner error is GitLab's.
pub(super) async fn write(
    session: &Session,
    operation: &plan::Operation,
    ctx: &Context,
) -> Result<Result<(), duo_gitlab::Error>, Error> {
    let Operation::UpdateAgentPlatform { url, secure, .. } = operation else { return Ok(Ok(())) };
    ctx.may_write()?;
    let input =
        SettingsInput { agent_platform_url: url.clone(), agent_platform_secure: *secure, ..SettingsInput::default() };
    let result = session.client.update_settings(&input).await;
    session.changed().await;
    Ok(result.map(|_| ()))
}
