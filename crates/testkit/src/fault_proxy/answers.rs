//! Answers as values: those that faults give, and those that are kept to be repeated.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::Fault;

/// In whose words faults are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `Status` objects of the Kubernetes API.
    Kubernetes,
    /// `{"message": …}`, as web applications do.
    Message,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self { status, content_type: content_type.to_owned(), body: Bytes::from(body.into()) }
    }

    /// As an HTTP response. What is 429 or 503 asks for one second.
    pub(super) fn response(self) -> Response<Bytes> {
        let (status, content_type) = (self.status, self.content_type.clone());
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        if let Ok(value) = HeaderValue::from_str(&content_type) {
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        if status == 429 {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// What a fault answers in place of the upstream; `None` for those that answer nothing of their own.
pub(super) fn of(fault: Fault, style: Style) -> Option<Answer> {
    let (code, reason) = match fault {
        Fault::Conflict => (409, "Conflict"),
        Fault::Gone => (410, "Expired"),
        Fault::TooMany => (429, "TooManyRequests"),
        Fault::Unavailable => (503, "ServiceUnavailable"),
        Fault::ErrorAfter => (500, "InternalError"),
        Fault::Html => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
            return Some(Answer::new(502, "text/html", page));
        }
        _ => return None,
    };
    let body = match style {
        Style::Kubernetes => status(code, reason),
        Style::Message => json!({"message": format!("{code} {reason} (a fault on purpose)")}),
    };
    Some(Answer::new(code, "application/json", body.to_string()))
}

/// A `Status` of the Kubernetes API.
pub(super) fn status(code: u16, reason: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason} (a fault on purpose)"), "reason": reason, "code": code,
    });
    if code == 429 {
        status["details"] = json!({"retryAfterSeconds": 1});
    }
    status
}
