//! Whole answers, token counts and error objects.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::{phrase, scrub};
use crate::model::{ChatMessage, ModelAnswer, StopReason, UpstreamFailure, Usage};
use crate::openai::describe;

#[derive(Deserialize)]
struct Answer {
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Block {
    // thinking blocks have none
    text: Option<String>,
}

/// Token counts; each message of a stream that has any tells some of them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

impl Counts {
    /// What `later` tells replaces what was known.
    pub(super) fn then(self, later: Self) -> Self {
        Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation_input_tokens: later.cache_creation_input_tokens.or(self.cache_creation_input_tokens),
        }
    }

    pub(super) fn usage(self) -> Usage {
        let read = self.cache_read_input_tokens.unwrap_or_default();
        let written = self.cache_creation_input_tokens.unwrap_or_default();
        Usage {
            // `input_tokens` are those that the cache had no part in
            input_tokens: self.input_tokens.unwrap_or_default().saturating_add(read).saturating_add(written),
            output_tokens: self.output_tokens.unwrap_or_default(),
            cache_read_tokens: read,
            cache_write_tokens: written,
        }
    }
}

/// Reads the body of a 2xx answer to a request without a stream.
///
/// # Errors
/// [`UpstreamFailure::Protocol`] for what is no message; [`UpstreamFailure::Status`] or `Throttled` for an error
/// object under a 200.
pub fn parse_answer(body: &[u8]) -> Result<ModelAnswer, UpstreamFailure> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| UpstreamFailure::Protocol { reason: describe(body) })?;
    let Some(content) = answer.content else {
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let failure = value.as_ref().and_then(|value| error_object(value, &[]));
        return Err(failure.unwrap_or(UpstreamFailure::Protocol { reason: "the answer has no content".into() }));
    };
    Ok(ModelAnswer {
        text: content.into_iter().filter_map(|block| block.text).collect(),
        stop: answer.stop_reason.as_deref().map_or(StopReason::EndTurn, StopReason::from_anthropic),
        usage: answer.usage.map(Counts::usage),
    })
}

/// `{"type":"error","error":{"type":…,"message":…}}` where an answer was due.
pub(super) fn error_object(value: &Value, asked: &[ChatMessage]) -> Option<UpstreamFailure> {
    let error = value.get("error").filter(|error| error.is_object())?;
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    let status = match kind {
        "rate_limit_error" => return Some(UpstreamFailure::Throttled { retry_after: None }),
        "timeout_error" => return Some(UpstreamFailure::Timeout),
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "overloaded_error" => 529,
        _ => 500,
    };
    let message = scrub(error.get("message").and_then(Value::as_str).unwrap_or_default(), asked);
    let reason = if message.is_empty() { phrase(status).to_owned() } else { format!("{}: {message}", phrase(status)) };
    Some(UpstreamFailure::Status { code: status, reason, retry_after: None })
}
