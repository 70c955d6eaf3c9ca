//! What is known of one request while it is served, and the access-log line it leaves behind.
//!
//! The line is written when the last byte has gone out, or when the client is gone, whichever comes first: the record
//! is owned by the answer's body. It holds no prompt, no answer and no key.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::{Map, Value, json};

use crate::body::Held;
use crate::logging::Sink;

/// Log fields that are request headers.
const HEADER_FIELDS: [(&str, &str); 13] = [
    ("gitlab_instance_id", "x-gitlab-instance-id"),
    ("gitlab_global_user_id", "x-gitlab-global-user-id"),
    ("gitlab_host_name", "x-gitlab-host-name"),
    ("gitlab_version", "x-gitlab-version"),
    ("gitlab_realm", "x-gitlab-realm"),
    ("gitlab_language_server_version", "x-gitlab-language-server-version"),
    ("gitlab_root_namespace_id", "x-gitlab-root-namespace-id"),
    ("gitlab_feature_enabled_by_namespace_ids", "x-gitlab-feature-enabled-by-namespace-ids"),
    ("gitlab_feature_enablement_type", "x-gitlab-feature-enablement-type"),
    ("is_gitlab_team_member", "x-gitlab-is-team-member"),
    ("gitlab_organization_id", "x-gitlab-organization-id"),
    ("user_agent", "user-agent"),
    ("enabled_feature_flags", "x-gitlab-enabled-feature-flags"),
];
/// Longer header values and paths are cut in logs.
const LONGEST_FIELD: usize = 256;

/// One request's record. Clones share it.
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

struct Inner {
    id: String,
    sink: Sink,
    wanted: bool,
    started: Instant,
    arrived: jiff::Timestamp,
    method: Method,
    uri: Uri,
    version: Version,
    client: SocketAddr,
    sent_at: Option<f64>,
    fields: Map<String, Value>,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    status: Option<u16>,
    content_type: Option<String>,
    start_seconds: Option<f64>,
    first_chunk_seconds: Option<f64>,
    complete: bool,
    fields: Map<String, Value>,
}

/// The fixed part of a request.
pub struct Arrival<'a> {
    /// Method.
    pub method: &'a Method,
    /// Target.
    pub uri: &'a Uri,
    /// Protocol version.
    pub version: Version,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Peer.
    pub client: SocketAddr,
}

impl RequestContext {
    /// Begins the record. `wanted`: whether the line is written at all.
    pub fn new(id: String, arrival: &Arrival<'_>, sink: Sink, wanted: bool) -> Self {
        let header = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok());
        let mut fields = Map::new();
        for (field, name) in HEADER_FIELDS {
            if let Some(value) = header(name) {
                fields.insert(field.to_owned(), cut(value).into());
            }
        }
        Self(Arc::new(Inner {
            id,
            sink,
            wanted,
            started: Instant::now(),
            arrived: jiff::Timestamp::now(),
            method: arrival.method.clone(),
            uri: arrival.uri.clone(),
            version: arrival.version,
            client: arrival.client,
            sent_at: header("x-gitlab-rails-send-start").and_then(|value| value.parse().ok()),
            fields,
            facts: Mutex::default(),
        }))
    }

    /// Correlation id.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// When the request arrived.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Adds a field to the line; a later value of the same name counts.
    pub fn note(&self, field: &str, value: impl Into<Value>) {
        self.facts().fields.insert(field.to_owned(), value.into());
    }

    /// The answer has begun.
    pub fn answered(&self, status: u16, content_type: Option<String>) {
        let seconds = self.0.started.elapsed().as_secs_f64();
        let mut facts = self.facts();
        facts.status = Some(status);
        facts.content_type = content_type;
        // its body is never sent
        facts.complete |= self.0.method == Method::HEAD;
        facts.start_seconds = Some(seconds);
    }

    /// Writes a line about this request that is not its access line.
    pub fn warn(&self, message: &str, fields: Map<String, Value>) {
        let mut line = Map::new();
        line.insert("correlation_id".into(), self.0.id.as_str().into());
        line.extend(fields);
        self.0.sink.write(tracing::Level::WARN, "duo_gateway", message, line);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.wanted {
            return;
        }
        let facts = std::mem::take(self.facts.get_mut().unwrap_or_else(PoisonError::into_inner));
        // the client went away before an answer began; nginx's number for it
        let status = facts.status.unwrap_or(499);
        let path = cut(self.uri.path());
        let version = match self.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        let message = format!("{} - \"{} {path} HTTP/{version}\" {status}", self.client, self.method);
        let mut line = Map::new();
        line.insert("correlation_id".into(), self.id.as_str().into());
        line.append(&mut self.fields);
        let duration_request = self.sent_at.map_or(-1.0, |sent| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
            now - sent
        });
        let more = json!({
            // the query is left out: nobody of GitLab sends one, and it may hold anything
            "url": path,
            "path": path,
            "status_code": status,
            "method": self.method.as_str(),
            "http_version": version,
            "client_ip": self.client.ip().to_string(),
            "client_port": self.client.port(),
            "duration_s": self.started.elapsed().as_secs_f64(),
            "duration_request": duration_request,
            "request_arrived_at": self.arrived.to_string(),
            "response_start_duration_s": facts.start_seconds,
            "first_chunk_duration_s": facts.first_chunk_seconds,
            "content_type": facts.content_type,
            "client_disconnected": (!facts.complete).then_some(true),
        });
        if let Value::Object(more) = more {
            line.extend(more);
        }
        line.extend(facts.fields);
        let level = if status >= 500 { tracing::Level::WARN } else { tracing::Level::INFO };
        self.sink.write(level, "api.access", &message, line);
    }
}

/// The answer's body with the request's record in it: lives as long as the answer is being sent.
pub struct Recorded {
    inner: Body,
    context: RequestContext,
    /// A stream's model call still has the request's texts.
    _held: Option<Held>,
    begun: bool,
}

impl Recorded {
    /// Joins the two.
    pub fn new(inner: Body, context: RequestContext, held: Option<Held>) -> Self {
        let recorded = Self { inner, context, _held: held, begun: false };
        if recorded.inner.is_end_stream() {
            recorded.context.facts().complete = true;
        }
        recorded
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !self.begun && matches!(frame, Some(Ok(_))) {
            self.begun = true;
            let seconds = self.context.0.started.elapsed().as_secs_f64();
            self.context.facts().first_chunk_seconds = Some(seconds);
        }
        // an error ends the answer from our side, so it is not the client that went away
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.context.facts().complete = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn cut(value: &str) -> String {
    value.chars().take(LONGEST_FIELD).collect()
}
