//! The table of prompts: what GitLab calls each, who may call it, and its file.

use std::sync::LazyLock;

use super::template::TemplateError;
use super::text::PromptText;
use super::version::check_version;
use crate::families::variants;
use crate::family::Family;

/// A prompt of ours: in general words, and where a family needs it in others.
#[derive(Debug)]
pub struct Prompt {
    /// GitLab's id, `chat/explain_code`; a path in the URL, possibly with `%2F`.
    pub id: &'static str,
    /// The token must hold at least one of these; else 403 `Unauthorized to access '<id>'`.
    pub unit_primitives: &'static [&'static str],
    /// For every family that has no words of its own.
    pub base: PromptText,
    /// Variants by name.
    variants: Vec<(&'static str, PromptText)>,
}

impl Prompt {
    /// The words for a family: the first of its variants that there is, else the general ones.
    pub fn for_family(&self, family: Family) -> &PromptText {
        variants(family).iter().find_map(|name| self.variant(name)).unwrap_or(&self.base)
    }

    fn variant(&self, name: &str) -> Option<&PromptText> {
        self.variants.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// Whether this prompt fits a version constraint; see [`check_version`].
    ///
    /// # Errors
    /// 400, see [`PromptError`].
    pub fn check_version(&self, constraint: Option<&str>) -> Result<(), PromptError> {
        check_version(self.id, &self.base.version, constraint)
    }
}

/// Why a prompt cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// 404.
    #[error("Prompt '{0}' not found")]
    Unknown(String),
    /// 400.
    #[error("'{constraint}' is not a valid version constraint; ^1.0.0 is one")]
    BadConstraint {
        /// As sent, shortened.
        constraint: String,
    },
    /// 400.
    #[error("No version of prompt '{id}' matches '{constraint}'; this gateway has {version}")]
    NoVersion {
        /// The prompt.
        id: String,
        /// As sent, shortened.
        constraint: String,
        /// Ours.
        version: String,
    },
}

impl PromptError {
    /// The HTTP status; the body is `{"detail": <Display>}`.
    pub fn status(&self) -> u16 {
        match self {
            PromptError::Unknown(_) => 404,
            PromptError::BadConstraint { .. } | PromptError::NoVersion { .. } => 400,
        }
    }
}

struct Row {
    id: &'static str,
    unit_primitives: &'static [&'static str],
    file: &'static str,
    variants: &'static [(&'static str, &'static str)],
}

macro_rules! prompt {
    ($id:literal, $primitives:expr $(, $variant:literal)*) => {
        Row {
            id: $id,
            unit_primitives: &$primitives,
            file: include_str!(concat!("../../prompts/", $id, ".txt")),
            variants: &[$(($variant, include_str!(concat!("../../prompts/", $id, ".", $variant, ".txt")))),*],
        }
    };
}

const ROWS: &[Row] = &[
    prompt!("model_configuration/check", ["complete_code"]),
    prompt!("chat/explain_code", ["explain_code"]),
    prompt!("chat/refactor_code", ["refactor_code"]),
    prompt!("chat/fix_code", ["fix_code"]),
    prompt!("chat/write_tests", ["write_tests"]),
    prompt!("chat/explain_vulnerability", ["explain_vulnerability"]),
    prompt!("chat/troubleshoot_job", ["troubleshoot_job"]),
    prompt!("chat/summarize_comments", ["summarize_comments"]),
    prompt!("chat/issue_reader", ["ask_issue"]),
    prompt!("chat/epic_reader", ["ask_epic"]),
    prompt!("chat/merge_request_reader", ["ask_merge_request"]),
    // GitLab lets every holder of the chat ask about commits; 19.x renamed the chat's primitive
    prompt!("chat/commit_reader", ["duo_chat", "duo_classic_chat", "ask_commit"]),
    prompt!("chat/build_reader", ["ask_build"]),
    prompt!("chat/work_item_reader", ["ask_work_item"]),
    prompt!("chat/documentation_search", ["documentation_search"]),
    prompt!("generate_commit_message", ["generate_commit_message"]),
    prompt!("summarize_new_merge_request", ["summarize_new_merge_request"]),
    prompt!("summarize_review", ["summarize_review"]),
    prompt!("resolve_vulnerability", ["resolve_vulnerability"]),
    prompt!("review_merge_request", ["review_merge_request"]),
    prompt!("glab_ask_git_command", ["glab_ask_git_command"]),
    prompt!("categorize_question", ["duo_chat", "duo_classic_chat"]),
    prompt!("classify_code_review_mention_intent", ["duo_agent_platform"]),
    prompt!("generate_session_title", ["duo_agent_platform"]),
    prompt!("summarize_duo_workflow", ["duo_agent_platform"]),
    prompt!("code_suggestions/completions", ["complete_code"], "gpt", "llama3", "mistral", "qwen"),
    prompt!("code_suggestions/generations", ["generate_code"], "instruct"),
    // not called by id: the code and chat endpoints render these
    prompt!("code_suggestions/generations_plain", ["generate_code"]),
    prompt!("chat/react", ["duo_chat", "duo_classic_chat"], "instruct"),
];

/// Prompts of the table that are part of another endpoint.
const INTERNAL: [&str; 2] = ["code_suggestions/generations_plain", "chat/react"];

fn load(row: &Row) -> Result<Prompt, TemplateError> {
    let variants =
        row.variants.iter().map(|(name, file)| Ok((*name, PromptText::load(file)?))).collect::<Result<_, _>>()?;
    Ok(Prompt { id: row.id, unit_primitives: row.unit_primitives, base: PromptText::load(row.file)?, variants })
}

/// Files are part of the program: that each loads is proved by a test, so none is missing here.
static PROMPTS: LazyLock<Vec<Prompt>> = LazyLock::new(|| ROWS.iter().filter_map(|row| load(row).ok()).collect());

/// All prompts, those of the code and chat endpoints too.
pub fn all() -> &'static [Prompt] {
    &PROMPTS
}

/// The prompt GitLab calls `id` (already percent-decoded).
///
/// # Errors
/// 404 for an id that is not ours to serve; its text holds nothing but the id.
pub fn find(id: &str) -> Result<&'static Prompt, PromptError> {
    let id = id.trim_matches('/');
    PROMPTS
        .iter()
        .find(|prompt| prompt.id == id && !INTERNAL.contains(&id))
        .ok_or_else(|| PromptError::Unknown(id.chars().filter(|c| !c.is_control()).take(128).collect()))
}

/// A prompt of the code and chat endpoints.
pub(crate) fn internal(id: &str) -> Option<&'static Prompt> {
    PROMPTS.iter().find(|prompt| prompt.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_loads() {
        for row in ROWS {
            let loaded = load(row).unwrap_or_else(|e| panic!("{}: {e}", row.id));
            assert_eq!(loaded.base.version.major, 1, "{}: GitLab asks for ^1.0.0", row.id);
            for (name, text) in &loaded.variants {
                assert_eq!(text.version.major, 1, "{}.{name}", row.id);
                assert_eq!(text.form, loaded.base.form, "{}.{name}", row.id);
            }
        }
        assert_eq!(all().len(), ROWS.len());
    }

    #[test]
    fn the_connection_check_asks_for_few_tokens() {
        let check = find("model_configuration/check").unwrap();
        assert!(check.base.max_tokens <= 12, "GitLab up to 18.9 waits 3 s");
        assert_eq!(check.unit_primitives, ["complete_code"]);
        check.check_version(None).unwrap();
    }

    #[test]
    fn unknown_and_internal_ids_are_404_and_name_no_folder() {
        for id in ["nope", "chat/react", "code_suggestions/generations_plain", "../../etc/passwd", ""] {
            let error = find(id).unwrap_err();
            assert_eq!((error.status(), error.to_string()), (404, format!("Prompt '{id}' not found")));
        }
    }

    #[test]
    fn each_prompt_of_the_contract_uses_the_inputs_gitlab_sends() {
        let tool = ["input", "selected_text", "language_info", "file_content"];
        let table: [(&str, &[&str]); 24] = [
            ("chat/explain_code", &tool),
            (
                "chat/refactor_code",
                &["input", "selected_text", "language_info", "file_content", "libraries", "file_content_reuse"],
            ),
            (
                "chat/fix_code",
                &["input", "selected_text", "language_info", "file_content", "libraries", "file_content_reuse"],
            ),
            ("chat/write_tests", &["input", "selected_text", "language_info", "file_content", "libraries"]),
            (
                "chat/explain_vulnerability",
                &["title", "identifiers", "language_info", "vulnerability_description", "vulnerability_info"],
            ),
            ("chat/troubleshoot_job", &["selected_text", "language_info"]),
            ("chat/summarize_comments", &["notes_content"]),
            ("chat/issue_reader", &["input", "suggestions"]),
            ("chat/epic_reader", &["input", "suggestions"]),
            ("chat/merge_request_reader", &["input", "suggestions"]),
            ("chat/commit_reader", &["input", "suggestions"]),
            ("chat/build_reader", &["input", "suggestions"]),
            ("chat/work_item_reader", &["input", "suggestions"]),
            ("chat/documentation_search", &["question", "documents", "content_id"]),
            ("generate_commit_message", &["diff"]),
            ("summarize_new_merge_request", &["extracted_diff"]),
            ("summarize_review", &["draft_notes_content"]),
            (
                "resolve_vulnerability",
                &["name", "identifiers", "vulnerability_description", "filename", "source_code", "vulnerable_code"],
            ),
            (
                "review_merge_request",
                &[
                    "mr_title",
                    "mr_description",
                    "diff_lines",
                    "full_content_section",
                    "full_file_intro",
                    "custom_instructions_section",
                    "current_date",
                ],
            ),
            ("glab_ask_git_command", &["prompt"]),
            ("categorize_question", &["question", "previous_answer"]),
            // what GitLab sends to these is not known: whatever it is reaches the model
            ("classify_code_review_mention_intent", &["all_inputs"]),
            ("generate_session_title", &["all_inputs"]),
            ("summarize_duo_workflow", &["all_inputs"]),
        ];
        for (id, inputs) in table {
            let mut used = find(id).unwrap().base.template.inputs();
            used.sort_unstable();
            let mut wanted = inputs.to_vec();
            wanted.sort_unstable();
            assert_eq!(used, wanted, "{id}");
        }
    }
}
