//! The wire format of Anthropic's Messages API, as Anthropic itself and Vertex AI serve it: request bodies, whole
//! answers, streams and errors. It neither sends nor receives.
//!
//! Source: Anthropic's API reference for `anthropic-version: 2023-06-01`; Vertex AI takes the same body without
//! `model` and with [`VERTEX_VERSION`].

mod answer;
mod request;
mod stream;

pub use answer::parse_answer;
pub use request::{Flavor, messages_body};
pub use stream::MessageStream;

/// The value of the header `anthropic-version`.
pub const VERSION: &str = "2023-06-01";
/// The value of `anthropic_version` in bodies for Vertex AI.
pub const VERTEX_VERSION: &str = "vertex-2023-10-16";
