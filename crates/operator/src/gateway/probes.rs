//! GitLab's own health check of the gateway: reachability, licence, instance id.

use std::time::Duration;

use duo_api::AIGateway;
use duo_api::condition::{CONNECTION_VERIFIED, LICENSE_ACTIVE};
use duo_core::conditions::{self, Finding};
use duo_core::health;
use kube::ResourceExt;

use super::gitlab::{GitLab, gateway_url};
use crate::context::Context;
use crate::error::Next;
use crate::report::Event;
use crate::session::Session;

/// How soon a health check that found something wrong is repeated.
const HEALTH_RETRY: Duration = Duration::from_secs(15);

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
    let judge = |probes: &[duo_core::observed::Probe]| {
        (health::gateway_reachable(probes, &url, checked), health::license_active(probes))
    };
    let holds = |finding: &Finding| finding.status == duo_api::ConditionStatus::True;
    let mut known = session.last_health().await;
    if configured {
        let good = known.as_ref().is_some_and(|probes| {
            let (reachable, license) = judge(probes);
            holds(&reachable) && holds(&license.finding)
        });
        let max_age = match (fresh, good) {
            (true, _) => Duration::ZERO,
            (false, true) => ctx.resync,
            (false, false) => HEALTH_RETRY,
        };
        match session.health(max_age).await {
            Ok(probes) => known = Some(probes),
            Err(error) => {
                outcome.events.push(Event::warning("HealthCheckFailed", error.to_string()));
                outcome.next = outcome.next.sooner((&error).into());
            }
        }
    }
    let probes = known.unwrap_or_default();
    let (reachable, license) = judge(&probes);
    if configured && !(holds(&reachable) && holds(&license.finding)) {
        outcome.next = outcome.next.sooner(Next::After(HEALTH_RETRY));
    }
    outcome.instance_id = health::instance_id(&probes);
    outcome.findings.push(reachable);
    outcome.findings.push(license.finding.clone());
    let known_reason = gateway
        .status
        .as_ref()
        .and_then(|status| conditions::get(&status.conditions, LICENSE_ACTIVE))
        .map(|condition| condition.reason.as_str());
    outcome.events.extend(
        license
            .warning
            .filter(|(reason, _)| known_reason != Some(*reason))
            .map(|(reason, message)| Event::warning(reason, message)),
    );
}
