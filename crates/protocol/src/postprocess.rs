//! What is done to a model's text before GitLab gets it. Each step is a function of its own. Streams have the steps that
//! need not see the answer's end; [`completion`](completion()) says which.

mod block;
mod comments;
mod completion;
mod fences;
mod generation;
mod markers;
mod prompt;
mod prose;
mod reader;
mod repeats;
mod steps;
mod unescape;
mod words;

pub use block::{BlockCut, within_block};
pub use comments::comment_only;
pub use completion::{AtCursor, CompletionStream, completion};
pub use fences::{FenceFilter, without_fences};
pub use generation::{GenerationStream, generation, with_leading_newline};
pub use markers::MarkerFilter;
pub use prompt::{PromptStream, prompt_answer};
pub use prose::{ProseStream, prose};
pub use reader::reader;
pub use repeats::{without_head_repeat, without_large_repeats, without_reflection, without_suffix_repeat};
pub use unescape::Unescape;
pub use words::{begins_with_asterisks, without_last_word};
