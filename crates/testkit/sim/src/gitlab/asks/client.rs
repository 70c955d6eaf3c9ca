//! One call to the gateway, with the headers Rails sends and the failures Ruby would name.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::gitlab::journal::Entry;
use crate::gitlab::sim::Sim;
use crate::gitlab::state::User;

/// What GitLab says to itself in Silent Mode; HEAD, the host probe's method, passes.
const SILENT: &str = "only get, head, options, and trace methods are allowed in silent mode";
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// A call to make.
pub struct GatewayCall {
    /// Whole URL.
    pub url: String,
    /// Token; none sends `Authorization: Bearer ` with nothing behind it.
    pub token: Option<String>,
    /// Who asks.
    pub user: Option<User>,
    /// JSON body; null sends none.
    pub body: Value,
    /// How long to wait for the answer's head, and for each next piece of the body.
    pub timeout: Duration,
    /// Headers beside the usual ones.
    pub extra_headers: Vec<(&'static str, String)>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct GatewayAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// `X-Streaming-Format`.
    pub streaming_format: String,
    /// Body as far as it arrived.
    pub body: Vec<u8>,
    /// Pieces in which the body arrived.
    pub pieces: usize,
    /// Why the body broke off, in Ruby's words.
    pub broken: Option<String>,
}

/// What became of a call, for reports.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CallReport {
    /// Whole URL.
    pub url: String,
    /// Id sent as `X-Request-ID`; the gateway's log has it too.
    pub request_id: String,
    /// HTTP status; none when there was no answer.
    pub status: Option<u16>,
    /// Pieces in which the body arrived.
    pub pieces: usize,
    /// Network failure, in Ruby's words.
    pub error: Option<String>,
    /// The gateway's error body (or its first 2,000 characters), when the status was not 200.
    pub detail: Option<String>,
    /// Time to the answer's head, milliseconds.
    pub head_ms: u64,
    /// Time to its end, milliseconds.
    pub total_ms: u64,
}

/// Calls the gateway.
///
/// # Errors
/// No answer: the failure in Ruby's words.
pub async fn post(sim: &Arc<Sim>, call: &GatewayCall) -> Result<GatewayAnswer, String> {
    let (answer, _) = post_reported(sim, call).await;
    answer
}

/// Calls the gateway, and says what became of it.
pub async fn post_reported(sim: &Arc<Sim>, call: &GatewayCall) -> (Result<GatewayAnswer, String>, CallReport) {
    let started = Instant::now();
    let millis = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let request_id = uuid::Uuid::new_v4().simple().to_string();
    let mut report = CallReport { url: call.url.clone(), request_id: request_id.clone(), ..CallReport::default() };
    if sim.read(|state| state.instance.silent_mode) {
        report.error = Some(SILENT.to_owned());
        return (Err(SILENT.to_owned()), report);
    }
    let sent = tokio::time::timeout(call.timeout, request(sim, call, &request_id).send()).await;
    report.head_ms = millis();
    let answer = match sent {
        Err(_) => Err("Net::ReadTimeout with #<TCPSocket:(closed)>".to_owned()),
        Ok(Err(error)) => Err(network_error(&error, &call.url)),
        Ok(Ok(response)) => Ok(read(response, call.timeout).await),
    };
    report.total_ms = millis();
    match &answer {
        Ok(answer) => {
            report.status = Some(answer.status);
            report.pieces = answer.pieces;
            report.error.clone_from(&answer.broken);
            if answer.status != 200 {
                report.detail = Some(String::from_utf8_lossy(&answer.body).chars().take(2_000).collect());
            }
        }
        Err(error) => report.error = Some(error.clone()),
    }
    sim.journal.push(Entry {
        at: Timestamp::now(),
        kind: "outgoing".to_owned(),
        method: "POST".to_owned(),
        path: call.url.clone(),
        user: call.user.as_ref().map(|user| user.username.clone()),
        status: report.status,
        errors: report.error.iter().chain(&report.detail).cloned().collect(),
        duration_ms: report.head_ms,
        ..Entry::default()
    });
    (answer, report)
}

fn request(sim: &Sim, call: &GatewayCall, request_id: &str) -> reqwest::RequestBuilder {
    let (instance, version, license) =
        sim.read(|state| (state.instance.uuid.clone(), state.instance.version, state.license.clone()));
    let token = call.token.as_deref().unwrap_or_default();
    let host = url::Url::parse(sim.external_url()).ok().and_then(|url| url.host_str().map(str::to_owned));
    let user = call.user.as_ref().map(|user| user.id).unwrap_or_default();
    let mut request = sim
        .http
        .post(&call.url)
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .header("X-Request-ID", request_id)
        .header("X-Gitlab-Rails-Send-Start", format!("{:.6}", Timestamp::now().as_microsecond() as f64 / 1e6))
        .header("User-Agent", "GitLab/simulated")
        .header("x-gitlab-host-name", host.unwrap_or_default())
        .header("x-gitlab-instance-id", &instance)
        .header("x-gitlab-realm", "self-managed")
        .header("x-gitlab-deployment-type", "self-managed")
        .header("x-gitlab-version", version.to_string())
        .header("x-gitlab-global-user-id", global_user_id(&instance, user))
        .header("x-gitlab-user-id", user.to_string())
        .header("x-gitlab-feature-enabled-by-namespace-ids", "")
        .header("x-gitlab-feature-enablement-type", "add_on")
        .header("x-gitlab-enabled-feature-flags", "")
        .header("x-gitlab-enabled-instance-verbose-ai-logs", "false")
        .header("X-Gitlab-Is-Team-Member", "false");
    if !version.at_least(18, 9) {
        let seats = license.map(|license| license.users).unwrap_or_default();
        request = request.header("X-Gitlab-Duo-Seat-Count", seats.to_string());
    }
    if version.at_least(19, 0) {
        request = request.header("x-gitlab-organization-id", "1");
    }
    for (name, value) in &call.extra_headers {
        request = request.header(*name, value);
    }
    if call.body.is_null() { request } else { request.body(call.body.to_string()) }
}

/// A stable pseudonym of a user across the instance's calls.
fn global_user_id(instance: &str, user: u64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(format!("{instance}:{user}")))
}

async fn read(mut response: reqwest::Response, timeout: Duration) -> GatewayAnswer {
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut answer = GatewayAnswer {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        streaming_format: header("x-streaming-format"),
        ..GatewayAnswer::default()
    };
    loop {
        match tokio::time::timeout(timeout, response.chunk()).await {
            Err(_) => {
                answer.broken = Some("Net::ReadTimeout with #<TCPSocket:(closed)>".to_owned());
                return answer;
            }
            Ok(Err(_)) => {
                answer.broken = Some("end of file reached".to_owned());
                return answer;
            }
            Ok(Ok(None)) => return answer,
            Ok(Ok(Some(piece))) => {
                answer.pieces += 1;
                answer.body.extend_from_slice(&piece);
                if answer.body.len() > MAX_ANSWER {
                    answer.broken = Some("answer too large".to_owned());
                    return answer;
                }
            }
        }
    }
}

/// A network failure as Ruby's HTTP client words it.
pub fn network_error(error: &reqwest::Error, url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let port = url.and_then(|url| url.port_or_known_default()).unwrap_or_default();
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push_str(&inner.to_string());
        causes.push(' ');
        cause = inner.source();
    }
    let causes = causes.to_lowercase();
    if error.is_timeout() {
        "Net::ReadTimeout with #<TCPSocket:(closed)>".to_owned()
    } else if causes.contains("refused") {
        format!(
            "Failed to open TCP connection to {host}:{port} (Connection refused - connect(2) for \"{host}\" port {port})"
        )
    } else if causes.contains("dns") || causes.contains("lookup") || causes.contains("resolve") {
        format!("Failed to open TCP connection to {host}:{port} (getaddrinfo: Name or service not known)")
    } else if causes.contains("certificate") || causes.contains("tls") {
        format!("SSL_connect returned=1 errno=0 peeraddr={host}:{port} state=error: certificate verify failed")
    } else {
        "end of file reached".to_owned()
    }
}
