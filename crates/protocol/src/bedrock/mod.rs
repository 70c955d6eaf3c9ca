//! The wire format of Bedrock's Converse and ConverseStream: bodies, answers, event streams and errors. Whoever calls
//! Bedrock signs and sends.

mod answer;
mod error;
mod frames;
mod request;
mod stream;

pub use answer::parse_answer;
pub use error::{not_bedrocks, parse_error};
pub use frames::{BadFrame, Frame, Frames};
pub use request::converse_body;
pub use stream::ConverseStream;
