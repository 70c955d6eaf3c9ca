//! What a token says, and whether it may be believed.
//!
//! RS256 only; `exp` and `aud` are required (GitLab's own gateway takes tokens without them); 60 s of leeway for clocks.
//! Which key may sign what is decided here: tokens that name this service as issuer only by its own keys, all others
//! only by GitLab's published ones.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::{AuthError, KeyRing, LEEWAY_SECONDS, Rules, keys::Found};

/// The claims that matter here. Absent and null ones are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// Issuer: the GitLab's URL, the customer portal's, or this service's name.
    #[serde(deserialize_with = "text")]
    pub iss: String,
    /// Instance id (GitLab's tokens) or global user id (ours).
    #[serde(deserialize_with = "text")]
    pub sub: String,
    /// End, Unix seconds.
    pub exp: u64,
    /// `self-managed` or `saas`.
    #[serde(deserialize_with = "text")]
    pub gitlab_realm: String,
    /// Instance id, in tokens of the customer portal.
    #[serde(deserialize_with = "text")]
    pub gitlab_instance_id: String,
    /// Unit primitives.
    #[serde(deserialize_with = "list")]
    pub scopes: Vec<String>,
}

/// Why a token with an unknown key id is refused.
pub(super) const UNKNOWN_KEY: &str = "the token is signed with a key that GitLab does not publish";
/// Why a token that counts only later is refused; its signature holds.
pub(super) const NOT_YET: &str =
    "the token is not valid yet (are the clocks of GitLab and the gateway more than 60 s apart?)";

/// The keys that may have signed the token.
pub(super) async fn keys_for(token: &str, keys: &Arc<KeyRing>, rules: &Rules) -> Result<Vec<DecodingKey>, AuthError> {
    let header =
        decode_header(token).map_err(|_| AuthError::Forbidden("the token is not a JWT with a known algorithm"))?;
    if header.alg != Algorithm::RS256 {
        return Err(AuthError::Forbidden("the token is not signed with RS256"));
    }
    // only chooses the keys; nothing of it is believed before the signature holds
    if read::<Claims>(token)?.iss == rules.service_name {
        return Ok(rules.local.verifying.clone());
    }
    match header.kid {
        Some(kid) => match keys.find(&kid).await {
            Found::Key(key) => Ok(vec![key]),
            Found::Unknown => Err(AuthError::Forbidden(UNKNOWN_KEY)),
            Found::NoKeys(why) => Err(AuthError::NoKeys(why)),
        },
        None => {
            let all = keys.all();
            if all.is_empty() { Err(AuthError::NoKeys(keys.trouble())) } else { Ok(all) }
        }
    }
}

/// Checks signature, algorithm, audience and time. `checks` counts the signatures.
pub(super) fn check(token: &str, keys: &[DecodingKey], rules: &Rules, checks: &Counter) -> Result<Claims, AuthError> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.set_audience(&[&rules.service_name]);
    let mut why = "no key fits the token";
    for key in keys {
        checks.inc();
        match decode::<Claims>(token, key, &validation) {
            Ok(TokenData { claims, .. }) => return Ok(claims),
            Err(error) => why = explain(error.kind()),
        }
    }
    Err(AuthError::Forbidden(why))
}

/// What else the library checks.
#[derive(Deserialize)]
struct Registered {
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks audience and time of a token whose signature does not matter (`AIGW_AUTH__BYPASS_JWT_SIGNATURE`).
pub(super) fn unsigned(token: &str, rules: &Rules, now: u64) -> Result<Claims, AuthError> {
    let forbidden = |why| Err(AuthError::Forbidden(why));
    let Ok(registered) = read::<Registered>(token) else { return forbidden("the token lacks exp or aud") };
    let meant = match &registered.aud {
        Audience::One(one) => *one == rules.service_name,
        Audience::Many(all) => all.contains(&rules.service_name),
    };
    if !meant {
        return forbidden("the token's audience is another service");
    }
    if registered.exp.saturating_add(LEEWAY_SECONDS) < now {
        return forbidden("the token has expired");
    }
    if registered.nbf.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECONDS)) {
        return forbidden("the token is not valid yet");
    }
    read(token)
}

/// The claims, unchecked.
pub(super) fn read<T: serde::de::DeserializeOwned>(token: &str) -> Result<T, AuthError> {
    jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| AuthError::Forbidden("the token's claims cannot be read"))
}

fn explain(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => {
            "the token has expired (are the clocks of GitLab and the gateway more than 60 s apart?)"
        }
        ErrorKind::ImmatureSignature => NOT_YET,
        ErrorKind::InvalidAudience => "the token's audience is another service",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks exp or aud",
        ErrorKind::InvalidSignature => "the token's signature does not fit",
        _ => "the token is malformed",
    }
}

/// A string; null and other types count as absent.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Text(String),
        Other(IgnoredAny),
    }
    Ok(match Any::deserialize(deserializer)? {
        Any::Text(text) => text,
        Any::Other(_) => String::new(),
    })
}

/// A list of strings; null is the empty list.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of scopes")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut scopes = Vec::new();
            while let Some(scope) = seq.next_element()? {
                scopes.push(scope);
            }
            Ok(scopes)
        }
    }
    deserializer.deserialize_any(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_claims_count_as_absent() {
        let claims: Claims =
            serde_json::from_str(r#"{"iss":"i","sub":null,"gitlab_realm":5,"exp":7,"scopes":null,"more":[1]}"#)
                .unwrap();
        assert_eq!((claims.iss.as_str(), claims.sub.as_str(), claims.gitlab_realm.as_str()), ("i", "", ""));
        assert!(claims.scopes.is_empty());
        assert!(serde_json::from_str::<Claims>(r#"{"scopes":"all"}"#).is_err());
    }

    #[test]
    fn without_signatures_audience_and_time_still_count() {
        use base64::Engine;
        let rules = Rules {
            epoch: 0,
            service_name: "gitlab-ai-gateway".into(),
            bypass: crate::settings::Bypass { signature: true, ..Default::default() },
            instance_id: None,
            local: super::super::LocalKeys::default(),
        };
        let encode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
        for (claims, accepted) in [
            (r#"{"aud":"gitlab-ai-gateway","exp":1000}"#, true),
            (r#"{"aud":["x","gitlab-ai-gateway"],"exp":940,"nbf":1060}"#, true),
            (r#"{"aud":["x"],"exp":1000}"#, false),
            (r#"{"aud":"gitlab-ai-gateway"}"#, false),
            (r#"{"exp":1000}"#, false),
            (r#"{"aud":"gitlab-ai-gateway","exp":939}"#, false),
            (r#"{"aud":"gitlab-ai-gateway","exp":1000,"nbf":1061}"#, false),
            ("[]", false),
        ] {
            let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims));
            assert_eq!(unsigned(&token, &rules, 1000).is_ok(), accepted, "{claims}");
        }
        assert!(unsigned("nonsense", &rules, 1000).is_err());
    }
}
