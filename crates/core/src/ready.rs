//! Which conditions make an object Ready.

use duo_api::condition as c;

use duo_api::ConditionStatus;

use crate::conditions::{Finding, complete, find, summarize};
use crate::serving::NOT_IN_FORCE;

/// AIGateway: it never waits for models.
pub fn gateway(findings: Vec<Finding>) -> Vec<Finding> {
    let must_hold = [c::TOKEN_VALID, c::CONFIG_ACCEPTED, c::WORKLOAD_AVAILABLE, c::GATEWAY_URL_CONFIGURED];
    let may_not_fail = [c::GATEWAY_REACHABLE, c::LICENSE_ACTIVE];
    // These stand only where something of the kind is declared, or where GitLab has it: a service that GitLab has and does
    // not reach fails its users.
    let declared = [c::EXPOSED, c::AGENT_PLATFORM_AVAILABLE, c::AGENT_PLATFORM_CONFIGURED, c::AGENT_PLATFORM_REACHABLE];
    let mut all = summarize(findings, &must_hold, &[&may_not_fail[..], &declared].concat());
    say(&mut all, "GitLab calls this gateway and it serves");
    complete(all, &[&must_hold[..], &may_not_fail, &[c::CODE_SUGGESTIONS_MODEL_ASSIGNED]].concat())
}

/// A gateway whose pods turn users away: what GitLab's health check says of the way there is overruled, unless it fails
/// as well.
pub fn refused(mut findings: Vec<Finding>, refused: Finding) -> Vec<Finding> {
    if find(&findings, refused.type_).is_none_or(|finding| finding.status != ConditionStatus::False) {
        findings.retain(|finding| finding.type_ != refused.type_);
        findings.push(refused);
    }
    findings
}

/// SelfHostedModel. What no pod could tell says nothing; a pod that lacks the model refuses its users.
pub fn model(findings: Vec<Finding>) -> Vec<Finding> {
    let on_the_way = find(&findings, c::MODEL_SERVING).is_some_and(|finding| finding.reason == NOT_IN_FORCE);
    let (must_hold, may_not_fail): (&[&str], &[&str]) = if on_the_way {
        (&[c::ACCEPTED, c::SYNCED, c::MODEL_SERVING], &[c::CONNECTION_VERIFIED])
    } else {
        (&[c::ACCEPTED, c::SYNCED], &[c::CONNECTION_VERIFIED, c::MODEL_SERVING])
    };
    let mut all = summarize(findings, must_hold, may_not_fail);
    let verified = find(&all, c::CONNECTION_VERIFIED).is_some_and(|f| f.status == ConditionStatus::True);
    say(
        &mut all,
        if verified { "Registered in GitLab and answering" } else { "Registered in GitLab, not verified yet" },
    );
    complete(all, &[c::ACCEPTED, c::SYNCED, c::CONNECTION_VERIFIED, c::MODEL_SERVING])
}

/// FeatureAssignment: its own conditions, then the model's and the gateway's readiness, given as findings of the types
/// [`MODEL_READY`] and [`GATEWAY_READY`], which are not written to the status. The gateway comes first: without it neither
/// model nor features can be looked at, and its reason is the one to act on.
pub fn assignment(findings: Vec<Finding>) -> Vec<Finding> {
    let must_hold = [c::ACCEPTED, GATEWAY_READY, c::MODEL_RESOLVED, c::SYNCED, MODEL_READY];
    let mut all = summarize(findings, &must_hold, &[c::SYNTHETIC_REQUESTS_PASSED]);
    say(&mut all, "Users can use it now");
    all.retain(|finding| finding.type_ != MODEL_READY && finding.type_ != GATEWAY_READY);
    complete(all, &[c::ACCEPTED, c::MODEL_RESOLVED, c::SYNCED])
}

/// What `Ready` says while it is True: no more than the kind's readiness means.
fn say(all: &mut [Finding], sentence: &str) {
    for finding in all.iter_mut().filter(|f| f.type_ == c::READY && f.status == ConditionStatus::True) {
        sentence.clone_into(&mut finding.message);
    }
}

/// The model's own Ready, as an input of the assignment's.
pub const MODEL_READY: &str = "ModelReady";
/// The gateway's own Ready, as an input of the assignment's.
pub const GATEWAY_READY: &str = "GatewayReady";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_names_the_gateway_before_the_model_that_waits_for_it() {
        let all = assignment(vec![
            Finding::holds(c::ACCEPTED, "X", ""),
            Finding::unknown(c::MODEL_RESOLVED, "ModelNotSynced", ""),
            Finding::unknown(c::SYNCED, "GatewayNotReady", ""),
            Finding::unknown(GATEWAY_READY, "GatewayNotReady", ""),
        ]);
        assert_eq!(find(&all, c::READY).unwrap().reason, "GatewayNotReady");
    }

    fn with(types: &[&'static str], changed: Option<Finding>) -> Vec<Finding> {
        let holds = types.iter().map(|type_| Finding::holds(type_, "X", ""));
        let all = holds.filter(|finding| changed.as_ref().is_none_or(|changed| changed.type_ != finding.type_));
        all.chain(changed.clone()).collect()
    }

    const GATEWAY: [&str; 7] = [
        c::TOKEN_VALID,
        c::CONFIG_ACCEPTED,
        c::WORKLOAD_AVAILABLE,
        c::GATEWAY_URL_CONFIGURED,
        c::GATEWAY_REACHABLE,
        c::LICENSE_ACTIVE,
        c::CODE_SUGGESTIONS_MODEL_ASSIGNED,
    ];
    const MODEL: [&str; 3] = [c::ACCEPTED, c::SYNCED, c::CONNECTION_VERIFIED];

    fn ready(all: &[Finding]) -> (ConditionStatus, &str) {
        let ready = find(all, c::READY).unwrap();
        (ready.status, ready.message.as_str())
    }

    #[test]
    fn each_condition_counts_for_a_gateway_as_the_design_says() {
        use ConditionStatus::{False, True, Unknown};
        assert_eq!(ready(&gateway(with(&GATEWAY, None))), (True, "GitLab calls this gateway and it serves"));
        for type_ in GATEWAY {
            let (must, may_not_fail) = match type_ {
                c::CODE_SUGGESTIONS_MODEL_ASSIGNED => (false, false),
                c::GATEWAY_REACHABLE | c::LICENSE_ACTIVE => (false, true),
                _ => (true, true),
            };
            let unknown = ready(&gateway(with(&GATEWAY, Some(Finding::unknown(type_, "R", "m"))))).0;
            let fails = ready(&gateway(with(&GATEWAY, Some(Finding::fails(type_, "R", "m"))))).0;
            assert_eq!(unknown, if must { Unknown } else { True }, "{type_}");
            assert_eq!(fails, if may_not_fail { False } else { True }, "{type_}");
            let failing = gateway(with(&GATEWAY, Some(Finding::fails(type_, "R", "m"))));
            assert_eq!(ready(&failing).1 == "m", may_not_fail, "{type_}: the reason is kept");
        }
        let silent = gateway(vec![]);
        assert!(GATEWAY.iter().all(|type_| find(&silent, type_).is_some()), "{silent:?}");
    }

    #[test]
    fn users_who_are_turned_away_outweigh_a_health_check_that_passes() {
        let refused = || Finding::fails(c::GATEWAY_REACHABLE, "SigningKeysUnavailable", "401");
        for (told, reason) in [
            (None, "SigningKeysUnavailable"),
            (Some(Finding::holds(c::GATEWAY_REACHABLE, "Reachable", "")), "SigningKeysUnavailable"),
            (Some(Finding::unknown(c::GATEWAY_REACHABLE, "NotProbed", "")), "SigningKeysUnavailable"),
            (Some(Finding::fails(c::GATEWAY_REACHABLE, "SilentMode", "")), "SilentMode"),
        ] {
            let mut findings = with(&GATEWAY, told.clone());
            if told.is_none() {
                findings.retain(|finding| finding.type_ != c::GATEWAY_REACHABLE);
            }
            let all = gateway(super::refused(findings, refused()));
            let ready = find(&all, c::READY).unwrap();
            assert_eq!((ready.status, ready.reason), (ConditionStatus::False, reason));
            assert_eq!(all.iter().filter(|finding| finding.type_ == c::GATEWAY_REACHABLE).count(), 1);
        }
    }

    #[test]
    fn each_condition_counts_for_a_model_as_the_design_says() {
        use ConditionStatus::{False, True, Unknown};
        assert_eq!(ready(&model(with(&MODEL, None))), (True, "Registered in GitLab and answering"));
        let unverified = model(with(&MODEL, Some(Finding::unknown(c::CONNECTION_VERIFIED, "R", "m"))));
        assert_eq!(ready(&unverified), (True, "Registered in GitLab, not verified yet"));
        for type_ in MODEL {
            let fails = model(with(&MODEL, Some(Finding::fails(type_, "R", "m"))));
            assert_eq!(ready(&fails), (False, "m"), "{type_}");
        }
        for type_ in [c::ACCEPTED, c::SYNCED] {
            assert_eq!(ready(&model(with(&MODEL, Some(Finding::unknown(type_, "R", "m"))))), (Unknown, "m"), "{type_}");
        }
        let counted = |reason| model(with(&MODEL, Some(Finding::unknown(c::MODEL_SERVING, reason, "m"))));
        assert_eq!(ready(&counted("NotCounted")).0, True);
        assert_eq!(ready(&counted(NOT_IN_FORCE)), (Unknown, "m"));
        let silent = model(vec![]);
        assert!(MODEL.iter().all(|type_| find(&silent, type_).is_some()), "{silent:?}");
    }

    #[test]
    fn an_assignment_is_not_ready_before_its_model_is() {
        let own = [c::ACCEPTED, c::MODEL_RESOLVED, c::SYNCED];
        let mut findings: Vec<Finding> = own.iter().map(|type_| Finding::holds(type_, "X", "")).collect();
        findings.push(Finding::fails(MODEL_READY, "ModelRefused", "no access"));
        findings.push(Finding::holds(GATEWAY_READY, "X", ""));
        let all = assignment(findings);
        let ready = find(&all, c::READY).unwrap();
        assert_eq!((ready.status, ready.reason), (ConditionStatus::False, "ModelRefused"));
        assert!(find(&all, MODEL_READY).is_none());
    }
}
