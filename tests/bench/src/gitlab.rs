//! The GitLab of the bench: a key as Rails makes it, the documents that publish it, and tokens signed with it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::Fallible;

/// Instance id.
pub const INSTANCE: &str = "5cb5dd2a-7d4b-4a3c-8d0b-0123456789ab";
const KID: &str = "b3JkaW5hcnkgdGh1bWJwcmludCBvZiBhIGtleSAx";
/// What a self-hosted instance's token holds: every unit primitive, not only the one that is asked for.
const SCOPES: [&str; 30] = [
    "complete_code",
    "generate_code",
    "duo_chat",
    "duo_classic_chat",
    "explain_code",
    "write_tests",
    "refactor_code",
    "fix_code",
    "explain_vulnerability",
    "resolve_vulnerability",
    "troubleshoot_job",
    "summarize_comments",
    "ask_build",
    "ask_commit",
    "ask_epic",
    "ask_issue",
    "ask_merge_request",
    "ask_work_item",
    "documentation_search",
    "include_file_context",
    "include_snippet_context",
    "include_merge_request_context",
    "include_issue_context",
    "include_dependency_context",
    "generate_commit_message",
    "summarize_new_merge_request",
    "summarize_review",
    "review_merge_request",
    "glab_ask_git_command",
    "generate_embeddings_codebase",
];

/// A signing key of 2048 bits.
pub struct Keys {
    pem: String,
}

impl Keys {
    /// A new one.
    ///
    /// # Errors
    /// The library has no randomness.
    pub fn generate() -> Fallible<Self> {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).map_err(|_| "no RSA key")?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| "no DER of the RSA key")?;
        Ok(Self { pem: pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec())) })
    }

    /// The private key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn encoding(&self) -> Fallible<EncodingKey> {
        Ok(EncodingKey::from_rsa_pem(self.pem.as_bytes())?)
    }

    /// The published set.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn jwks(&self) -> Fallible<Value> {
        let mut jwk = Jwk::from_encoding_key(&self.encoding()?, Algorithm::RS256)?;
        jwk.common.key_id = Some(KID.to_owned());
        let mut value = serde_json::to_value(jwk)?;
        value["use"] = "sig".into();
        Ok(json!({ "keys": [value] }))
    }

    /// As many different tokens, good for an hour.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn tokens(&self, count: usize) -> Fallible<Vec<String>> {
        let key = self.encoding()?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(KID.to_owned());
        let now = jiff::Timestamp::now().as_second();
        (0..count)
            .map(|number| {
                let claims = json!({
                    "iss": "https://gitlab.example.com", "sub": INSTANCE, "gitlab_realm": "self-managed",
                    "aud": ["gitlab-ai-gateway", "gitlab-duo-workflow-service"], "jti": format!("token-{number}"),
                    "iat": now, "nbf": now - 5, "exp": now + 3600, "scopes": SCOPES,
                });
                Ok(jsonwebtoken::encode(&header, &claims, &key)?)
            })
            .collect()
    }
}
