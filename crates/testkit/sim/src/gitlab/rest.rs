//! The REST API's few endpoints that tell an operator about the instance and its own token.

use serde_json::{Value, json};

use super::rights::Caller;
use super::state::State;

/// A GET of `/api/v4/<path>` by a caller whose token was accepted: HTTP status and JSON.
pub fn get(state: &State, caller: &Caller, path: &str, external_url: &str) -> (u16, Value) {
    let (Some(user), Some(token)) = (&caller.user, &caller.token) else {
        return (401, json!({"message": "401 Unauthorized"}));
    };
    match path {
        "version" => (200, json!({"version": state.instance.version.reported(), "revision": REVISION})),
        "metadata" => (200, metadata(state, external_url)),
        "personal_access_tokens/self" => (
            200,
            json!({
                "id": token.id, "name": token.name, "revoked": token.revoked, "description": null,
                "created_at": "2026-01-01T00:00:00.000Z", "scopes": token.scopes, "user_id": user.id,
                "last_used_at": null, "active": true, "expires_at": token.expires_at,
            }),
        ),
        "user" => (200, json!({"id": user.id, "username": user.username, "is_admin": user.admin})),
        "application/settings" => {
            if !user.admin || (state.instance.admin_mode && !caller.has_scope("admin_mode")) {
                return (403, json!({"message": "403 Forbidden"}));
            }
            // a few of some five hundred
            (200, json!({"id": 1, "signup_enabled": true, "silent_mode_enabled": state.instance.silent_mode}))
        }
        "license" => {
            // with Admin Mode on, REST administration wants one scope more; GraphQL does not
            if !user.admin || (state.instance.admin_mode && !caller.has_scope("admin_mode")) {
                return (403, json!({"message": "403 Forbidden"}));
            }
            (200, license(state))
        }
        _ => (404, json!({"error": "404 Not Found"})),
    }
}

const REVISION: &str = "0123456789a";

/// `/api/v4/metadata`, also GraphQL's `metadata`.
pub fn metadata(state: &State, external_url: &str) -> Value {
    let kas = external_url.replacen("http", "ws", 1);
    json!({
        "version": state.instance.version.reported(),
        "revision": REVISION,
        "enterprise": true,
        "kas": {"enabled": true, "externalUrl": format!("{kas}/-/kubernetes-agent/"),
                "externalK8sProxyUrl": format!("{external_url}/-/kubernetes-agent/k8s-proxy/"),
                "version": state.instance.version.to_string()},
    })
}

/// `/api/v4/license`; cloud add-ons do not show here.
fn license(state: &State) -> Value {
    state.license.as_ref().map_or(Value::Null, |license| {
        json!({
            "id": 1, "plan": license.plan, "created_at": "2026-01-01T00:00:00.000Z",
            "starts_at": license.starts_at, "expires_at": license.expires_at,
            "expired": !license.is_active(jiff::Timestamp::now()), "user_limit": license.users,
            "active_users": state.users.len(), "overage": 0, "historical_max": state.users.len(),
            "maximum_user_count": state.users.len(),
            "licensee": {"Name": "Simulated", "Company": "Simulated", "Email": "licence@example.com"}, "add_ons": {},
        })
    })
}
