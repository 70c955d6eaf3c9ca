//! Our prompts: data files with a version each, the table of what GitLab calls them, and a renderer.
//!
//! The ids, inputs and unit primitives are GitLab's; the words are ours. What GitLab reads out of an answer is known for
//! `review_merge_request` only. The forms of the readers' answers, of `resolve_vulnerability` and of
//! `categorize_question` are from general knowledge of GitLab's chat, and of `classify_code_review_mention_intent`,
//! `generate_session_title` and `summarize_duo_workflow` not even the inputs are known: they put whatever comes before
//! the model, and their answers are of our own design.
//!
//! Inputs come from users, so nothing in them is ever interpreted: the renderer knows placeholders and optional
//! sections, nothing else, and looks at the template only (the official gateway's template engine gave strangers a
//! shell, CVE-2026-1868 and CVE-2026-90970).

mod catalog;
mod template;
mod text;
mod version;

pub(crate) use catalog::internal;
pub use catalog::{Prompt, PromptError, all, find};
pub use template::{Template, TemplateError, Values};
pub use text::{AnswerForm, PromptText};
pub use version::check_version;
