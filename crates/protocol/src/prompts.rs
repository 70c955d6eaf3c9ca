//! Our prompts: data files with a version each, the table of what GitLab calls them, and a renderer.
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
