//! The documentation index: what `duo-gateway index-docs` makes of a folder of Markdown, and what the running gateway
//! searches for `POST /v1/search/gitlab-docs`.
//!
//! Ranking is BM25 over sections. The file is read in place: only its dictionary and its table of sections are kept in
//! memory (a few MB for GitLab's whole documentation), postings and texts are read when a search needs them. This
//! module knows nothing of HTTP and of GitLab's bodies but the type of a result.

mod build;
mod format;
mod markdown;
mod search;
mod store;
mod words;

pub use build::{BuildError, Builder, Built, index_folder, write_whole};
pub use format::{FormatError, Index};
pub use store::{DocsIndex, watch};
