//! Building blocks of answers: JSON, the two error forms GitLab reads (`{"error": …}` for authentication,
//! `{"detail": …}` for the rest), and streams.

use axum::body::Body;
use bytes::Bytes;
use duo_protocol::contract::Invalid;
use duo_protocol::failure::FailureAnswer;
use futures::Stream;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::auth::AuthError;

/// What every route gives back.
pub type Answer = Response<Body>;

/// A throttled client is asked to wait this long where the model server named no time.
const DEFAULT_RETRY_AFTER: u64 = 5;

/// A JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // strings and numbers of ours: always written
    with_type(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

/// A body of the given content type.
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// What an error's body says, for the log; an extension of the answer.
#[derive(Clone)]
pub struct Detail(pub String);

fn explained(mut answer: Answer, detail: String) -> Answer {
    answer.extensions_mut().insert(Detail(detail));
    answer
}

/// `{"detail": "<text>"}`.
pub fn detail(status: StatusCode, text: &str) -> Answer {
    explained(json(status, &json!({ "detail": text })), text.to_owned())
}

/// 422 with the list that GitLab reads its text from.
pub fn invalid(invalid: &Invalid) -> Answer {
    explained(json(StatusCode::UNPROCESSABLE_ENTITY, &invalid.body()), invalid.summary())
}

/// 405 naming the method that is allowed.
pub fn method_not_allowed(allowed: &Method) -> Answer {
    let mut answer = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(value) = HeaderValue::from_str(allowed.as_str()) {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}

/// A refused token.
pub fn refused(error: &AuthError) -> Answer {
    let status = match error {
        AuthError::NoKeys(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    };
    let mut answer = json(status, &json!({ "error": error.to_string() }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(DEFAULT_RETRY_AFTER));
    }
    answer
}

/// A failed model call.
pub fn failed(failure: &FailureAnswer) -> Answer {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut answer = explained(json(status, &failure.body()), failure.detail.clone());
    let seconds = match failure.retry_after_seconds() {
        None if status == StatusCode::TOO_MANY_REQUESTS => Some(DEFAULT_RETRY_AFTER),
        seconds => seconds,
    };
    if let Some(seconds) = seconds {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Why a stream is broken off: what is sent to the client ends without the last chunk, so that it cannot take the part
/// for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the model's stream broke off")]
pub struct BrokenOff;

/// A streamed body; an `Err` breaks the connection off. Proxies in between are told not to gather it.
pub fn streamed<S>(content_type: &'static str, pieces: S) -> Answer
where
    S: Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static,
{
    let mut answer = with_type(StatusCode::OK, content_type, Body::from_stream(pieces));
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    answer
}
