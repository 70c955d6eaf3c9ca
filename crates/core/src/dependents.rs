//! Whether models and assignments of a gateway may use its conversation with GitLab. The one place that decides it.

use duo_api::condition::{CONFIG_ACCEPTED, Condition, GATEWAY_URL_CONFIGURED, READY, STALLED, SYNCED, TOKEN_VALID};

use crate::conditions::{self, Finding};

/// Reason of a gateway that waits for its models: GitLab's own image takes over once GitLab holds their keys.
pub const WAITING_FOR_MODEL_KEYS: &str = "WaitingForModelKeys";

/// Reason of a gateway whose GitLab belongs to an older one.
pub const INSTANCE_CLAIMED: &str = "InstanceClaimed";

/// Why nothing may be looked at or written through this gateway now; `None`: go on. `conditions`: the gateway's.
pub fn must_wait(gateway: &str, conditions: &[Condition]) -> Option<Finding> {
    let claimed = conditions::get(conditions, GATEWAY_URL_CONFIGURED).filter(|c| c.reason == INSTANCE_CLAIMED);
    if claimed.is_none() && conditions::is_true(conditions, TOKEN_VALID) {
        return None;
    }
    let why = claimed
        .or_else(|| conditions::get(conditions, TOKEN_VALID))
        .map_or_else(|| "it has not been looked at yet".to_owned(), |c| format!("{}: {}", c.type_, c.message));
    Some(Finding::unknown(SYNCED, "GatewayNotReady", format!("AIGateway {gateway} cannot write to GitLab: {why}")))
}

/// Whether a gateway is on its way to its first configuration in all its pods, and nobody has to help it: what is as new as
/// it has nothing to say before. `conditions`: the gateway's.
pub fn gateway_comes_up(conditions: &[Condition]) -> bool {
    let holds = |type_| conditions::is_true(conditions, type_);
    let waits_for_models =
        conditions::get(conditions, CONFIG_ACCEPTED).is_some_and(|c| c.reason == WAITING_FOR_MODEL_KEYS);
    let is_up = [TOKEN_VALID, GATEWAY_URL_CONFIGURED, CONFIG_ACCEPTED].iter().all(|type_| holds(type_));
    !(holds(STALLED) || waits_for_models || is_up)
}

/// Whether something is on its way to Ready, and nobody has to help it. `conditions`: its own.
pub fn comes_up(conditions: &[Condition]) -> bool {
    ![READY, STALLED].iter().any(|type_| conditions::is_true(conditions, type_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_up_by_itself_is_waited_for_and_what_a_person_has_to_cure_is_not() {
        let holds = |type_| Finding::holds(type_, "X", "");
        let merged = |findings: &[Finding]| conditions::merge(&[], findings, None, "t");
        let keys = Finding::unknown(CONFIG_ACCEPTED, WAITING_FOR_MODEL_KEYS, "");
        for (findings, comes_up) in [
            (vec![], true),
            (vec![holds(TOKEN_VALID)], true),
            (vec![holds(TOKEN_VALID), Finding::unknown(GATEWAY_URL_CONFIGURED, "WaitingForGateway", "")], true),
            (vec![holds(TOKEN_VALID), holds(GATEWAY_URL_CONFIGURED)], true),
            (vec![holds(TOKEN_VALID), holds(GATEWAY_URL_CONFIGURED), holds(CONFIG_ACCEPTED)], false),
            (vec![holds(GATEWAY_URL_CONFIGURED), Finding::unknown(TOKEN_VALID, "Unreachable", "")], true),
            (vec![holds(STALLED)], false),
            (vec![holds(TOKEN_VALID), keys], false),
        ] {
            assert_eq!(gateway_comes_up(&merged(&findings)), comes_up, "{findings:?}");
        }
        for (findings, expected) in [
            (vec![], true),
            (vec![Finding::unknown(READY, "GatewayNotReady", "")], true),
            (vec![holds(READY)], false),
            (vec![holds(STALLED), Finding::fails(READY, "NameTaken", "")], false),
        ] {
            assert_eq!(comes_up(&merged(&findings)), expected, "{findings:?}");
        }
    }

    #[test]
    fn dependents_go_where_the_token_does_and_the_gitlab_is_ours() {
        let valid = Finding::holds(TOKEN_VALID, "TokenValid", "");
        let claimed = Finding::fails(GATEWAY_URL_CONFIGURED, INSTANCE_CLAIMED, "managed by a/b");
        let drifted = Finding::fails(GATEWAY_URL_CONFIGURED, "Drifted", "");
        let denied = Finding::fails(TOKEN_VALID, "TokenInvalid", "revoked");
        for (findings, waits_for) in [
            (vec![valid.clone()], None),
            (vec![valid.clone(), drifted], None),
            (vec![valid, claimed.clone()], Some("managed by a/b")),
            (vec![claimed], Some("managed by a/b")),
            (vec![denied], Some("revoked")),
            (vec![], Some("not been looked at")),
        ] {
            let conditions = conditions::merge(&[], &findings, None, "t");
            let told = must_wait("duo", &conditions).map(|finding| finding.message);
            match (told, waits_for) {
                (None, None) => {}
                (Some(told), Some(part)) => assert!(told.contains(part), "{told}"),
                other => panic!("{findings:?}: {other:?}"),
            }
        }
    }
}
