//! The error bodies of vLLM and of Azure OpenAI.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A short name for the journal.
    pub code: String,
    /// The body.
    pub body: Box<Value>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// Milliseconds for Azure's `retry-after-ms`.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    fn new(status: u16, code: &str, body: Value) -> Self {
        Self { status, code: code.to_owned(), body: Box::new(body), retry_after: None, retry_after_ms: None }
    }

    /// vLLM's form: type, message, parameter, and the HTTP status as code.
    pub fn vllm(status: u16, kind: &str, param: Option<&str>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(
            status,
            kind,
            json!({ "error": { "message": message, "type": kind, "param": param, "code": status } }),
        )
    }

    /// OpenAI's and Azure's form: a code in words.
    pub fn azure(status: u16, code: &str, param: Option<&str>, message: impl Into<String>) -> Self {
        let message = message.into();
        let body = if param.is_some() {
            json!({ "error": { "message": message, "type": "invalid_request_error", "param": param, "code": code } })
        } else {
            json!({ "error": { "code": code, "message": message } })
        };
        Self::new(status, code, body)
    }

    /// A bad request, in the form of the server that is played.
    pub fn bad_request(azure: bool, code: &str, param: Option<&str>, message: impl Into<String>) -> Self {
        if azure {
            Self::azure(400, code, Some(param.unwrap_or_default()), message)
        } else {
            Self::vllm(400, "BadRequestError", param, message)
        }
    }

    /// vLLM's answer to a wrong key.
    pub fn vllm_unauthorized() -> Self {
        Self::new(401, "Unauthorized", json!({ "error": "Unauthorized" }))
    }

    /// The web framework's answer to a path that does not exist, which is not of OpenAI's form: what a base URL
    /// without `/v1` gets from vLLM.
    pub fn no_such_path() -> Self {
        Self::new(404, "Not Found", json!({ "detail": "Not Found" }))
    }

    /// Azure refuses a prompt by its content filter.
    pub fn content_filter() -> Self {
        let message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. \
                       Please modify your prompt and retry.";
        let filters = json!({ "jailbreak": { "filtered": true, "detected": true } });
        Self::new(
            400,
            "content_filter",
            json!({ "error": {
                "message": message, "type": null, "param": "prompt", "code": "content_filter", "status": 400,
                "innererror": { "code": "ResponsibleAIPolicyViolation", "content_filter_result": filters },
            } }),
        )
    }

    /// The answer on the wire.
    pub fn response(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(millis) = self.retry_after_ms {
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(millis));
        }
        response
    }
}
