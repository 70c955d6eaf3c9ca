//! From a token to a caller, and GitLab's ways to refuse one.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::rights::Caller;
use super::state::State;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such token.
    Unknown,
    /// Its last day has come.
    Expired,
    /// Revoked.
    Revoked,
    /// Neither `api` nor `read_api`.
    Scope,
    /// The user is blocked.
    Blocked,
}

/// Who sends these headers; no token is anonymous.
///
/// # Errors
/// The token's own reason.
pub fn identify(state: &State, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let Some(value) = presented(headers) else { return Ok(Caller::default()) };
    let Some(token) = state.tokens.iter().find(|token| token.value == value) else { return Err(Refusal::Unknown) };
    if token.revoked {
        return Err(Refusal::Revoked);
    }
    if token.is_expired(Timestamp::now()) {
        return Err(Refusal::Expired);
    }
    let user = state.users.iter().find(|user| user.id == token.user_id);
    if user.is_none_or(|user| user.blocked) {
        return Err(Refusal::Blocked);
    }
    let caller = Caller { user: user.cloned(), token: Some(token.clone()) };
    if !caller.has_scope("api") && !caller.has_scope("read_api") {
        return Err(Refusal::Scope);
    }
    Ok(caller)
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(token) = headers.get("private-token") {
        return token.to_str().ok();
    }
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer ")).map(str::trim)
}

impl Refusal {
    /// The answer of `/api/graphql`.
    pub fn graphql(self) -> (u16, Value) {
        match self {
            Self::Blocked => (403, json!({"errors": [{"message": "API not accessible for user"}]})),
            _ => (401, json!({"errors": [{"message": "Invalid token"}]})),
        }
    }

    /// The answer of the REST API.
    pub fn rest(self) -> (u16, Value) {
        let oauth = |text: &str| (401, json!({"error": "invalid_token", "error_description": text}));
        match self {
            Self::Unknown => (401, json!({"message": "401 Unauthorized"})),
            Self::Expired => oauth("Token is expired. You can either do re-authorization or token refresh."),
            Self::Revoked => oauth("Token was revoked. You have to re-authorize from the user."),
            Self::Scope => (
                403,
                json!({"error": "insufficient_scope",
                       "error_description": "The request requires higher privileges than provided by the access token.",
                       "scope": "api read_api"}),
            ),
            Self::Blocked => (403, json!({"message": "403 Forbidden - Your account has been blocked."})),
        }
    }
}
