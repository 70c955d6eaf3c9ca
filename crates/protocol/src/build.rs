//! Makes the neutral request for each feature: which prompt, which parameters, how much of the input fits.
//!
//! What comes out still has to go through [`crate::capability::adapt`].

mod chat;
mod code;
mod prompt;

pub use chat::{ChatTurn, chat_agent_request};
pub use code::{CodeInput, completion_request, generation_request, plain_generation_request};
pub use prompt::prompt_request;
