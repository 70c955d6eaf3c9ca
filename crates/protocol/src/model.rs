//! The neutral request, answer and stream events between a feature and a model server.
//!
//! It knows neither GitLab's bodies nor any provider's wire format; upstream clients translate to and from it.

use std::time::Duration;

/// Who speaks in a [`ChatMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person, or what the application says on a person's behalf.
    User,
    /// The model. As the last message it is a prefill: the model goes on from its text.
    Assistant,
}

impl Role {
    /// The name on the wire of OpenAI-compatible servers and of GitLab: `system`, `user` or `assistant`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation, text only.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said. It holds users' text: never log it.
    pub content: String,
}

impl ChatMessage {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        ChatMessage { role, content: content.into() }
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// An assistant message.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }
}

/// Shows the length only: prompts appear in no log.
impl std::fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChatMessage({}, {} bytes)", self.role.as_str(), self.content.len())
    }
}

/// What a model is asked, before [`crate::capability::adapt`] fits it to one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The conversation in order. System messages may stand anywhere until `adapt` gathers them.
    pub messages: Vec<ChatMessage>,
    /// The most tokens the model may write, at least 1.
    pub max_tokens: u32,
    /// Sampling temperature; `None` leaves it to the model.
    pub temperature: Option<f32>,
    /// Nucleus sampling; `None` leaves it to the model.
    pub top_p: Option<f32>,
    /// Stop sequences, the most useful first; servers are sent the first four at most.
    pub stop: Vec<String>,
    /// The code around the cursor, for servers with a completions API; `None` for everything but code completions.
    pub fim: Option<FillInMiddle>,
    /// The last message is an assistant prefill that vLLM must be told to continue
    /// (`continue_final_message: true`, `add_generation_prompt: false`); only ever set for family `mistral`.
    pub continue_final_message: bool,
}

/// Code with a gap, for servers that fill it without a chat around it.
#[derive(Clone, PartialEq, Eq)]
pub struct FillInMiddle {
    /// In front of the gap, other files' code included. It holds users' text: never log it.
    pub prefix: String,
    /// Behind the gap.
    pub suffix: String,
}

/// Shows the lengths only.
impl std::fmt::Debug for FillInMiddle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FillInMiddle({} and {} bytes)", self.prefix.len(), self.suffix.len())
    }
}

/// What an upstream stream yields. Order: any number of `Text`, then one `Stop`, then at most one `Usage`.
/// A stream that ends without `Stop` was cut off and is an [`UpstreamFailure::StreamBroken`], never a short answer.
#[derive(Clone, PartialEq, Eq)]
pub enum ModelEvent {
    /// A piece of the answer, possibly empty.
    Text(String),
    /// The answer is complete.
    Stop(StopReason),
    /// Token counts of the whole call.
    Usage(Usage),
}

/// Shows the length only of a text: answers appear in no log.
impl std::fmt::Debug for ModelEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelEvent::Text(text) => write!(f, "Text({} bytes)", text.len()),
            ModelEvent::Stop(reason) => write!(f, "Stop({reason:?})"),
            ModelEvent::Usage(usage) => write!(f, "{usage:?}"),
        }
    }
}

/// Token counts as the model server states them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, those of the cache included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the tokens read: those that the provider's prompt cache held already.
    pub cache_read_tokens: u64,
    /// Of the tokens read: those that were written to it.
    pub cache_write_tokens: u64,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It had nothing more to say.
    EndTurn,
    /// It wrote one of the stop sequences.
    StopSequence,
    /// It ran into `max_tokens` or its context window.
    MaxTokens,
    /// A guardrail or content filter stepped in.
    ContentFiltered,
    /// A reason we have no name for, as the server calls it.
    Other(String),
}

impl StopReason {
    /// The `finish_reason` of OpenAI-compatible servers: `stop`, `length`, `content_filter`, or the foreign name.
    pub fn as_openai(&self) -> &str {
        match self {
            StopReason::EndTurn | StopReason::StopSequence => "stop",
            StopReason::MaxTokens => "length",
            StopReason::ContentFiltered => "content_filter",
            StopReason::Other(name) => name,
        }
    }

    /// Reads a `finish_reason` of an OpenAI-compatible server.
    pub fn from_openai(name: &str) -> Self {
        match name {
            "stop" | "eos" | "eos_token" | "end_turn" => StopReason::EndTurn,
            "stop_sequence" => StopReason::StopSequence,
            "length" | "max_tokens" => StopReason::MaxTokens,
            "content_filter" => StopReason::ContentFiltered,
            other => StopReason::Other(other.chars().take(64).collect()),
        }
    }

    /// Reads a `stop_reason` of Anthropic's Messages API.
    pub fn from_anthropic(name: &str) -> Self {
        match name {
            "end_turn" => StopReason::EndTurn,
            "stop_sequence" => StopReason::StopSequence,
            "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
            "refusal" => StopReason::ContentFiltered,
            other => StopReason::Other(other.chars().take(64).collect()),
        }
    }

    /// Reads a `stopReason` of Bedrock's Converse API.
    pub fn from_bedrock(name: &str) -> Self {
        match name {
            "end_turn" => StopReason::EndTurn,
            "stop_sequence" => StopReason::StopSequence,
            "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
            "guardrail_intervened" | "content_filtered" => StopReason::ContentFiltered,
            other => StopReason::Other(other.chars().take(64).collect()),
        }
    }
}

/// A whole answer.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelAnswer {
    /// The text, as the model wrote it. Never log it.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// Token counts, when the server states them.
    pub usage: Option<Usage>,
}

/// Shows the length only: answers appear in no log.
impl std::fmt::Debug for ModelAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelAnswer({} bytes, {:?}, {:?})", self.text.len(), self.stop, self.usage)
    }
}

/// Why a model server's answer is no answer. `reason` is the server's own short text after [`crate::failure::scrub`]:
/// it holds no key and none of the request's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFailure {
    /// It answered an HTTP error status other than 429.
    #[error("{code}: {reason}")]
    Status {
        /// HTTP status, 300 to 599.
        code: u16,
        /// The server's words, or the status' standard phrase.
        reason: String,
        /// When it asked to be left alone (503 may carry it).
        retry_after: Option<Duration>,
    },
    /// It answered 429, or Bedrock throttled.
    #[error("429: too many requests")]
    Throttled {
        /// `Retry-After` of the server.
        retry_after: Option<Duration>,
    },
    /// It could not be reached: refused, reset before an answer, DNS, TLS.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// The cause in a few words (`connection refused`).
        reason: String,
    },
    /// It did not answer in time.
    #[error("timed out")]
    Timeout,
    /// It answered 2xx with something that is not an answer: HTML, half a JSON, a bad event-stream frame.
    #[error("not a model's answer: {reason}")]
    Protocol {
        /// What was wrong with it.
        reason: String,
    },
    /// A stream that had started ended too early, or carried an error object.
    #[error("stream broke off: {reason}")]
    StreamBroken {
        /// What happened.
        reason: String,
    },
}
