//! The listener: accepts connections, dispatches requests, plays faults, keeps the journal.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::faults::{Action, Target};
use super::journal::{Entry, masked};
use super::sim::Sim;
use super::{auth, control, graphql, oidc, rest};

const MAX_BODY: usize = 16 * 1024 * 1024;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// The connection is dropped without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub struct Cut;

/// Serves until dropped, by https when there is an acceptor.
pub async fn run(sim: Arc<Sim>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    // dropped with this future: every connection ends then
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (sim, tls) = (Arc::clone(&sim), tls.clone());
                    connections.spawn(async move {
                        match tls {
                            None => connection(sim, peer, stream).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => connection(sim, peer, stream).await,
                                Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                            },
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(sim: Arc<Sim>, peer: SocketAddr, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| serve(Arc::clone(&sim), peer, request));
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn serve(sim: Arc<Sim>, peer: SocketAddr, request: Request<Incoming>) -> Result<Answer, Cut> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(json_answer(413, &json!({"message": "413 Request Entity Too Large"}))),
    };
    let path = head.uri.path();
    if let Some(rest) = path.strip_prefix("/_sim/") {
        return Ok(control::handle(&sim, &head.method, rest, head.uri.query(), &body).await);
    }
    tracing::debug!(%peer, method = %head.method, path, "request");
    let started = Instant::now();
    let call = Call::new(&sim, &head.method, path, &head.headers, body);
    let fault = sim.faults.take(&call.target());
    if let Some((label, ..)) = &fault {
        call.amend(|entry| entry.fault = Some(label.clone()));
    }
    let answer = match fault {
        None => call.handle().await,
        Some((_, after_effect, action)) => {
            let real = if after_effect || matches!(action, Action::Delay { .. }) {
                if let Action::Delay { ms } = action {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                Some(call.handle().await)
            } else {
                None
            };
            play(action, real).await?
        }
    };
    let status = answer.status().as_u16();
    let duration = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    call.amend(|entry| {
        entry.status = Some(status);
        entry.duration_ms = duration;
    });
    let kind = call.kind;
    tracing::info!(kind, method = %head.method, path, status, duration_ms = duration, fields = ?call.graphql.as_ref().map(|it| &it.fields), "answered");
    Ok(answer)
}

/// What the fault makes of the request; `real` is the true answer when the effect came first.
async fn play(action: Action, real: Option<Answer>) -> Result<Answer, Cut> {
    Ok(match action {
        Action::Status { code, retry_after } => {
            let mut answer = json_answer(code, &json!({"message": format!("{code} simulated fault")}));
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            answer
        }
        Action::Html => text_answer(502, "text/html", "<html><body><h1>502 Bad Gateway</h1></body></html>"),
        Action::Delay { .. } => real.unwrap_or_else(|| json_answer(500, &json!({}))),
        Action::Hang => std::future::pending::<Answer>().await,
        Action::Cut => return Err(Cut),
        Action::Oversized { bytes } => {
            let mut text = Vec::with_capacity(bytes + 16);
            text.extend_from_slice(br#"{"data":{"x":""#);
            text.resize(bytes.saturating_sub(3).max(text.len()), b'x');
            text.extend_from_slice(br#""}}"#);
            let mut answer = Response::new(Full::new(Bytes::from(text)));
            answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            answer
        }
        Action::GraphqlError { message } => json_answer(200, &json!({"data": null, "errors": [{"message": message}]})),
    })
}

/// One request on its way.
struct Call<'a> {
    sim: &'a Arc<Sim>,
    seq: u64,
    kind: &'static str,
    method: &'a Method,
    path: &'a str,
    caller: Result<super::rights::Caller, auth::Refusal>,
    graphql: Option<graphql::Request>,
}

impl<'a> Call<'a> {
    fn new(sim: &'a Arc<Sim>, method: &'a Method, path: &'a str, headers: &HeaderMap, body: Bytes) -> Self {
        let kind = match path {
            "/api/graphql" => "graphql",
            _ if path.starts_with("/api/v4/") => "rest",
            _ if path.contains("/.well-known/") || path.ends_with("/oauth/discovery/keys") => "oidc",
            _ => "other",
        };
        let caller = sim.read(|state| auth::identify(state, headers));
        let graphql = if kind == "graphql" { graphql::Request::parse(&body) } else { None };
        let mut entry = Entry {
            at: Timestamp::now(),
            kind: kind.to_owned(),
            method: method.to_string(),
            path: path.to_owned(),
            user: caller.as_ref().ok().and_then(|caller| caller.user.as_ref()).map(|user| user.username.clone()),
            user_agent: headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned),
            ..Entry::default()
        };
        if let Some(request) = &graphql {
            (entry.variables, entry.api_token_sent) = masked(&request.variables);
            entry.operation_name.clone_from(&request.operation_name);
            entry.fields.clone_from(&request.fields);
            entry.mutation = request.mutation;
            entry.query = Some(request.query.clone());
        }
        Self { sim, seq: sim.journal.push(entry), kind, method, path, caller, graphql }
    }

    fn target(&self) -> Target<'_> {
        let graphql = self.graphql.as_ref();
        Target {
            kind: self.kind,
            path: self.path,
            operation_name: graphql.and_then(|request| request.operation_name.as_deref()),
            fields: graphql.map_or(&[], |request| &request.fields),
            mutation: graphql.is_some_and(|request| request.mutation),
        }
    }

    fn amend(&self, change: impl FnOnce(&mut Entry)) {
        self.sim.journal.amend(self.seq, change);
    }

    async fn handle(&self) -> Answer {
        let url = self.sim.external_url();
        match (self.kind, self.path) {
            ("graphql", _) => self.graphql().await,
            ("rest", path) => {
                let path = path.trim_start_matches("/api/v4/");
                let (status, body) = match &self.caller {
                    Err(refusal) => refusal.rest(),
                    Ok(caller) if self.method == Method::GET => {
                        self.sim.read(|state| rest::get(state, caller, path, url))
                    }
                    Ok(_) => (405, json!({"error": "405 Not Allowed"})),
                };
                json_answer(status, &body)
            }
            ("oidc", path) => {
                let portal = format!("{url}{}", oidc::PORTAL_PATH);
                let body = match path.strip_prefix(oidc::PORTAL_PATH) {
                    None if path.ends_with("/openid-configuration") => oidc::discovery(url, url),
                    None => self.sim.keys.jwks(),
                    Some(path) if path.ends_with("/openid-configuration") => {
                        oidc::discovery(oidc::PORTAL_ISSUER, &portal)
                    }
                    Some(_) => self.sim.keys.portal_jwks(),
                };
                let mut answer = json_answer(200, &body);
                let cached = http::HeaderValue::from_static("max-age=86400, public");
                answer.headers_mut().insert(CACHE_CONTROL, cached);
                answer
            }
            _ => json_answer(404, &json!({"error": "404 Not Found"})),
        }
    }

    async fn graphql(&self) -> Answer {
        let caller = match &self.caller {
            Err(refusal) => {
                let (status, body) = refusal.graphql();
                return json_answer(status, &body);
            }
            Ok(caller) => caller.clone(),
        };
        let Some(request) = &self.graphql else {
            return json_answer(422, &json!({"errors": [{"message": "Unexpected end of document"}]}));
        };
        if self.method != Method::POST {
            return json_answer(422, &json!({"errors": [{"message": "Mutations are forbidden in GET requests"}]}));
        }
        let before = self.sim.read(|state| state.revision);
        let answer = graphql::handle(self.sim, caller, request).await;
        let after = self.sim.read(|state| state.revision);
        self.amend(|entry| {
            entry.errors = answer.errors;
            // two mutations at once may both claim one change; tests that count run alone
            entry.changed = request.mutation && after != before;
        });
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = http::HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// A JSON answer.
pub fn json_answer(status: u16, body: &Value) -> Answer {
    text_answer(status, "application/json", &body.to_string())
}

fn text_answer(status: u16, content_type: &'static str, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}

/// Binds the listener.
///
/// # Errors
/// The address cannot be bound.
pub async fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
