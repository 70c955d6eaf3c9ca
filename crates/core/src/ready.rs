//! Which conditions make an object Ready.

use duo_api::condition as c;

use crate::conditions::{Finding, complete, summarize};

/// AIGateway: it never waits for models.
pub fn gateway(findings: Vec<Finding>) -> Vec<Finding> {
    let must_hold = [c::TOKEN_VALID, c::CONFIG_ACCEPTED, c::WORKLOAD_AVAILABLE, c::GATEWAY_URL_CONFIGURED];
    let may_not_fail = [c::GATEWAY_REACHABLE, c::LICENSE_ACTIVE];
    let all = summarize(findings, &must_hold, &may_not_fail);
    complete(all, &[&must_hold[..], &may_not_fail, &[c::CODE_SUGGESTIONS_MODEL_ASSIGNED]].concat())
}

/// SelfHostedModel.
pub fn model(findings: Vec<Finding>) -> Vec<Finding> {
    let all = summarize(findings, &[c::ACCEPTED, c::SYNCED], &[c::CONNECTION_VERIFIED]);
    complete(all, &[c::ACCEPTED, c::SYNCED, c::CONNECTION_VERIFIED])
}

/// FeatureAssignment: its own conditions, then the model's and the gateway's readiness, given as findings of the types
/// [`MODEL_READY`] and [`GATEWAY_READY`], which are not written to the status.
pub fn assignment(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all = summarize(findings, &[c::ACCEPTED, c::MODEL_RESOLVED, c::SYNCED, MODEL_READY, GATEWAY_READY], &[]);
    all.retain(|finding| finding.type_ != MODEL_READY && finding.type_ != GATEWAY_READY);
    complete(all, &[c::ACCEPTED, c::MODEL_RESOLVED, c::SYNCED])
}

/// The model's own Ready, as an input of the assignment's.
pub const MODEL_READY: &str = "ModelReady";
/// The gateway's own Ready, as an input of the assignment's.
pub const GATEWAY_READY: &str = "GatewayReady";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::find;
    use duo_api::ConditionStatus;

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
