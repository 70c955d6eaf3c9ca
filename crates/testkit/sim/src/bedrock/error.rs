//! The exceptions of Bedrock Runtime, their HTTP statuses and the form they take on the wire.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An answer that is an error: its code, status and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The exception's name, as in `x-amzn-ErrorType`.
    pub code: &'static str,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// AWS's words.
    pub message: String,
}

impl Refusal {
    /// Any exception.
    pub fn new(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into() }
    }

    /// `ValidationException`, 400.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", 400, message)
    }

    /// `AccessDeniedException`, 403.
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new("AccessDeniedException", 403, message)
    }

    /// `InvalidSignatureException`, 403.
    pub fn signature(message: impl Into<String>) -> Self {
        Self::new("InvalidSignatureException", 403, message)
    }

    /// The answer on the wire. The code carries a name space behind a colon, as AWS sends it: a reader must cut it.
    pub fn response(&self, retry_after: Option<u64>) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error_type = format!("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", self.code);
        let mut body = json!({ "message": self.message });
        if self.code == "ModelErrorException" {
            body["originalStatusCode"] = 500.into();
        }
        let body = body.to_string();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(value) = HeaderValue::from_str(&error_type) {
            headers.insert(HeaderName::from_static("x-amzn-errortype"), value);
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
