//! The text protocol between Duo Chat's prompt and the model (ReAct), and the tools GitLab runs.
//!
//! The model writes `Thought:`, then `Action:` and `Action Input:`, or `Final Answer:`; it stops at `Observation:`.

mod parser;
mod think;
mod tools;

pub use parser::TurnParser;
pub use think::ThinkFilter;
pub use tools::{GitlabVersion, TOOLS, Tool, offered};

/// Where a model that takes no stop sequences is cut.
pub const OBSERVATION: &str = "Observation:";
