//! The wire format of OpenAI-compatible servers (`POST …/chat/completions`): request bodies, whole answers, streams and
//! errors of OpenAI, Azure, vLLM and their like. It neither sends nor receives.

mod answer;
mod body;
mod error;
mod request;
mod sse;
mod stream;

pub(crate) use answer::describe;
pub use answer::parse_answer;
pub(crate) use body::EventBody;
pub use error::{parse_error, parse_retry_after};
pub use request::{StreamMode, chat_body, completions_body};
pub use sse::{SseDecoder, SseEvent, SseTooLong};
pub use stream::ChatStream;
