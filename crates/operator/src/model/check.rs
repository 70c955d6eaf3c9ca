//! GitLab's connection check of one model, once the gateway serves it.

use std::time::Duration;

use duo_api::annotations::CONFIG_HASH;
use duo_api::condition::{CONFIG_ACCEPTED, CONNECTION_VERIFIED, GATEWAY_URL_CONFIGURED, MODEL_SERVING};
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ManagementPolicy, Platform, SelfHostedModel};
use duo_core::conditions::{self, Finding};
use duo_core::connection::{self, LastCheck, due_in, judge, while_waiting};
use duo_core::inputs::Kind;
use duo_core::observed::Instance;
use duo_core::{inputs, labels, plan};
use kube::ResourceExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::token::ModelToken;
use super::{Outcome, serving};
use crate::context::{Context, now};
use crate::convert;
use crate::error::{Error, Next};
use crate::session::Session;

/// A check that did not pass is repeated after this many seconds, or after the resync period if that is shorter.
const RETRY_SECONDS: i64 = 30;
/// A model that is only too slow for GitLab's check is asked so much less often.
const SLOW_RETRIES: i64 = 10;

pub(super) async fn run(
    model: &SelfHostedModel,
    gateway: &AIGateway,
    session: &Session,
    instance: &Instance,
    token: &ModelToken,
    ctx: &Context,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let fingerprint = fingerprint(model, gateway, ctx).await?;
    let before = model.status.clone().unwrap_or_default();
    let last_finding = || last(model);
    let last = LastCheck {
        fingerprint: before.checked.clone(),
        at: ctx.attempts.last(
            model,
            before
                .checked_at
                .as_deref()
                .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                .map(jiff::Timestamp::as_second),
        ),
        // A model that fails its users is asked again soon, whatever it answered hours ago.
        passed: conditions::is_true(&before.conditions, CONNECTION_VERIFIED)
            && !serving::is_failing(model, gateway, ctx).await?,
    };
    let retry = RETRY_SECONDS.min(i64::try_from(ctx.resync.as_secs()).unwrap_or(i64::MAX)).max(1);
    let retry = if is_only_slow(&before.conditions) { retry * SLOW_RETRIES } else { retry };
    let due = due_in(&last, &fingerprint, jiff::Timestamp::now().as_second(), retry);
    // A verdict that still holds stays while a configuration is on its way: a new model has no other one asked again.
    let url_is_ours =
        gateway.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, GATEWAY_URL_CONFIGURED));
    let settled = last.passed && due > 0 && url_is_ours;
    if !settled && let Some(waiting) = not_yet(model, gateway, ctx).await? {
        outcome.findings.push(while_waiting(last_finding(), waiting));
        return Ok(());
    }
    if due > 0 {
        outcome.findings.extend(last_finding());
        outcome.look_again(Duration::from_secs(due.unsigned_abs()));
        return Ok(());
    }
    if gateway.spec.management_policy == ManagementPolicy::Observe {
        // The check writes nothing, but it needs a mutation and costs tokens: Observe keeps its hands still.
        return Ok(());
    }
    if crate::gateway::declared_hash(gateway, ctx).await? != gateway.status.as_ref().and_then(|s| s.config_hash.clone())
    {
        // A key changed a moment ago and the pods still have the old one: a check would judge that.
        let taking_over = waiting("the gateway is taking over a new configuration");
        outcome.findings.push(while_waiting(last_finding(), taking_over));
        return Ok(());
    }
    let desired = plan::desired_model(&model.spec, &instance.capabilities);
    match session.client.connection_check(&convert::model_input(&desired, token.to_give())).await {
        Ok(probe) => {
            let finding = judge(probe.success, probe.message.as_deref().unwrap_or_default());
            if finding.status != duo_api::ConditionStatus::True {
                outcome.look_again(Duration::from_secs(retry.unsigned_abs()));
            }
            ctx.attempts.note(model, jiff::Timestamp::now().as_second());
            if connection::is_news(before.checked.as_deref() == Some(&fingerprint), last_finding().as_ref(), &finding) {
                outcome.checked_at = Some(now());
            }
            outcome.findings.push(finding);
            outcome.checked = Some(fingerprint);
        }
        Err(error) => {
            outcome.findings.push(Finding::unknown(CONNECTION_VERIFIED, error.category(), error.to_string()));
            outcome.next = outcome.next.sooner(Next::from(&error));
        }
    }
    Ok(())
}

/// GitLab's check is too short for it, and the gateway's own one passed: GitLab's need not be made again so soon.
fn is_only_slow(conditions: &[duo_api::Condition]) -> bool {
    let reason = |type_| conditions::get(conditions, type_).map(|condition| condition.reason.as_str());
    reason(CONNECTION_VERIFIED) == Some("CheckTimedOut") && reason(MODEL_SERVING) == Some("CheckPassed")
}

fn waiting(message: &str) -> Finding {
    Finding::unknown(CONNECTION_VERIFIED, "WaitingForGateway", format!("Not checked yet: {message}"))
}

/// What GitLab would ask is not served yet. A check now would blame the model for it.
async fn not_yet(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Result<Option<Finding>, Error> {
    let status = gateway.status.clone().unwrap_or_default();
    for type_ in [CONFIG_ACCEPTED, GATEWAY_URL_CONFIGURED] {
        if !conditions::is_true(&status.conditions, type_) {
            return Ok(Some(waiting(&format!("{type_} of AIGateway {} is not True", gateway.name_any()))));
        }
    }
    if gateway.spec.implementation == Implementation::GitLab {
        // It knows no models: GitLab names one with each request.
        return Ok(None);
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let rendered = ctx.fresh.get(Kind::ConfigMap, &namespace, &labels::config_map(&gateway.name_any())).await?;
    let Some(rendered) = rendered else { return Ok(Some(waiting("the gateway has no configuration"))) };
    if rendered.annotations.get(CONFIG_HASH) != status.config_hash.as_ref() {
        return Ok(Some(waiting("the gateway is taking over a new configuration")));
    }
    let served = rendered.gateway_config().is_some_and(|config| {
        let key = duo_gateway_config::model_key(
            model.spec.family.key(),
            model.spec.endpoint.as_deref(),
            &model.spec.identifier,
        );
        config.models.iter().any(|served| served.key() == key)
    });
    Ok(if served { None } else { Some(waiting("the gateway does not serve this model yet")) })
}

/// Changes when something changed that the check would notice. Secrets enter by version, never by value.
async fn fingerprint(model: &SelfHostedModel, gateway: &AIGateway, ctx: &Context) -> Result<String, Error> {
    let namespace = model.namespace().unwrap_or_default();
    let (spec, providers) = (&model.spec, gateway.spec.providers.clone().unwrap_or_default());
    let mut parts = vec![
        spec.family.key().to_owned(),
        spec.identifier.clone(),
        spec.endpoint.clone().unwrap_or_default(),
        format!("{:?}", gateway.spec.implementation),
        json!([&spec.connection, &spec.mirrors, &spec.fallbacks, &gateway.spec.proxy]).to_string(),
    ];
    let mut references = inputs::model_references(spec);
    let uses = |platform| spec.platform == platform || spec.fallbacks.iter().any(|item| item.platform == platform);
    if uses(Platform::Bedrock) {
        parts.push(json!(&providers.bedrock).to_string());
        references.extend(inputs::aws_secret(&gateway.spec).map(|r| (inputs::Kind::Secret, r.name.clone())));
    }
    if uses(Platform::VertexAI) {
        parts.push(json!(&providers.vertex_ai).to_string());
        let credentials = providers.vertex_ai.and_then(|vertex| vertex.credentials_secret_ref);
        references.extend(credentials.map(|r| (inputs::Kind::Secret, r.name)));
    }
    for (kind, name) in references {
        parts.extend(crate::inputs::version(&ctx.fresh, &namespace, kind, &name).await?);
    }
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    Ok(hex::encode(&hash.finalize()[..16]))
}

/// The finding of the last check, if there was one.
pub(super) fn last(model: &SelfHostedModel) -> Option<Finding> {
    conditions::get(&model.status.as_ref()?.conditions, CONNECTION_VERIFIED).map(kept)
}

/// The condition of the last check, kept until the next one is due.
fn kept(condition: &duo_api::Condition) -> Finding {
    use duo_api::ConditionStatus::{False, True, Unknown};
    // Reasons come back as the static words they were written with.
    let reason = [
        "ConnectionVerified",
        "ModelRefused",
        "ConnectionCheckFailed",
        "NoInstanceToken",
        "CheckTimedOut",
        "CheckInconclusive",
        "GatewayURLNotConfigured",
        "NotObserved",
    ]
    .into_iter()
    .find(|word| *word == condition.reason)
    .unwrap_or("CheckedBefore");
    let message = condition.message.clone();
    match condition.status {
        True => Finding::holds(CONNECTION_VERIFIED, reason, message),
        False if reason == "ModelRefused" => Finding::fails(CONNECTION_VERIFIED, reason, message).by_person(),
        False => Finding::fails(CONNECTION_VERIFIED, reason, message),
        Unknown => Finding::unknown(CONNECTION_VERIFIED, reason, message),
    }
}
