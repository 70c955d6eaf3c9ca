//! Whether models and assignments of a gateway may use its conversation with GitLab. The one place that decides it.

use duo_api::condition::{Condition, GATEWAY_URL_CONFIGURED, SYNCED, TOKEN_VALID};

use crate::conditions::{self, Finding};

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

#[cfg(test)]
mod tests {
    use super::*;

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
