//! Which conditions make an object Ready.

use duo_api::condition as c;

use duo_api::ConditionStatus;

use crate::conditions::{Finding, complete, find, summarize};

/// AIGateway: it never waits for models.
pub fn gateway(findings: Vec<Finding>) -> Vec<Finding> {
    let must_hold = [c::TOKEN_VALID, c::CONFIG_ACCEPTED, c::WORKLOAD_AVAILABLE, c::GATEWAY_URL_CONFIGURED];
    let may_not_fail = [c::GATEWAY_REACHABLE, c::LICENSE_ACTIVE];
    let mut all = summarize(findings, &must_hold, &may_not_fail);
    say(&mut all, "GitLab calls this gateway and it serves");
    complete(all, &[&must_hold[..], &may_not_fail, &[c::CODE_SUGGESTIONS_MODEL_ASSIGNED]].concat())
}

/// SelfHostedModel.
pub fn model(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all = summarize(findings, &[c::ACCEPTED, c::SYNCED], &[c::CONNECTION_VERIFIED]);
    let verified = find(&all, c::CONNECTION_VERIFIED).is_some_and(|f| f.status == ConditionStatus::True);
    say(
        &mut all,
        if verified { "Registered in GitLab and answering" } else { "Registered in GitLab, not verified yet" },
    );
    complete(all, &[c::ACCEPTED, c::SYNCED, c::CONNECTION_VERIFIED])
}

/// FeatureAssignment: its own conditions, then the model's and the gateway's readiness, given as findings of the types
/// [`MODEL_READY`] and [`GATEWAY_READY`], which are not written to the status. The gateway comes first: without it neither
/// model nor features can be looked at, and its reason is the one to act on.
pub fn assignment(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all = summarize(findings, &[c::ACCEPTED, GATEWAY_READY, c::MODEL_RESOLVED, c::SYNCED, MODEL_READY], &[]);
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
