//! GitLab's health check, probe by probe, as conditions.
//!
//! The overall `success` is of no use: on 19.x it is false merely for lack of a tagged runner. Texts are those of
//! GitLab 18.9 and 19.x.

use duo_api::condition::{CODE_SUGGESTIONS_MODEL_ASSIGNED, GATEWAY_REACHABLE, LICENSE_ACTIVE};

use crate::conditions::Finding;
use crate::observed::{Instance, Probe};
use crate::url_rules;

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

/// Whether GitLab reaches the gateway: the host probe for our URL, else a passed connection check.
pub fn gateway_reachable(probes: &[Probe], gateway_url: &str, connection_check_passed: bool) -> Finding {
    let host = host_of(gateway_url);
    let about_us =
        |probe: &&Probe| probe.name == "host_probe" && host.as_deref().is_some_and(|h| probe.message.contains(h));
    let probe = probes.iter().find(about_us);
    match probe {
        Some(probe) if probe.success => Finding::holds(GATEWAY_REACHABLE, "Reachable", one_line(&probe.message)),
        Some(_) | None if connection_check_passed => {
            Finding::holds(GATEWAY_REACHABLE, "ConnectionCheckPassed", "GitLab reached a model through the gateway")
        }
        Some(probe) if BLOCKER_WORDS.iter().any(|words| probe.message.contains(words)) => Finding::unknown(
            GATEWAY_REACHABLE,
            "ProbeBlocked",
            format!(
                "GitLab's probe may not ask private addresses ({}); real calls may. Allow local requests in GitLab's \
                 outbound settings to let the probe pass",
                one_line(&probe.message)
            ),
        ),
        Some(probe) => Finding::fails(GATEWAY_REACHABLE, "GatewayUnreachable", one_line(&probe.message)),
        None => Finding::unknown(GATEWAY_REACHABLE, "NotProbed", "GitLab's health check has not probed the gateway"),
    }
}

/// Whether the licence covers Duo, by the code-suggestions probe.
pub fn license_active(probes: &[Probe]) -> Judgement {
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
            (vec![], false, Unknown, "NotProbed"),
            (vec![], true, True, "ConnectionCheckPassed"),
        ];
        for (probes, checked, status, reason) in cases {
            let finding = gateway_reachable(&probes, URL, checked);
            assert_eq!((finding.status, finding.reason), (status, reason), "{probes:?}");
        }
    }

    #[test]
    fn a_token_user_without_a_seat_does_not_mean_no_licence() {
        let name = "code_suggestions_license_probe";
        let no_seat = license_active(&[probe(
            name,
            false,
            "License includes access to Code Suggestions, but you lack the necessary permissions to use this feature.",
        )]);
        assert_eq!((no_seat.finding.status, no_seat.warning.map(|w| w.0)), (True, Some("TokenUserHasNoSeat")));
        let none = license_active(&[probe(name, false, "License does not provide access to Code Suggestions.")]);
        assert_eq!((none.finding.status, none.finding.reason), (False, "LicenseInactive"));
        assert_eq!(license_active(&[probe(name, true, "ok")]).finding.status, True);
        assert_eq!(license_active(&[]).finding.status, Unknown);
    }

    #[test]
    fn a_failing_runner_probe_of_19_x_changes_nothing() {
        let probes = [
            probe("host_probe", true, "duo.gitlab-duo.svc reachable."),
            probe("code_suggestions_license_probe", true, "ok"),
            probe("compatible_runner_probe", false, "No instance runner with the 'gitlab--duo' tag is registered."),
        ];
        assert_eq!(gateway_reachable(&probes, URL, false).status, True);
        assert_eq!(license_active(&probes).finding.status, True);
    }
}
