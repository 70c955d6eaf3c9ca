//! Fetches an issuer's keys: `<base>/.well-known/openid-configuration` names `jwks_uri`, which lists them.

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use serde::Deserialize;

/// GitLab's own gateway waits as long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer is a few kilobytes.
const MAX_BYTES: usize = 1 << 20;
/// More keys than any issuer has; each costs an RSA check for a token without `kid`.
const MAX_KEYS: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(super) enum DiscoveryError {
    #[error("{url}: {cause}")]
    Call { url: String, cause: String },
    #[error("{url}: HTTP status {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: is not {expected}")]
    Content { url: String, expected: &'static str },
}

#[derive(Deserialize)]
struct Configuration {
    jwks_uri: String,
    #[serde(default)]
    issuer: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<serde_json::Value>,
}

/// What an issuer publishes.
pub(super) struct Published {
    /// How it calls itself in its tokens' `iss`; empty where it does not say.
    pub name: String,
    /// Its RSA signing keys with their ids, at least one.
    pub keys: Vec<(String, Jwk)>,
}

/// Asks the issuer at this URL.
pub(super) async fn fetch(client: &reqwest::Client, issuer: &str) -> Result<Published, DiscoveryError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let configuration: Configuration =
        get(client, &url, "an OpenID configuration; does the URL name a GitLab?").await?;
    let Configuration { jwks_uri: url, issuer: name } = configuration;
    let listed: Keys = get(client, &url, "a JSON Web Key Set").await?;
    let keys: Vec<(String, Jwk)> = listed.keys.into_iter().filter_map(signing_key).take(MAX_KEYS).collect();
    // an empty list would lock everybody out; the last keys count on instead
    if keys.is_empty() {
        Err(DiscoveryError::Content { url: shown(&url), expected: "a key set with an RSA signing key" })
    } else {
        Ok(Published { name, keys })
    }
}

/// Keys for something else, or of a kind we do not know, are passed over one by one.
fn signing_key(value: serde_json::Value) -> Option<(String, Jwk)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signing = !matches!(&jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let rsa = matches!(&jwk.algorithm, AlgorithmParameters::RSA(_));
    let kid = jwk.common.key_id.clone()?;
    (for_signing && rsa).then_some((kid, jwk))
}

async fn get<T: serde::de::DeserializeOwned>(
    client: &reqwest::Client,
    url: &str,
    expected: &'static str,
) -> Result<T, DiscoveryError> {
    let call = |error: reqwest::Error| DiscoveryError::Call { url: shown(url), cause: crate::upstream::cause(&error) };
    let mut response = client.get(url).timeout(TIMEOUT).send().await.map_err(call)?;
    if !response.status().is_success() {
        return Err(DiscoveryError::Status { url: shown(url), status: response.status().as_u16() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(call)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            break;
        }
    }
    serde_json::from_slice(&body).map_err(|_| DiscoveryError::Content { url: shown(url), expected })
}

/// The URL without a user and password that may stand in it: these texts reach logs and callers without a token.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_user_and_password() {
        for (url, expected) in [
            ("https://user:p@ss@gitlab.example.com/a@b", "https://gitlab.example.com/a@b"),
            ("https://gitlab.example.com/a@b", "https://gitlab.example.com/a@b"),
            ("https://user@g?x", "https://g?x"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
