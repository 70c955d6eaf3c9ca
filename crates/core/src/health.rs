//! GitLab's health check, probe by probe, as conditions.
//!
//! The overall `success` is of no use: on 19.x it is false merely for lack of a tagged runner. Texts are those of
//! GitLab 18.9 and 19.x.

use std::time::Duration;

use duo_api::condition::{
    AGENT_PLATFORM_REACHABLE, CODE_SUGGESTIONS_MODEL_ASSIGNED, Condition, GATEWAY_REACHABLE, GATEWAY_URL_CONFIGURED,
    LICENSE_ACTIVE,
};
use duo_api::instance::ProbeStatus;

use crate::conditions::{self, Finding};
use crate::observed::{Instance, Probe};
use crate::url_rules;

/// How soon a health check that found something wrong is repeated, which takes GitLab seconds.
const RETRY: Duration = Duration::from_secs(15);
/// The same while what it says is new.
const RETRY_NEW: Duration = Duration::from_secs(2);
/// For how long that is.
const NEW: Duration = Duration::from_secs(30);

/// What the health check says of one thing, and an event that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The condition.
    pub finding: Finding,
    /// Warning event: (reason, message).
    pub warning: Option<(&'static str, String)>,
}

impl From<Finding> for Judgement {
    fn from(finding: Finding) -> Self {
        Self { finding, warning: None }
    }
}

/// Texts by which Rails' URL blocker refuses an address; GitLab's real AI calls allow private addresses, the probe
/// does not (GitLab 18.9).
const BLOCKER_WORDS: [&str; 5] = [
    "Requests to the local network are not allowed",
    "Requests to localhost are not allowed",
    "Requests to loopback addresses are not allowed",
    "Requests to the link local network are not allowed",
    "is blocked",
];

/// What the operator saw when it called the gateway itself, at the URL that GitLab calls. Asked only where GitLab's own
/// probe did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnProbe {
    /// It answered.
    Reached,
    /// Why not.
    Failed(String),
}

impl OwnProbe {
    /// What it adds to GitLab's words: whether GitLab cannot reach the gateway or nobody can.
    fn told(own: Option<&Self>) -> String {
        match own {
            None => String::new(),
            Some(Self::Reached) => {
                "; the operator reaches it at that URL: look at what is between GitLab and the gateway \
                                    (DNS, firewall, proxy, GitLab's outbound settings)"
                    .to_owned()
            }
            Some(Self::Failed(why)) => format!(
                "; the operator does not reach it at that URL either ({why}): look at Service, Ingress, DNS and \
                 certificate, and at spec.url"
            ),
        }
    }
}

/// How soon a health check that found something wrong is repeated. `before`: the gateway's conditions.
///
/// Often at first: a new gateway's pods are ready a moment before the cluster leads to them, and who mends something looks.
pub fn retry_in(before: &[Condition], now: jiff::Timestamp) -> Duration {
    let since =
        conditions::get(before, GATEWAY_REACHABLE).map(|told| told.last_transition_time.parse::<jiff::Timestamp>());
    let age = match since {
        Some(Ok(since)) => Duration::try_from(now.duration_since(since)).unwrap_or_default(),
        Some(Err(_)) => Duration::MAX,
        None => Duration::ZERO,
    };
    if age < NEW { RETRY_NEW } else { RETRY }
}

/// Whether GitLab reaches the gateway: the host probe for our URL, else a passed connection check.
pub fn gateway_reachable(
    probes: &[Probe],
    gateway_url: &str,
    connection_check_passed: bool,
    own: Option<&OwnProbe>,
) -> Finding {
    let probe = probes.iter().find(|probe| is_host_probe_of(probe, gateway_url));
    let nobody = matches!(own, Some(OwnProbe::Failed(_)));
    match probe {
        Some(probe) if probe.success => Finding::holds(GATEWAY_REACHABLE, "Reachable", one_line(&probe.message)),
        // A check that passed before says nothing of now, when GitLab really tried and the operator fails, too.
        found if connection_check_passed && (!nobody || found.is_none_or(|probe| is_blocked(&probe.message))) => {
            Finding::holds(GATEWAY_REACHABLE, "ConnectionCheckPassed", "GitLab reached a model through the gateway")
        }
        Some(probe) if is_blocked(&probe.message) => Finding::unknown(
            GATEWAY_REACHABLE,
            "ProbeBlocked",
            format!(
                "GitLab's probe may not ask private addresses ({}); real calls may. Allow local requests in GitLab's \
                 outbound settings to let the probe pass{}",
                one_line(&probe.message),
                OwnProbe::told(own)
            ),
        ),
        Some(probe) => {
            let reason = if nobody { "NobodyReachesGateway" } else { "GatewayUnreachable" };
            let text = format!("{}{}", one_line(&probe.message), OwnProbe::told(own));
            Finding::fails(GATEWAY_REACHABLE, reason, text)
        }
        None => Finding::unknown(
            GATEWAY_REACHABLE,
            "NotProbed",
            format!("GitLab's health check has not probed the gateway{}", OwnProbe::told(own)),
        ),
    }
}

/// GitLab in Silent Mode reaches nobody with a question to a model, and its probe, which only reads, does not notice.
pub fn silent_mode() -> Finding {
    Finding::fails(
        GATEWAY_REACHABLE,
        "SilentMode",
        "GitLab is in Silent Mode and sends no question to the gateway; an administrator of GitLab has to switch it off \
         (Admin area, Settings, General, Silent Mode)",
    )
    .by_person()
}

/// Refused for the kind of address, which real calls are not. A name that does not resolve is also "blocked", for all calls.
fn is_blocked(message: &str) -> bool {
    BLOCKER_WORDS.iter().any(|words| message.contains(words)) && !message.contains("cannot be resolved")
}

fn is_host_probe_of(probe: &Probe, gateway_url: &str) -> bool {
    probe.name == "host_probe" && host_of(gateway_url).is_some_and(|host| probe.message.contains(&host))
}

/// Whether the probe is of the self-hosted Agent Platform service at this `host:port`. On 19.x the cloud-connected one has
/// the same name.
fn is_agent_probe_of(probe: &Probe, service: &str) -> bool {
    probe.name == "duo_agent_platform_probe" && probe.message.contains(service)
}

/// Whether GitLab reaches the self-hosted Agent Platform service; `None` where GitLab has no address of one.
pub fn agent_platform_reachable(probes: &[Probe], service: Option<&str>) -> Option<Finding> {
    let service = service.filter(|service| !service.is_empty())?;
    Some(match probes.iter().find(|probe| is_agent_probe_of(probe, service)) {
        Some(probe) if probe.success => {
            Finding::holds(AGENT_PLATFORM_REACHABLE, "Operational", one_line(&probe.message))
        }
        Some(probe) => Finding::fails(
            AGENT_PLATFORM_REACHABLE,
            "NotOperational",
            format!("{} TLS has to be on or off on both sides alike", one_line(&probe.message)),
        ),
        None => Finding::unknown(
            AGENT_PLATFORM_REACHABLE,
            "NotProbed",
            format!("GitLab's health check has not probed the Agent Platform service at {service}"),
        ),
    })
}

/// Longest list of probes that is shown; GitLab 19.x has about a dozen.
const MOST_PROBES: usize = 64;
/// Longest text of a probe that is shown, in characters.
const LONGEST_MESSAGE: usize = 512;

/// All probes for the status, each with the condition that it decides. Those without one are shown and not judged: on
/// 19.x some fail on every instance without a runner, or behind a firewall.
pub fn shown(probes: &[Probe], gateway_url: &str, agent_service: Option<&str>) -> Vec<ProbeStatus> {
    let condition = |probe: &Probe| match probe.name.as_str() {
        "ai_gateway_url_presence_probe" => Some(GATEWAY_URL_CONFIGURED),
        "code_suggestions_license_probe" => Some(LICENSE_ACTIVE),
        _ if is_host_probe_of(probe, gateway_url) => Some(GATEWAY_REACHABLE),
        _ if agent_service.is_some_and(|service| is_agent_probe_of(probe, service)) => Some(AGENT_PLATFORM_REACHABLE),
        _ => None,
    };
    probes
        .iter()
        .take(MOST_PROBES)
        .map(|probe| ProbeStatus {
            name: probe.name.clone(),
            passed: probe.success,
            message: one_line(&probe.message).chars().take(LONGEST_MESSAGE).collect(),
            condition: condition(probe).map(ToOwned::to_owned),
        })
        .collect()
}

/// Whether the licence covers Duo, by the code-suggestions probe alone; [`crate::rights`] knows more.
pub fn license_probe(probes: &[Probe]) -> Judgement {
    let Some(probe) = probes.iter().find(|probe| probe.name == "code_suggestions_license_probe") else {
        return Finding::unknown(LICENSE_ACTIVE, "NotProbed", "GitLab's health check has not probed the licence")
            .into();
    };
    let message = one_line(&probe.message);
    if probe.success {
        return Finding::holds(LICENSE_ACTIVE, "LicenseActive", message).into();
    }
    // The probe judges the token's own user, who is often an administrator without a Duo seat.
    if probe.message.contains("you lack the necessary permissions") {
        return Judgement {
            finding: Finding::holds(LICENSE_ACTIVE, "TokenUserHasNoSeat", message.clone()),
            warning: Some((
                "TokenUserHasNoSeat",
                format!("{message} The licence is active; the user of the operator's token only has no Duo seat"),
            )),
        };
    }
    Finding::fails(LICENSE_ACTIVE, "LicenseInactive", message).by_person().into()
}

/// Whether a self-hosted model is assigned to code suggestions; computed, and it does not lower the gateway's Ready.
pub fn code_suggestions_model_assigned(instance: &Instance) -> Finding {
    let unassigned: Vec<&str> = ["code_completions", "code_generations"]
        .into_iter()
        .filter(|key| !instance.feature(key).is_some_and(|row| row.provider == "self_hosted" && row.model_id.is_some()))
        .collect();
    if unassigned.is_empty() {
        Finding::holds(
            CODE_SUGGESTIONS_MODEL_ASSIGNED,
            "Assigned",
            "Code completion and code generation have a self-hosted model",
        )
    } else {
        Finding::fails(
            CODE_SUGGESTIONS_MODEL_ASSIGNED,
            "NotAssigned",
            format!("No self-hosted model for {}; declare a FeatureAssignment", unassigned.join(", ")),
        )
    }
}

/// The instance id, from the details of whichever probe has one.
pub fn instance_id(probes: &[Probe]) -> Option<String> {
    probes.iter().find_map(|probe| probe.instance_id.clone()).filter(|id| !id.is_empty())
}

fn host_of(url: &str) -> Option<String> {
    url::Url::parse(&url_rules::normalize(url)?).ok()?.host_str().map(ToOwned::to_owned)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use duo_api::ConditionStatus::{False, True, Unknown};

    const URL: &str = "http://duo.gitlab-duo.svc:5052";

    fn probe(name: &str, success: bool, message: &str) -> Probe {
        Probe { name: name.into(), success, message: message.into(), instance_id: None }
    }

    #[test]
    fn what_has_gone_wrong_just_now_is_looked_at_again_soon() {
        let now: jiff::Timestamp = "2026-11-24T12:01:00Z".parse().unwrap();
        let told = |since: &str| {
            let finding = Finding::fails(GATEWAY_REACHABLE, "GatewayUnreachable", "refused");
            conditions::merge(&[], &[finding], None, since)
        };
        let cases = [
            (Vec::new(), RETRY_NEW),
            (told("2026-11-24T12:00:55Z"), RETRY_NEW),
            (told("2026-11-24T12:00:31Z"), RETRY_NEW),
            (told("2026-11-24T12:00:30Z"), RETRY),
            (told("2026-10-24T12:00:30Z"), RETRY),
            (told("long ago"), RETRY),
        ];
        for (before, expected) in cases {
            assert_eq!(retry_in(&before, now), expected, "{before:?}");
        }
    }

    #[test]
    fn the_host_probe_of_our_gateway_decides() {
        let ours = |ok, text: &str| {
            vec![probe("host_probe", false, "customers.gitlab.com connection failed"), probe("host_probe", ok, text)]
        };
        let cases = [
            (ours(true, "duo.gitlab-duo.svc reachable."), false, True, "Reachable"),
            (
                ours(false, "duo.gitlab-duo.svc connection failed: refused.\n\nCheck the firewall"),
                false,
                False,
                "GatewayUnreachable",
            ),
            (ours(false, "duo.gitlab-duo.svc connection failed: refused"), true, True, "ConnectionCheckPassed"),
            (
                ours(false, "duo.gitlab-duo.svc connection failed: Requests to the local network are not allowed."),
                false,
                Unknown,
                "ProbeBlocked",
            ),
            (
                ours(
                    false,
                    "duo.gitlab-duo.svc connection failed: URL is blocked: Host cannot be resolved or invalid.",
                ),
                false,
                False,
                "GatewayUnreachable",
            ),
            (vec![], false, Unknown, "NotProbed"),
            (vec![], true, True, "ConnectionCheckPassed"),
        ];
        for (probes, checked, status, reason) in cases {
            let finding = gateway_reachable(&probes, URL, checked, None);
            assert_eq!((finding.status, finding.reason), (status, reason), "{probes:?}");
        }
    }

    #[test]
    fn a_token_user_without_a_seat_does_not_mean_no_licence() {
        let name = "code_suggestions_license_probe";
        let no_seat = license_probe(&[probe(
            name,
            false,
            "License includes access to Code Suggestions, but you lack the necessary permissions to use this feature.",
        )]);
        assert_eq!((no_seat.finding.status, no_seat.warning.map(|w| w.0)), (True, Some("TokenUserHasNoSeat")));
        let none = license_probe(&[probe(name, false, "License does not provide access to Code Suggestions.")]);
        assert_eq!((none.finding.status, none.finding.reason), (False, "LicenseInactive"));
        assert_eq!(license_probe(&[probe(name, true, "ok")]).finding.status, True);
        assert_eq!(license_probe(&[]).finding.status, Unknown);
    }

    #[test]
    fn a_failing_runner_probe_of_19_x_changes_nothing() {
        let probes = [
            probe("host_probe", true, "duo.gitlab-duo.svc reachable."),
            probe("code_suggestions_license_probe", true, "ok"),
            probe("compatible_runner_probe", false, "No instance runner with the 'gitlab--duo' tag is registered."),
        ];
        assert_eq!(gateway_reachable(&probes, URL, false, None).status, True);
        assert_eq!(license_probe(&probes).finding.status, True);
    }

    #[test]
    fn that_gitlab_cannot_reach_the_gateway_and_that_nobody_can_are_told_apart() {
        let failed = [probe("host_probe", false, "duo.gitlab-duo.svc connection failed: refused")];
        let blocked = [probe(
            "host_probe",
            false,
            "duo.gitlab-duo.svc connection failed: Requests to the local network are not allowed.",
        )];
        let down = OwnProbe::Failed("connection refused".into());
        let cases: [(&[Probe], bool, Option<&OwnProbe>, _, _, &str); 8] = [
            (&failed, false, None, False, "GatewayUnreachable", "refused"),
            (&failed, false, Some(&OwnProbe::Reached), False, "GatewayUnreachable", "between GitLab and the gateway"),
            (&failed, false, Some(&down), False, "NobodyReachesGateway", "connection refused"),
            (&failed, true, Some(&down), False, "NobodyReachesGateway", "spec.url"),
            (&failed, true, Some(&OwnProbe::Reached), True, "ConnectionCheckPassed", ""),
            (&blocked, false, Some(&down), Unknown, "ProbeBlocked", "connection refused"),
            (&blocked, true, Some(&down), True, "ConnectionCheckPassed", ""),
            (&[], false, Some(&OwnProbe::Reached), Unknown, "NotProbed", "the operator reaches it"),
        ];
        for (probes, checked, own, status, reason, words) in cases {
            let finding = gateway_reachable(probes, URL, checked, own);
            assert_eq!((finding.status, finding.reason), (status, reason), "{probes:?} {own:?}");
            assert!(finding.message.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn the_agent_platform_is_judged_by_the_probe_of_its_own_service() {
        let cloud =
            probe("duo_agent_platform_probe", false, "The cloud-connected service at runway:443 is not reachable.");
        let own = |ok| {
            probe("duo_agent_platform_probe", ok, "The self-hosted service at duo.svc:50052 is (not) operational.")
        };
        let judged =
            |probes: &[Probe], service| agent_platform_reachable(probes, service).map(|f| (f.status, f.reason));
        assert_eq!(judged(std::slice::from_ref(&cloud), None), None);
        assert_eq!(judged(std::slice::from_ref(&cloud), Some("duo.svc:50052")), Some((Unknown, "NotProbed")));
        assert_eq!(judged(&[cloud.clone(), own(true)], Some("duo.svc:50052")), Some((True, "Operational")));
        assert_eq!(judged(&[cloud, own(false)], Some("duo.svc:50052")), Some((False, "NotOperational")));
    }

    #[test]
    fn every_probe_is_shown_with_the_condition_that_it_decides() {
        let probes = [
            probe("ai_gateway_url_presence_probe", true, "set"),
            probe("host_probe", true, "customers.gitlab.com reachable."),
            probe("host_probe", true, "duo.gitlab-duo.svc reachable."),
            probe("code_suggestions_license_probe", true, "ok"),
            probe("duo_agent_platform_probe", true, "at runway:443"),
            probe("duo_agent_platform_probe", true, "at duo.svc:50052"),
            probe("compatible_runner_probe", false, "No\nrunner"),
            probe("a_probe_of_tomorrow", false, &"x".repeat(5000)),
        ];
        let shown = shown(&probes, URL, Some("duo.svc:50052"));
        let conditions: Vec<Option<&str>> = shown.iter().map(|probe| probe.condition.as_deref()).collect();
        let expected = [
            Some("GatewayURLConfigured"),
            None,
            Some("GatewayReachable"),
            Some("LicenseActive"),
            None,
            Some("AgentPlatformReachable"),
            None,
            None,
        ];
        assert_eq!(conditions, expected);
        assert_eq!(shown[6].message, "No runner");
        assert_eq!(shown[7].message.len(), LONGEST_MESSAGE);
    }
}
