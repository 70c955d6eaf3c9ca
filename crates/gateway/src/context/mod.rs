//! What is known of one request while it is served, and the lines it leaves behind: the access log's, and one of the
//! audit log for each model request.
//!
//! The lines are written when the last byte has gone out, or when the client is gone, whichever comes first: the record
//! is owned by the answer's body. They hold no prompt, no answer and no key. What every line of a request carries is
//! written once, at its beginning.

mod facts;
mod recorded;
mod server_span;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use serde::Serialize;

use crate::logging::{self, Fields, GENERAL, Head, Sink, seconds};
use crate::telemetry::{Trace, hex};
use facts::Facts;

pub use recorded::Recorded;

/// Request headers that are fields of every line of the request.
pub(crate) const HEADER_FIELDS: [(&str, &str); 12] = [
    ("gitlab_instance_id", "x-gitlab-instance-id"),
    ("gitlab_global_user_id", "x-gitlab-global-user-id"),
    ("gitlab_host_name", "x-gitlab-host-name"),
    ("gitlab_version", "x-gitlab-version"),
    ("gitlab_realm", "x-gitlab-realm"),
    ("gitlab_language_server_version", "x-gitlab-language-server-version"),
    ("gitlab_saas_duo_pro_namespace_ids", "x-gitlab-saas-duo-pro-namespace-ids"),
    ("gitlab_root_namespace_id", "x-gitlab-root-namespace-id"),
    ("gitlab_feature_enabled_by_namespace_ids", "x-gitlab-feature-enabled-by-namespace-ids"),
    ("gitlab_feature_enablement_type", "x-gitlab-feature-enablement-type"),
    ("is_gitlab_team_member", "x-gitlab-is-team-member"),
    ("gitlab_organization_id", "x-gitlab-organization-id"),
];
/// Request headers that are fields of the access line.
pub(crate) const ACCESS_HEADER_FIELDS: [(&str, &str); 2] =
    [("user_agent", "user-agent"), ("enabled_feature_flags", "x-gitlab-enabled-feature-flags")];
/// Notes that the audit line repeats.
const AUDITED_NOTES: [&str; 3] = ["prompt_id", "code_suggestion_type", "limited_by"];
/// Longer header values and paths are cut in logs, in bytes.
const LONGEST_FIELD: usize = 256;

/// One request's record. Clones share it.
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

struct Inner {
    id: String,
    sink: Sink,
    wanted: bool,
    started: Instant,
    arrived: SystemTime,
    method: Method,
    uri: Uri,
    version: Version,
    client: SocketAddr,
    secure: bool,
    route: &'static str,
    trace: Option<Trace>,
    sent_at: Option<f64>,
    /// Correlation id and [`HEADER_FIELDS`].
    common: Fields,
    facts: Mutex<Facts>,
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
    /// Came by TLS.
    pub secure: bool,
    /// Template of its path.
    pub route: &'static str,
}

impl RequestContext {
    /// Begins the record. `wanted`: whether the access line is written at all; `trace`: what the request belongs to.
    pub fn new(id: String, arrival: &Arrival<'_>, sink: Sink, wanted: bool, trace: Option<Trace>) -> Self {
        let header = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok());
        let mut common = sink.fields(512);
        common.add("correlation_id", &id);
        if let Some(trace) = &trace {
            common.add("trace_id", hex(&trace.own.trace_id));
            common.add("span_id", hex(&trace.own.span_id));
        }
        let mut notes = sink.fields(if wanted { 1024 } else { 0 });
        for (fields, names) in [(&mut common, &HEADER_FIELDS[..]), (&mut notes, &ACCESS_HEADER_FIELDS[..])] {
            for (field, name) in names {
                if let Some(value) = header(name) {
                    fields.add(field, cut(value));
                }
            }
        }
        Self(Arc::new(Inner {
            id,
            wanted,
            started: Instant::now(),
            arrived: SystemTime::now(),
            method: arrival.method.clone(),
            uri: arrival.uri.clone(),
            version: arrival.version,
            client: arrival.client,
            secure: arrival.secure,
            route: arrival.route,
            trace,
            sent_at: header("x-gitlab-rails-send-start").and_then(|value| value.parse().ok()),
            common,
            facts: Mutex::new(Facts::new(notes)),
            sink,
        }))
    }

    /// Correlation id.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What the request belongs to, where traces are made.
    pub fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// When the request arrived.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Adds a field to the access line; a later value of the same name counts. Names are those of `SIGNALS.md`.
    pub fn note(&self, field: &'static str, value: impl Serialize) {
        if self.0.wanted || AUDITED_NOTES.contains(&field) {
            self.facts().notes.add(field, value);
        }
    }

    /// The answer has begun.
    pub fn answered(&self, status: u16, content_type: Option<&HeaderValue>) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.0.started);
        let mut facts = self.facts();
        facts.status = Some(status);
        facts.content_type = content_type.cloned();
        // its body is never sent
        facts.complete |= self.0.method == Method::HEAD;
        facts.overhead = facts.away.total(now).map(|away| took.saturating_sub(away));
        facts.start = Some(took);
    }

    /// The gateway's own share of the time to the start of the answer; `None` before it, and where no model was asked.
    pub fn overhead(&self) -> Option<Duration> {
        self.facts().overhead
    }

    /// The request waits for others until the guard is dropped: that is not the gateway's own time.
    pub fn away(&self) -> Waiting {
        self.facts().away.begin(Instant::now());
        Waiting(self.clone())
    }

    /// Fields for another line of this request.
    pub fn fields(&self) -> Fields {
        self.0.sink.fields(256)
    }

    /// Writes another line of this request.
    pub fn line(&self, head: Head<'_>, message: std::fmt::Arguments<'_>, fields: &Fields) {
        self.0.sink.write(head, message, &[&self.0.common, fields]);
    }

    /// Writes a warning about this request.
    pub fn warn(&self, message: &str, fields: &Fields) {
        let head = Head { level: tracing::Level::WARN, logger: "duo_gateway", kind: GENERAL };
        self.line(head, format_args!("{message}"), fields);
    }

    /// A model request has ended; `fields` are those of its audit line that are its own.
    pub fn audit(&self, fields: Fields) {
        self.facts().audit(fields);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`RequestContext::away`].
pub struct Waiting(RequestContext);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.facts().away.end(Instant::now());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let facts = std::mem::replace(
            self.facts.get_mut().unwrap_or_else(PoisonError::into_inner),
            Facts::new(Fields::new(true, 0)),
        );
        for audit in &facts.audits {
            self.audit(&facts, audit);
        }
        if self.wanted {
            self.access(&facts);
        }
        if let Some(trace) = self.trace.as_ref().filter(|trace| trace.own.sampled) {
            server_span::end(self, trace, &facts);
        }
    }
}

impl Inner {
    /// The client went away before an answer began: nginx's number for it.
    fn status(facts: &Facts) -> u16 {
        facts.status.unwrap_or(499)
    }

    fn audit(&self, facts: &Facts, audit: &Fields) {
        let mut more = self.sink.fields(64);
        more.add("status_code", Self::status(facts));
        for name in AUDITED_NOTES {
            if let Some(note) = facts.notes.get(name) {
                more.append(&note);
            }
        }
        let head = Head { level: tracing::Level::INFO, logger: "audit", kind: "audit" };
        self.sink.write(head, format_args!("Model request"), &[&self.common, audit, &more]);
    }

    fn access(&self, facts: &Facts) {
        let status = Self::status(facts);
        let path = cut(self.uri.path());
        let version = version(self.version);
        let duration_request = self.sent_at.map_or(-1.0, |sent| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
            ((now - sent) * 1e6).round() / 1e6
        });
        let mut arrived = Vec::with_capacity(32);
        logging::timestamp(&mut arrived, self.arrived);
        let mut line = self.sink.fields(640);
        // the query is left out: nobody of GitLab sends one, and it may hold anything
        line.add("url", path);
        line.add("path", path);
        line.add("status_code", status);
        line.add("method", self.method.as_str());
        line.add("http_version", version);
        line.add("client_ip", self.client.ip());
        line.add("client_port", self.client.port());
        line.add("duration_s", seconds(self.started.elapsed()));
        line.add("duration_request", duration_request);
        line.add("request_arrived_at", String::from_utf8_lossy(&arrived));
        line.add("response_start_duration_s", facts.start.map(seconds));
        line.add("first_chunk_duration_s", facts.first_chunk.map(seconds));
        line.add("overhead_s", facts.overhead.map(seconds));
        line.add("content_type", facts.content_type.as_ref().and_then(|value| value.to_str().ok()));
        line.add("client_disconnected", (!facts.complete).then_some(true));
        let level = if status >= 500 { tracing::Level::WARN } else { tracing::Level::INFO };
        let message = format_args!("{} - \"{} {path} HTTP/{version}\" {status}", self.client, self.method);
        let head = Head { level, logger: "api.access", kind: GENERAL };
        self.sink.write(head, message, &[&self.common, &line, &facts.notes.fields]);
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// As much of a text as a field holds.
pub(crate) fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(LONGEST_FIELD)).unwrap_or(value)
}
