//! GitLab's side of the wire: request bodies with their limits, and builders of the answers.
//!
//! Bodies are read field by field instead of by derive, so that a bad one yields every fault at once, each with its
//! place, in the list form that GitLab reads (`detail[0].msg`), and never with the offending value: the official
//! gateway repeats the whole body there, keys included. Unknown fields are ignored, as GitLab relies on it.

mod answers;
mod chat;
mod chat_v1;
mod code;
mod embeddings;
mod invalid;
mod metadata;
mod prompt;
mod read;
mod search;
mod tree;

pub use answers::{
    Choice, CodeAnswer, ModelInfo, code_answer_v2, code_answer_v3, prompt_answer_v1, prompt_answer_v2, prompt_line_v2,
    sse_content_chunk, sse_stream_end, sse_stream_start,
};
pub use chat::{
    AdditionalContext, AgentBody, AgentEvent, AgentMessage, AgentStep, CurrentFile, PageContext, ResourceKind,
};
pub use chat_v1::{ChatV1Body, chat_v1_answer};
pub use code::{
    CodeContext, CodePrompt, CompletionBody, Component, ComponentBody, CurrentCode, EditorPayload, GenerationPayload,
    PromptEnhancer,
};
pub use embeddings::{EmbeddingsBody, embeddings_answer};
pub use invalid::{Invalid, InvalidItem, Loc};
pub use metadata::{ApiKey, ModelMetadata, ModelSelection};
pub use prompt::PromptBody;
pub use search::{SearchBody, SearchResult, search_answer};
pub use tree::{Map, Value};
