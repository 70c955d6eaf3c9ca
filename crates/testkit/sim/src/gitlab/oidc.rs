//! GitLab as OIDC provider: signing keys, their publication, and the tokens Rails issues for the gateway.
//!
//! A customers portal with a key of its own stands beside it: it signs the token that an online instance has synced.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::state::State;

/// Issuer of tokens of the customers portal.
pub const PORTAL_ISSUER: &str = "https://customers.gitlab.com";
/// Path under which the simulated customers portal publishes its keys.
pub const PORTAL_PATH: &str = "/_customers";
const LIFETIME_SECONDS: i64 = 3600;
/// Rails dates a token a little back.
const NOT_BEFORE_SECONDS: i64 = 5;

/// An RSA key of 2048 bits; its id is the JWK thumbprint.
struct Key {
    kid: String,
    private: EncodingKey,
    public: Value,
}

/// The instance's keys, newest first, and the portal's.
pub struct Keys {
    own: Mutex<Vec<Key>>,
    portal: OnceLock<Key>,
}

/// Without the keys.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// What differs from a token as Rails issues it; for tests of the gateway's checks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenOptions {
    /// Unit primitives instead of all.
    pub scopes: Option<Vec<String>>,
    /// Audience instead of the backend services.
    pub audience: Option<Vec<String>>,
    /// Issued this many seconds later than now (earlier when negative).
    pub issued_in_seconds: i64,
    /// Life in seconds instead of one hour.
    pub lifetime_seconds: Option<i64>,
    /// Signed by the customers portal.
    pub portal: bool,
    /// Claims to set; null removes one.
    pub claims: serde_json::Map<String, Value>,
}

impl Keys {
    /// Makes the first keys.
    ///
    /// # Errors
    /// The random source fails.
    pub fn generate() -> io::Result<Self> {
        Ok(Self { own: Mutex::new(vec![Key::generate()?]), portal: OnceLock::new() })
    }

    /// A new signing key; the old ones stay published when `keep_old`.
    ///
    /// # Errors
    /// The random source fails.
    pub fn rotate(&self, keep_old: bool) -> io::Result<String> {
        let key = Key::generate()?;
        let kid = key.kid.clone();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if !keep_old {
            own.clear();
        }
        own.insert(0, key);
        Ok(kid)
    }

    /// The published key set.
    pub fn jwks(&self) -> Value {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        json!({"keys": own.iter().map(|key| key.public.clone()).collect::<Vec<_>>()})
    }

    /// The key set of the customers portal.
    pub fn portal_jwks(&self) -> Value {
        json!({"keys": self.portal().map(|key| key.public.clone()).into_iter().collect::<Vec<_>>()})
    }

    /// Made on first use: most instances never need it.
    fn portal(&self) -> Option<&Key> {
        if self.portal.get().is_none() {
            // two at once: the first stored one stays
            let _ = self.portal.set(Key::generate().ok()?);
        }
        self.portal.get()
    }

    /// A token as Rails issues it for this instance, with what `options` change.
    ///
    /// # Errors
    /// Signing failed.
    pub fn issue(&self, state: &State, issuer: &str, options: &TokenOptions) -> io::Result<String> {
        let now = Timestamp::now().as_second() + options.issued_in_seconds;
        let scopes = options.scopes.clone().unwrap_or_else(|| unit_primitives(state));
        let audience = options
            .audience
            .clone()
            .unwrap_or_else(|| vec!["gitlab-ai-gateway".to_owned(), "gitlab-duo-workflow-service".to_owned()]);
        let mut claims = json!({
            "iss": if options.portal { PORTAL_ISSUER } else { issuer },
            "aud": audience,
            "sub": state.instance.uuid,
            "exp": now + options.lifetime_seconds.unwrap_or(LIFETIME_SECONDS),
            "nbf": now - NOT_BEFORE_SECONDS,
            "iat": now,
            "jti": uuid::Uuid::new_v4().to_string(),
            "gitlab_realm": "self-managed",
            "scopes": scopes,
            "skip_usage_cutoff": false,
        });
        if let Some(claims) = claims.as_object_mut() {
            if options.portal {
                let seats =
                    state.add_ons.iter().filter(|add_on| add_on.active).map(|add_on| add_on.purchased).sum::<u32>();
                claims.insert("gitlab_instance_uid".to_owned(), json!(state.instance.uuid));
                claims.insert("duo_seat_count".to_owned(), json!(seats.to_string()));
                claims.remove("skip_usage_cutoff");
            }
            for (name, value) in &options.claims {
                if value.is_null() {
                    claims.remove(name);
                } else {
                    claims.insert(name.clone(), value.clone());
                }
            }
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if options.portal { self.portal() } else { own.first() };
        let key = key.ok_or_else(|| io::Error::other("there is no signing key"))?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, &claims, &key.private).map_err(io::Error::other)
    }
}

impl Key {
    fn generate() -> io::Result<Self> {
        let failed = |what: &str| io::Error::other(format!("an RSA key cannot be {what}"));
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed("generated"))?;
        let der = aws_lc_rs::encoding::AsDer::<Pkcs8V1Der>::as_der(&pair).map_err(|_| failed("encoded"))?;
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec()));
        let private = EncodingKey::from_rsa_pem(text.as_bytes()).map_err(io::Error::other)?;
        let n = URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(pair.public_key().exponent().big_endian_without_leading_zero());
        let thumbprint = Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let public = json!({"kty": "RSA", "kid": kid, "e": e, "n": n, "use": "sig", "alg": "RS256"});
        Ok(Self { kid, private, public })
    }
}

/// `/.well-known/openid-configuration`.
pub fn discovery(issuer: &str, base: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/oauth/authorize"),
        "token_endpoint": format!("{base}/oauth/token"),
        "userinfo_endpoint": format!("{base}/oauth/userinfo"),
        "jwks_uri": format!("{base}/oauth/discovery/keys"),
        "scopes_supported": ["api", "read_api", "openid"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

/// Every unit primitive that is free or in an active add-on: a token carries all of them, not one per call.
fn unit_primitives(state: &State) -> Vec<String> {
    let mut scopes = vec!["self_hosted_models", "documentation_search", "ai_gateway_model_provider_proxy"];
    if state.has_add_on("duo_enterprise") || state.has_add_on("code_suggestions") || state.has_add_on("duo_core") {
        scopes.extend(["complete_code", "generate_code", "duo_chat", "explain_code", "refactor_code", "fix_code"]);
        scopes.extend(["write_tests", "include_file_context", "include_snippet_context", "include_issue_context"]);
        scopes.extend(["include_merge_request_context", "include_dependency_context", "include_local_git_context"]);
        scopes.extend(["include_terminal_context", "include_repository_context", "include_directory_context"]);
    }
    if state.has_add_on("duo_enterprise") {
        scopes.extend(["ask_build", "ask_commit", "ask_epic", "ask_issue", "ask_merge_request"]);
        scopes.extend(["explain_vulnerability", "troubleshoot_job", "summarize_comments", "generate_commit_message"]);
        scopes.extend(["summarize_new_merge_request", "summarize_review", "resolve_vulnerability"]);
        scopes.extend(["review_merge_request", "glab_ask_git_command", "categorize_duo_chat_question"]);
    }
    if state.instance.version.at_least(19, 0) {
        scopes.extend(["duo_classic_chat", "duo_agent_platform", "ask_work_item"]);
    } else {
        scopes.push("duo_workflow_execute_workflow");
    }
    scopes.into_iter().map(str::to_owned).collect()
}
