//! What a token says, and whether it may be believed.
//!
//! RS256 only; `exp` and `aud` are required (GitLab's own gateway takes tokens without them); 60 s of leeway for clocks.
//! Which key may sign what is decided here: tokens that name this service as issuer only by its own keys, all others
//! only by GitLab's published ones.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
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

/// Checks signature, algorithm, audience and time.
pub(super) async fn verify(token: &str, keys: &Arc<KeyRing>, rules: &Rules) -> Result<Claims, AuthError> {
    let header =
        decode_header(token).map_err(|_| AuthError::Forbidden("the token is not a JWT with a known algorithm"))?;
    if header.alg != Algorithm::RS256 {
        return Err(AuthError::Forbidden("the token is not signed with RS256"));
    }
    // only chooses the keys; nothing of it is believed before the signature holds
    let unverified: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| AuthError::Forbidden("the token's claims cannot be read"))?;
    if unverified.iss == rules.service_name {
        return check(token, &rules.local.verifying, rules);
    }
    match header.kid {
        Some(kid) => match keys.find(&kid).await {
            Found::Key(key) => check(token, &[key], rules),
            Found::Unknown => Err(AuthError::Forbidden("the token is signed with a key that GitLab does not publish")),
            Found::NoKeys(why) => Err(AuthError::NoKeys(why)),
        },
        None => {
            let all = keys.all();
            if all.is_empty() { Err(AuthError::NoKeys(keys.trouble())) } else { check(token, &all, rules) }
        }
    }
}

fn check(token: &str, keys: &[DecodingKey], rules: &Rules) -> Result<Claims, AuthError> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.set_audience(&[&rules.service_name]);
    let mut why = "no key fits the token";
    for key in keys {
        match decode::<Claims>(token, key, &validation) {
            Ok(TokenData { claims, .. }) => return Ok(claims),
            Err(error) => why = explain(error.kind()),
        }
    }
    Err(AuthError::Forbidden(why))
}

fn explain(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => {
            "the token has expired (are the clocks of GitLab and the gateway more than 60 s apart?)"
        }
        ErrorKind::ImmatureSignature => {
            "the token is not valid yet (are the clocks of GitLab and the gateway more than 60 s apart?)"
        }
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
}
