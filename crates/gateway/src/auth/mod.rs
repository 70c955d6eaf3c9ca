//! Who is calling, and what may they do.
//!
//! Every request but the health checks carries a token that GitLab (or this gateway) signed. [`Authenticator`] turns
//! headers into an [`Identity`] or a refusal with the texts GitLab's clients know. One signature check per token:
//! results are kept until the token ends or the keys change. This module knows no routes and no bodies.

mod cache;
mod claims;
mod discovery;
mod keys;
mod mint;
pub mod operator;
mod refusals;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;

pub use claims::Claims;
pub(crate) use discovery::shown;
pub use keys::{KeyRing, LocalKeys, Sources};
pub use mint::{MintError, Minted, mint};
pub use refusals::{Refusals, Refusing};

use crate::settings::Bypass;

/// Changes of the keys that one request waits for.
const ROTATIONS: usize = 8;
/// Longer tokens are refused unread. One with every unit primitive that there is has some 4 KiB.
const LONGEST_TOKEN: usize = 16 << 10;
/// Accepted difference between GitLab's clock and ours, in seconds.
pub const LEEWAY_SECONDS: u64 = 60;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the token says; empty when authentication is switched off.
    pub claims: Arc<Claims>,
    /// The token was made by this gateway for an IDE.
    pub minted_here: bool,
    /// Authentication is switched off: everything is allowed.
    pub bypass: bool,
}

impl Identity {
    /// Whether the token holds the unit primitive.
    pub fn may(&self, unit_primitive: &str) -> bool {
        self.bypass || self.claims.scopes.iter().any(|scope| scope == unit_primitive)
    }

    /// Whether the token holds one of the unit primitives.
    pub fn may_any(&self, unit_primitives: &[&str]) -> bool {
        unit_primitives.iter().any(|one| self.may(one))
    }

    /// The token's unit primitives; `None` stands for all of them.
    pub fn scopes(&self) -> Option<HashSet<&str>> {
        (!self.bypass).then(|| self.claims.scopes.iter().map(String::as_str).collect())
    }
}

/// Why a request is not let in. The texts of the first five are GitLab's own (17.10 to 19.x).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization`.
    #[error("No authorization header presented")]
    NoHeader,
    /// `Authorization` is not a bearer token.
    #[error("Invalid authorization header")]
    InvalidHeader,
    /// `X-Gitlab-Authentication-Type` is not `oidc`.
    #[error("Invalid authentication token type - only OIDC is supported")]
    InvalidType,
    /// The token does not hold; the log says why.
    #[error("Forbidden by auth provider")]
    Forbidden(&'static str),
    /// A claim and its header differ.
    #[error("Header mismatch '{0}'")]
    Mismatch(&'static str),
    /// No key of GitLab could be fetched yet, so that no token can be judged.
    #[error("GitLab's signing keys are not loaded yet: {0}")]
    NoKeys(String),
}

/// What of the configuration decides who gets in; swapped as a whole.
#[derive(Clone)]
pub struct Rules {
    /// Another number than that of the rules before: verdicts by those are never found again.
    pub epoch: u64,
    /// Audience of accepted tokens and issuer of our own.
    pub service_name: String,
    /// Switches that turn authentication off.
    pub bypass: Bypass,
    /// Only tokens of this instance, once known.
    pub instance_id: Option<String>,
    /// Keys of the tokens made here.
    pub local: LocalKeys,
}

/// Judges tokens.
pub struct Authenticator {
    /// GitLab's published keys.
    pub keys: Arc<KeyRing>,
    /// RSA checks made: one per token, not per request, is what the cache is for.
    pub checks: Counter,
    /// Whether GitLab's own users are turned away.
    pub refusals: Refusals,
    cache: cache::TokenCache,
}

impl Authenticator {
    /// With the given published keys.
    pub fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys, checks: Counter::default(), refusals: Refusals::default(), cache: cache::TokenCache::default() }
    }

    /// Judges a request by its headers.
    ///
    /// # Errors
    /// [`AuthError`]; all but [`AuthError::NoKeys`] are the caller's.
    pub async fn authenticate(&self, headers: &HeaderMap, rules: &Rules) -> Result<Identity, AuthError> {
        if rules.bypass.everyone || (rules.bypass.with_header && header(headers, "bypass-auth") == Some("true")) {
            return Ok(Identity { claims: Arc::default(), minted_here: false, bypass: true });
        }
        let mut authorizations = headers.get_all(http::header::AUTHORIZATION).iter();
        let authorization = authorizations.next().ok_or(AuthError::NoHeader)?;
        let token = bearer(authorization).ok_or(AuthError::InvalidHeader)?;
        // which of two counts would be a matter of luck
        if authorizations.next().is_some() {
            return Err(AuthError::InvalidHeader);
        }
        if token.len() > LONGEST_TOKEN {
            return Err(AuthError::Forbidden("the token is longer than any that GitLab makes"));
        }
        if header(headers, "x-gitlab-authentication-type") != Some("oidc") {
            return Err(AuthError::InvalidType);
        }
        let judged = self.verify(token, rules).await;
        let claims = judged.inspect_err(|error| self.refusals.note(error, token, rules, &self.keys))?;
        let minted_here = claims.iss == rules.service_name;
        agree(&claims, minted_here, headers)?;
        if let Some(pinned) = &rules.instance_id
            && !minted_here
            && claims.sub != *pinned
        {
            self.refusals.note_other_instance(&claims, pinned, &self.keys);
            return Err(AuthError::Forbidden("the token is of another GitLab instance than the configured one"));
        }
        Ok(Identity { claims, minted_here, bypass: false })
    }

    async fn verify(&self, token: &str, rules: &Rules) -> Result<Arc<Claims>, AuthError> {
        let now = unix_now();
        let digest = cache::digest(token);
        for _ in 0..ROTATIONS {
            // read before judging: a verdict by keys that change meanwhile is never found again. The rules' number comes
            // with the rules: a request that still sees the old ones must not leave a verdict for the new
            let judged_by = (self.keys.generation(), rules.epoch);
            if let Some(claims) = self.cache.get(&digest, judged_by, now) {
                return Ok(claims);
            }
            if rules.bypass.signature {
                return claims::unsigned(token, rules, now).map(Arc::new);
            }
            let keys = claims::keys_for(token, &self.keys, rules).await?;
            // a rotation was waited for, and somebody may have judged this token by the new keys
            if self.keys.generation() != judged_by.0 {
                continue;
            }
            let claims = Arc::new(claims::check(token, &keys, rules, &self.checks)?);
            self.cache.put(digest, judged_by, claims.exp.saturating_add(LEEWAY_SECONDS), claims.clone());
            return Ok(claims);
        }
        Err(AuthError::NoKeys("they keep changing".to_owned()))
    }
}

/// Header and claim say the same, wherever the claim says anything.
fn agree(claims: &Claims, minted_here: bool, headers: &HeaderMap) -> Result<(), AuthError> {
    let subject = if minted_here { "X-Gitlab-Global-User-Id" } else { "X-Gitlab-Instance-Id" };
    for (claim, name) in [
        (claims.gitlab_realm.as_str(), "X-Gitlab-Realm"),
        (claims.gitlab_instance_id.as_str(), "X-Gitlab-Instance-Id"),
        (claims.sub.as_str(), subject),
    ] {
        if !claim.is_empty() && header(headers, name) != Some(claim) {
            return Err(AuthError::Mismatch(name));
        }
    }
    Ok(())
}

/// A header that stands there once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn bearer(value: &http::HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_is_taken() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("Bearer a b", None),
            ("abc", None),
        ] {
            assert_eq!(bearer(&http::HeaderValue::from_static(value)), token, "{value}");
        }
    }

    #[test]
    fn claims_must_agree_with_headers_only_where_they_say_something() {
        let claims = |sub: &str, realm: &str, instance: &str| Claims {
            sub: sub.into(),
            gitlab_realm: realm.into(),
            gitlab_instance_id: instance.into(),
            ..Claims::default()
        };
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), http::HeaderValue::from_static(v))).collect()
        };
        let full: HeaderMap = headers(&[
            ("x-gitlab-realm", "self-managed"),
            ("x-gitlab-instance-id", "i"),
            ("x-gitlab-global-user-id", "u"),
        ]);
        assert_eq!(agree(&claims("i", "self-managed", "i"), false, &full), Ok(()));
        assert_eq!(agree(&claims("u", "", ""), true, &full), Ok(()));
        assert_eq!(agree(&claims("", "", ""), false, &HeaderMap::new()), Ok(()));
        let mismatch = |name| Err(AuthError::Mismatch(name));
        assert_eq!(agree(&claims("u", "", ""), false, &full), mismatch("X-Gitlab-Instance-Id"));
        assert_eq!(agree(&claims("i", "", ""), true, &full), mismatch("X-Gitlab-Global-User-Id"));
        assert_eq!(agree(&claims("i", "saas", ""), false, &full), mismatch("X-Gitlab-Realm"));
        assert_eq!(agree(&claims("i", "", "j"), false, &full), mismatch("X-Gitlab-Instance-Id"));
        assert_eq!(agree(&claims("i", "", ""), false, &HeaderMap::new()), mismatch("X-Gitlab-Instance-Id"));
    }

    #[tokio::test]
    async fn a_verdict_by_replaced_rules_is_never_found_under_the_new_ones() {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec()));
        let rules = |epoch: u64, local: LocalKeys| Rules {
            epoch,
            service_name: "gitlab-ai-gateway".into(),
            bypass: Bypass::default(),
            instance_id: None,
            local,
        };
        let with_key = LocalKeys::read(Some(&crate::secret::Secret::new(pem)), None).unwrap();
        let (old, new) = (rules(0, with_key), rules(1, LocalKeys::default()));
        let caller = Identity { claims: Arc::default(), minted_here: false, bypass: true };
        let token = mint(&caller, &HeaderMap::new(), &old).unwrap().token;
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", token.expose()).parse().unwrap());
        headers.insert("x-gitlab-authentication-type", "oidc".parse().unwrap());

        let auth = Authenticator::new(KeyRing::new(Sources::default(), Duration::ZERO));
        assert!(auth.authenticate(&headers, &new).await.is_err());
        // a request that arrived before the key was withdrawn is judged after it
        assert!(auth.authenticate(&headers, &old).await.is_ok());
        assert!(auth.authenticate(&headers, &new).await.is_err());
    }
}
