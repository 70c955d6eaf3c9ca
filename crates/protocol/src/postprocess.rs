//! What is done to a model's text before GitLab gets it. Each step is a function of its own; whole answers and streams
//! give the same text.

mod completion;
mod fences;
mod generation;
mod markers;
mod prompt;
mod prose;
mod reader;
mod steps;
mod unescape;

pub use completion::{CompletionStream, completion, without_suffix_repeat};
pub use fences::{FenceFilter, without_fences};
pub use generation::{GenerationStream, generation, with_leading_newline};
pub use markers::MarkerFilter;
pub use prompt::{PromptStream, prompt_answer};
pub use prose::{ProseStream, prose};
pub use reader::reader;
pub use unescape::Unescape;
