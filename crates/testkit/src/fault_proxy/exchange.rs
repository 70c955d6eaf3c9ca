//! One call: counted, passed on, answered, or spoilt.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};

use super::answers::{self, Answer};
use super::{Fault, Named, Shared, lock, watch};
use crate::error::{Error, Result};

/// A body; an error in it cuts the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// The connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(super) struct Cut;

/// A late answer is this late.
const DELAY: Duration = Duration::from_millis(1500);
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The client towards the upstream; no limit of time, as watches have none.
pub(super) fn client(ca_pem: Option<&str>) -> Result<reqwest::Client> {
    let failed = |error: reqwest::Error| Error::Invalid { what: "the proxy's client".into(), why: error.to_string() };
    let mut builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).map_err(failed)?]);
    }
    builder.build().map_err(failed)
}

pub(super) async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    let Some(named) = (shared.namer)(&head, &body) else {
        return Ok(stream(pass(&shared, &head, body).await?));
    };
    let (mark, fault) = lock(&shared.plan).meet(named.clone(), false);
    let result = play(&shared, &head, body, named, fault).await;
    if let Ok(response) = &result {
        let status = response.status().as_u16();
        lock(&shared.plan).amend(mark, |call| call.status = Some(status));
    }
    result
}

async fn play(
    shared: &Arc<Shared>,
    head: &Parts,
    body: Bytes,
    named: Named,
    fault: Option<Fault>,
) -> Result<Response<Body>, Cut> {
    match fault {
        Some(Fault::KilledBefore) => {
            kill(shared).await;
            return Err(Cut);
        }
        Some(Fault::CutBefore) => return Err(Cut),
        Some(fault @ (Fault::Conflict | Fault::Gone | Fault::TooMany | Fault::Unavailable | Fault::Html)) => {
            return answers::of(fault, shared.style).map(whole).ok_or(Cut);
        }
        Some(Fault::Delayed) => tokio::time::sleep(DELAY).await,
        _ => {}
    }
    let question = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
    let response = pass(shared, head, body).await?;
    if let Some(what) = named.watch.filter(|_| response.status().is_success()) {
        return match fault {
            Some(Fault::KilledAfter) => {
                kill(shared).await;
                Err(Cut)
            }
            Some(Fault::CutAfter) => Err(Cut),
            _ => Ok(watched(response, what, Arc::clone(shared))),
        };
    }
    let answer = collect(response).await?;
    match fault {
        Some(Fault::KilledAfter) => {
            kill(shared).await;
            return Err(Cut);
        }
        Some(Fault::CutAfter) => return Err(Cut),
        Some(fault @ Fault::ErrorAfter) => return answers::of(fault, shared.style).map(whole).ok_or(Cut),
        Some(Fault::Stale) => {
            let stale = lock(&shared.plan).stale(&question, &answer);
            return Ok(whole(stale.unwrap_or(answer)));
        }
        _ => {}
    }
    if named.list && answer.status == 200 {
        lock(&shared.plan).keep(&question, &answer);
    }
    Ok(whole(answer))
}

/// Kills the caller; waits for its end on a thread where waiting is allowed.
async fn kill(shared: &Shared) {
    let kill = lock(&shared.kill).clone();
    if let Some(kill) = kill {
        let _ = tokio::task::spawn_blocking(move || kill()).await;
    }
}

/// Sends the call to the upstream. One that cannot be reached is a cut connection to the caller, too.
async fn pass(shared: &Shared, head: &Parts, body: Bytes) -> Result<reqwest::Response, Cut> {
    let upstream = lock(&shared.upstream).clone();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = head.headers.clone();
    for name in [HOST, CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let request = shared.client.request(head.method.clone(), format!("{upstream}{path}")).headers(headers).body(body);
    request.send().await.map_err(|error| {
        tracing::debug!(%error, "upstream");
        Cut
    })
}

async fn collect(response: reqwest::Response) -> Result<Answer, Cut> {
    let status = response.status().as_u16();
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    let body = response.bytes().await.map_err(|_| Cut)?;
    Ok(Answer { status, content_type, body })
}

fn whole(answer: Answer) -> Response<Body> {
    answer.response().map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

fn passed_headers(response: &reqwest::Response) -> HeaderMap {
    let mut headers = response.headers().clone();
    for name in [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn stream(response: reqwest::Response) -> Response<Body> {
    let (status, headers) = (response.status(), passed_headers(&response));
    streamed(status, headers, response.bytes_stream().map_err(|_| Cut))
}

fn watched(response: reqwest::Response, what: String, shared: Arc<Shared>) -> Response<Body> {
    let (status, headers) = (response.status(), passed_headers(&response));
    streamed(status, headers, watch::events(Box::pin(response.bytes_stream()), what, shared))
}

fn streamed(
    status: StatusCode,
    headers: HeaderMap,
    pieces: impl Stream<Item = Result<Bytes, Cut>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
