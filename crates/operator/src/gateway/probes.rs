//! GitLab's own health check of the gateway: reachability, licence, Agent Platform, instance id; and the operator's own
//! look at the gateway where GitLab's did not pass.

use std::sync::Arc;
use std::time::Duration;

use duo_api::AIGateway;
use duo_api::condition::{AGENT_PLATFORM_REACHABLE, CONNECTION_VERIFIED, LICENSE_ACTIVE};
use duo_core::conditions::{self, Finding};
use duo_core::health::{self, Judgement, OwnProbe};
use duo_core::observed::Probe;
use duo_core::rights;
use duo_core::url_rules::gateway_url;
use kube::ResourceExt;

use super::gitlab::{ACCESS_RETRY, GitLab, once_a_period};
use crate::context::Context;
use crate::error::Next;
use crate::report::Event;
use crate::session::Session;

/// A gateway that does not answer its own health page in this time is not reached.
const OWN_PROBE: Duration = Duration::from_secs(3);

/// Runs the health check where it is due and adds what it says. `fresh`: what was seen before counts no more.
pub(super) async fn run(
    gateway: &AIGateway,
    session: &Session,
    configured: bool,
    fresh: bool,
    ctx: &Context,
    outcome: &mut GitLab,
) {
    let url = gateway_url(gateway);
    let checked = ctx
        .models_of(&gateway.namespace().unwrap_or_default(), &gateway.name_any())
        .iter()
        .any(|model| model.status.as_ref().is_some_and(|s| conditions::is_true(&s.conditions, CONNECTION_VERIFIED)));
    let facts = outcome.facts.clone();
    let license = |probes: &[Probe]| rights::license_active(facts.as_deref(), probes, crate::rights::today());
    let agents =
        |probes: &[Probe], outcome: &GitLab| health::agent_platform_reachable(probes, outcome.agent_service.as_deref());
    let good = |probes: &[Probe], outcome: &GitLab| {
        holds(&health::gateway_reachable(probes, &url, checked, None))
            && holds(&license(probes).finding)
            && agents(probes, outcome).is_none_or(|finding| holds(&finding))
    };
    let before = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let retry = health::retry_in(before, jiff::Timestamp::now());
    let mut known = session.last_health().await;
    if configured {
        let max_age = match (fresh, known.as_ref().is_some_and(|probes| good(probes, outcome))) {
            (true, _) => Duration::ZERO,
            (false, true) => once_a_period(ctx.resync),
            (false, false) => retry.min(ctx.resync),
        };
        match session.health(max_age).await {
            Ok(probes) => known = Some(probes),
            Err(error) => {
                outcome.events.push(Event::warning("HealthCheckFailed", error.to_string()));
                outcome.next = outcome.next.sooner((&error).into());
            }
        }
    }
    if configured && agents_news(gateway, &agents(known.as_deref().map_or(&[], Vec::as_slice), outcome)) {
        known = one_side(session, known, outcome).await;
    }
    let probes: Arc<Vec<Probe>> = known.unwrap_or_default();
    if configured && !good(&probes, outcome) {
        outcome.next = outcome.next.sooner(Next::After(retry));
    }
    outcome.instance_id = health::instance_id(&probes);
    let reachable = health::gateway_reachable(&probes, &url, false, None);
    let own = if holds(&reachable) || !configured || ctx.pods_assumed {
        None
    } else {
        Some(own_probe(&ctx.http, &url).await)
    };
    if facts.as_deref().is_some_and(|facts| facts.silent) {
        outcome.findings.push(health::silent_mode());
        // It is switched off inside GitLab, which tells nobody.
        outcome.next = outcome.next.sooner(Next::After(ACCESS_RETRY));
    } else {
        outcome.findings.push(health::gateway_reachable(&probes, &url, checked, own.as_ref()));
    }
    outcome.findings.extend(agents(&probes, outcome));
    let Judgement { finding, warning } = license(&probes);
    outcome.findings.push(finding);
    outcome.events.extend(new_warning(gateway, LICENSE_ACTIVE, warning));
    outcome.probes = probes;
}

/// Whether GitLab's settings name an Agent Platform service of which its health check says nothing, unlike before: one of
/// the two was asked before the other changed.
fn agents_news(gateway: &AIGateway, now: &Option<Finding>) -> bool {
    let unprobed = |reason: &str| reason == "NotProbed";
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let told = conditions::get(conditions, AGENT_PLATFORM_REACHABLE).is_some_and(|told| unprobed(&told.reason));
    now.as_ref().is_some_and(|now| unprobed(now.reason)) && !told
}

/// Asks for the health check anew, and where that says nothing of the service either, for the settings: `Ready` is judged
/// by one side of a change.
async fn one_side(session: &Session, known: Option<Arc<Vec<Probe>>>, outcome: &mut GitLab) -> Option<Arc<Vec<Probe>>> {
    let Ok(probes) = session.health(Duration::ZERO).await else { return known };
    let judged = health::agent_platform_reachable(&probes, outcome.agent_service.as_deref());
    if judged.is_some_and(|finding| finding.reason == "NotProbed")
        && let Ok(instance) = session.observe(Duration::ZERO).await
    {
        outcome.agent_service = instance.settings.as_ref().and_then(|settings| settings.agent_platform_url.clone());
    }
    Some(probes)
}

fn holds(finding: &Finding) -> bool {
    finding.status == duo_api::ConditionStatus::True
}

/// The warning that goes with a condition, once: not while the condition has that reason already.
pub(super) fn new_warning(gateway: &AIGateway, type_: &str, warning: Option<(&'static str, String)>) -> Option<Event> {
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let known = conditions::get(conditions, type_).map(|condition| condition.reason.as_str());
    warning.filter(|(reason, _)| known != Some(*reason)).map(|(reason, message)| Event::warning(reason, message))
}

/// Calls the gateway at the URL that GitLab calls. A certificate that only GitLab trusts counts as reached: the answer
/// to whether somebody is there is yes.
async fn own_probe(http: &reqwest::Client, url: &str) -> OwnProbe {
    match http.get(format!("{url}/monitoring/healthz")).timeout(OWN_PROBE).send().await {
        Ok(_) => OwnProbe::Reached,
        Err(error) if innermost(&error).contains("certificate") => OwnProbe::Reached,
        Err(error) if error.is_timeout() => OwnProbe::Failed("no answer in 3 s".to_owned()),
        Err(error) => OwnProbe::Failed(innermost(&error)),
    }
}

/// The innermost cause, without the URL.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
