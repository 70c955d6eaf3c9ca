//! What a model takes, and fitting a request to it.
//!
//! Servers refuse what a model cannot do with a 400, which the user sees as a broken feature; this table keeps such
//! requests from leaving. Sources: AWS Bedrock and OpenAI documentation, and refusals seen by GitLab's users (as of
//! 2026-11). A model that is not listed gets the common case of its server kind.

mod adapt;
mod table;

pub use adapt::adapt;
pub use table::of;

/// What one model on one kind of server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// System messages. Without: folded into the first user turn.
    pub system: bool,
    /// A trailing assistant message that the model continues. Without: it becomes a user message.
    pub prefill: bool,
    /// `temperature`. Without: left out.
    pub temperature: bool,
    /// `temperature` and `top_p` in one request. Without: `top_p` is left out.
    pub both_samplings: bool,
    /// Stop sequences. Without: left out; the features cut the text themselves.
    pub stop: bool,
    /// How many stop sequences may be sent.
    pub most_stops: usize,
    /// Stop sequences of nothing but white space. Without: left out.
    pub blank_stops: bool,
    /// The conversation must begin with a user turn and roles must alternate.
    pub strict_turns: bool,
    /// vLLM's `continue_final_message`.
    pub continue_final_message: bool,
    /// The field for the token limit.
    pub token_limit: TokenLimit,
    /// Tokens a reasoning model spends before it answers; they count against the limit, so they are added to it.
    pub thinking_tokens: u32,
    /// The provider keeps a marked beginning of at least so many tokens between calls. Without: marks are refused.
    pub prompt_cache: Option<u32>,
    /// Native tool calls. Chat does without them (ReAct is text), so that it works with every model.
    pub tools: bool,
    /// The longest answer the model can be asked for, when it is less than what the features want.
    pub most_tokens: Option<u32>,
}

/// The name of the token limit on the OpenAI wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`: GPT-5 and the reasoning models refuse the older name.
    MaxCompletionTokens,
}
