//! Access tokens of Google Cloud: from a service account's key, or from the metadata server (workload identity).
//!
//! A token is kept until five minutes before its end and fetched once however many calls wait for it. When a renewal
//! fails, the old one is used as long as it is valid.

use std::time::Duration;

use duo_protocol::failure::{phrase, scrub};
use duo_protocol::model::UpstreamFailure;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::caller::{CallError, Reply};
use super::json::{read, unreachable};
use crate::secret::Secret;

/// Renewed so long before the end.
const EARLY: Duration = Duration::from_secs(300);
/// One fetch may take so long; a model call waits for it.
const FETCH: Duration = Duration::from_secs(10);
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const MAX_ANSWER: usize = 64 << 10;

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A service account's key, the JSON file's text.
    Key(Secret),
    /// The metadata server at this `host[:port]`.
    Metadata(String),
}

/// The parts of a key file that matter here.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type", default)]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    project_id: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

struct Token {
    value: Secret,
    ends: Instant,
}

/// Fetches and keeps tokens.
pub struct Tokens {
    source: Source,
    client: reqwest::Client,
    token: Mutex<Option<Token>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Source {
    /// The metadata server of Google's own machines.
    pub fn metadata() -> Self {
        Self::Metadata("metadata.google.internal".to_owned())
    }

    /// Checks a key file and gives the project that it belongs to.
    ///
    /// # Errors
    /// What is wrong with it and the cure; never its content.
    pub fn check(key: &Secret) -> Result<Option<String>, String> {
        let file = KeyFile::parse(key)?;
        file.signer()?;
        Ok(file.project_id)
    }
}

impl KeyFile {
    fn parse(key: &Secret) -> Result<Self, String> {
        let file: Self = serde_json::from_str(key.expose())
            .map_err(|_| "is not the JSON key file of a Google service account".to_owned())?;
        if file.kind != "service_account" {
            let kind: String = file.kind.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(format!("holds credentials of type '{kind}'; give the key of a service account"));
        }
        Ok(file)
    }

    fn signer(&self) -> Result<(&str, EncodingKey), String> {
        let (Some(email), Some(pem)) = (&self.client_email, &self.private_key) else {
            return Err("has no client_email or no private_key".to_owned());
        };
        let key =
            EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| "its private_key is not an RSA key".to_owned())?;
        Ok((email, key))
    }
}

impl Tokens {
    /// From a source, over a client; nothing is fetched yet.
    pub fn new(source: Source, client: reqwest::Client) -> Self {
        Self { source, client, token: Mutex::new(None) }
    }

    /// Where they come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// A token that is valid for a while.
    ///
    /// # Errors
    /// [`UpstreamFailure`]: nobody gives one.
    pub async fn get(&self) -> Result<Secret, UpstreamFailure> {
        let mut kept = self.token.lock().await;
        let now = Instant::now();
        if let Some(token) = kept.as_ref().filter(|token| now + EARLY < token.ends) {
            return Ok(token.value.clone());
        }
        let fetched = tokio::time::timeout(FETCH, self.fetch()).await.unwrap_or(Err(UpstreamFailure::Timeout));
        match fetched {
            Ok(answer) => {
                // a lifetime that clocks cannot add is not believed
                let life = Duration::from_secs(answer.expires_in.min(24 * 3600));
                let value = Secret::new(answer.access_token);
                *kept = Some(Token { value: value.clone(), ends: now + life });
                Ok(value)
            }
            Err(failure) => match kept.as_ref().filter(|token| now < token.ends) {
                Some(token) => Ok(token.value.clone()),
                None => Err(failure),
            },
        }
    }

    /// The server refused the token: the next call fetches another.
    pub async fn forget(&self) {
        *self.token.lock().await = None;
    }

    async fn fetch(&self) -> Result<Answer, UpstreamFailure> {
        let request = match &self.source {
            Source::Metadata(host) => self
                .client
                .get(format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token"))
                .header("Metadata-Flavor", "Google"),
            Source::Key(key) => {
                let file = KeyFile::parse(key).map_err(|problem| denied(&problem))?;
                let (email, signer) = file.signer().map_err(|problem| denied(&problem))?;
                let uri = file.token_uri.as_deref().unwrap_or("https://oauth2.googleapis.com/token");
                let now = jiff::Timestamp::now().as_second();
                let claims = json!({ "iss": email, "scope": SCOPE, "aud": uri, "iat": now, "exp": now + 3600 });
                let mut header = Header::new(Algorithm::RS256);
                header.kid.clone_from(&file.private_key_id);
                let assertion = jsonwebtoken::encode(&header, &claims, &signer)
                    .map_err(|_| denied("its private_key cannot sign"))?;
                let form: String = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("grant_type", GRANT)
                    .append_pair("assertion", &assertion)
                    .finish();
                self.client.post(uri).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        };
        let sent = request.send().await.map(|reply| Reply::General(reply.into())).map_err(CallError::General);
        let mut response = sent.map_err(|error| match unreachable(&error) {
            UpstreamFailure::Unavailable { reason } => {
                UpstreamFailure::Unavailable { reason: format!("no Google access token: {reason}") }
            }
            other => other,
        })?;
        let status = response.status();
        let body = read(&mut response, MAX_ANSWER).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| UpstreamFailure::Protocol {
                reason: "Google's token endpoint gave no token; check token_uri of the key file".to_owned(),
            });
        }
        if status.is_server_error() {
            let reason = format!("Google's token endpoint answered {}", status.as_u16());
            return Err(UpstreamFailure::Unavailable { reason });
        }
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = said["error_description"].as_str().or(said["error"].as_str()).unwrap_or_default();
        Err(denied(&format!("were refused by Google: {}", scrub(words, &[]))))
    }
}

fn denied(problem: &str) -> UpstreamFailure {
    let reason = format!("{}: the Google credentials {problem}", phrase(401));
    UpstreamFailure::Status { code: 401, reason, retry_after: None }
}
