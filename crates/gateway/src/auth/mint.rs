//! Tokens for IDEs that call the gateway directly. GitLab fetches one for a user and hands it to the IDE.

use jsonwebtoken::{Algorithm, Header, encode};
use serde_json::json;

use super::{Identity, Rules, header, unix_now};

/// Life of a token in seconds.
const LIFE: u64 = 3600;
/// What an IDE may do with it, at most; it never holds more than the caller's own token.
const DIRECT: [&str; 2] = ["complete_code", "generate_code"];

/// A token and its end.
pub struct Minted {
    /// The JWT.
    pub token: crate::secret::Secret,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No signing key was configured.
    #[error("no signing key: set AIGW_SELF_SIGNED_JWT__SIGNING_KEY or signingKeyFile")]
    NoKey,
    /// Signing failed.
    #[error("signing failed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Makes a token for the user named by `X-Gitlab-Global-User-Id`, in the shape of GitLab's own gateway: issuer and
/// audience are the service, the subject is the user.
///
/// # Errors
/// [`MintError`].
pub fn mint(identity: &Identity, headers: &http::HeaderMap, rules: &Rules) -> Result<Minted, MintError> {
    let key = rules.local.signing.as_ref().ok_or(MintError::NoKey)?;
    let now = unix_now();
    let expires_at = now + LIFE;
    let scopes: Vec<&str> = DIRECT.into_iter().filter(|scope| identity.may(scope)).collect();
    let claims = json!({
        "iss": rules.service_name,
        "aud": rules.service_name,
        "sub": header(headers, "x-gitlab-global-user-id"),
        "iat": now,
        "nbf": now,
        "exp": expires_at,
        "jti": uuid::Uuid::new_v4().to_string(),
        "gitlab_realm": identity.claims.gitlab_realm,
        // empty as in GitLab's own tokens: IDEs do not send the header that would have to agree
        "gitlab_instance_id": "",
        "scopes": scopes,
    });
    let token = encode(&Header::new(Algorithm::RS256), &claims, key)?;
    Ok(Minted { token: crate::secret::Secret::new(token), expires_at })
}
