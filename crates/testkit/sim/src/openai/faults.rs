//! What can be made to go wrong with a call.

use serde::{Deserialize, Serialize};

use super::error::Refusal;

/// A fault of the server. As JSON `{"kind":"rate_limit","retry_after":2}`. `after` counts events of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// 429.
    RateLimit {
        /// Seconds for `Retry-After`; no such header when unset.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Milliseconds for Azure's `retry-after-ms`; no such header when unset.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// 500.
    Internal,
    /// 503.
    Unavailable,
    /// 401 although the key is right.
    Unauthorized,
    /// Azure's content filter: 400 with the code `content_filter`.
    ContentFilter,
    /// 400: the prompt is too long for the model.
    ContextLength,
    /// A page of some proxy instead of an answer.
    Html {
        /// The page's HTTP status.
        status: u16,
    },
    /// An error object in the stream after the 200; a whole answer is a 500 instead.
    StreamError {
        /// Events that come before it.
        #[serde(default)]
        after: usize,
    },
    /// Something that is not JSON in the stream, or instead of a whole answer.
    Garbage {
        /// Events that come before it.
        #[serde(default)]
        after: usize,
    },
    /// The stream ends in good order but without `[DONE]` and without a finish reason; a whole answer is half of one.
    EndEarly {
        /// Events that come before the end.
        #[serde(default)]
        after: usize,
    },
    /// The connection breaks in the middle of an event, or of a whole answer.
    Cut {
        /// Whole events that come before it.
        #[serde(default)]
        after: usize,
    },
    /// Nothing more comes, the connection stays. A whole answer does not even begin.
    Stall {
        /// Events that come before it.
        #[serde(default)]
        after: usize,
    },
}

impl FaultKind {
    /// The HTTP error that this fault is; `None` for faults of another form.
    pub fn refusal(&self, azure: bool, stream: bool) -> Option<Refusal> {
        let server_error = |status, kind: &str, message: &str| {
            if azure { Refusal::azure(status, kind, None, message) } else { Refusal::vllm(status, kind, None, message) }
        };
        match self {
            Self::RateLimit { retry_after, retry_after_ms } => {
                let message = "Requests to the ChatCompletions_Create Operation have exceeded call rate limit of your \
                               pricing tier. Please retry after 1 second.";
                let refusal = if azure {
                    Refusal::azure(429, "429", None, message)
                } else {
                    Refusal::vllm(429, "RateLimitError", None, "Too many requests")
                };
                Some(Refusal { retry_after: *retry_after, retry_after_ms: *retry_after_ms, ..refusal })
            }
            Self::Internal => Some(server_error(500, "InternalServerError", "EngineCore encountered an issue")),
            Self::StreamError { .. } if !stream => Self::Internal.refusal(azure, stream),
            Self::Unavailable => Some(server_error(503, "ServiceUnavailable", "The server is overloaded")),
            Self::Unauthorized if azure => Some(Refusal::azure(401, "401", None, super::door::AZURE_DENIED)),
            Self::Unauthorized => Some(Refusal::vllm_unauthorized()),
            Self::ContentFilter => Some(Refusal::content_filter()),
            Self::ContextLength => Some(Refusal::bad_request(
                azure,
                "context_length_exceeded",
                Some("messages"),
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. \
                 Please reduce the length of the messages.",
            )),
            _ => None,
        }
    }
}
