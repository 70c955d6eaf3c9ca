//! The Duo features and model families of each release: titles, states, and which family serves which feature.
//!
//! Facts of GitLab 18.9 and the 19.x line; where only the enum value of a feature was seen, it is taken as a beta
//! feature of the Agent Platform.

use super::version::Version;

/// One AI feature that can have a model.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Lower-case key, as the API returns it; upper case is the enum value.
    pub key: &'static str,
    /// Title in the API and in error messages.
    pub title: &'static str,
    /// Heading it is listed under.
    pub main_feature: &'static str,
    /// `GA`, `BETA` or `EXPERIMENT`.
    pub release_state: &'static str,
    /// Listed without accepted testing terms.
    pub always_listed: bool,
    /// Not offered with a Premium licence.
    pub hidden_on_premium: bool,
    since: (u32, u32),
    group: Group,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Group {
    Code,
    Chat,
    Other,
    Agent,
}

const fn feature(
    key: &'static str,
    title: &'static str,
    main_feature: &'static str,
    release_state: &'static str,
    since: (u32, u32),
    group: Group,
) -> Feature {
    Feature {
        key,
        title,
        main_feature,
        release_state,
        always_listed: matches!(release_state.as_bytes(), b"GA"),
        hidden_on_premium: false,
        since,
        group,
    }
}

const fn not_on_premium(feature: Feature) -> Feature {
    Feature { hidden_on_premium: true, ..feature }
}

const SUGGESTIONS: &str = "Code Suggestions";
const CHAT: &str = "GitLab Duo Chat";
const MERGE: &str = "GitLab Duo for merge requests";
const OTHER: &str = "Other GitLab Duo features";
const AGENT: &str = "GitLab Duo Agent Platform";

/// Every feature, in the order of GitLab's database values.
const FEATURES: &[Feature] = &[
    feature("code_generations", "Code Generation", SUGGESTIONS, "GA", (17, 9), Group::Code),
    feature("code_completions", "Code Completion", SUGGESTIONS, "GA", (17, 9), Group::Code),
    feature("duo_chat", "General Chat", CHAT, "GA", (17, 9), Group::Chat),
    feature("duo_chat_explain_code", "Code Explanation", CHAT, "GA", (17, 9), Group::Chat),
    feature("duo_chat_write_tests", "Test Generation", CHAT, "GA", (17, 9), Group::Chat),
    feature("duo_chat_refactor_code", "Refactor Code", CHAT, "GA", (17, 9), Group::Chat),
    feature("duo_chat_fix_code", "Fix Code", CHAT, "GA", (17, 9), Group::Chat),
    feature("duo_chat_troubleshoot_job", "Root Cause Analysis", CHAT, "BETA", (17, 10), Group::Other),
    feature("generate_commit_message", "Merge Commit Message Generation", MERGE, "BETA", (18, 1), Group::Other),
    feature("summarize_new_merge_request", "Merge Request Summary", MERGE, "BETA", (18, 1), Group::Other),
    not_on_premium(feature(
        "duo_chat_explain_vulnerability",
        "Vulnerability Explanation",
        OTHER,
        "BETA",
        (18, 1),
        Group::Other,
    )),
    not_on_premium(feature("resolve_vulnerability", "Vulnerability Resolution", OTHER, "BETA", (18, 1), Group::Other)),
    feature("summarize_review", "Code Review Summary", MERGE, "EXPERIMENT", (18, 1), Group::Other),
    feature("glab_ask_git_command", "GitLab Duo for CLI", OTHER, "BETA", (18, 1), Group::Other),
    feature(
        "duo_chat_summarize_comments",
        "Discussion Summary",
        "GitLab Duo for issues",
        "BETA",
        (18, 1),
        Group::Other,
    ),
    feature("review_merge_request", "Code Review", MERGE, "GA", (18, 3), Group::Other),
    feature("duo_agent_platform", "All agents, except Agentic Chat", AGENT, "GA", (18, 4), Group::Agent),
    feature("duo_agent_platform_agentic_chat", "Agentic Chat", AGENT, "GA", (18, 4), Group::Agent),
    feature(
        "sast_vulnerability_fp_detection",
        "SAST Vulnerability False Positive Detection",
        AGENT,
        "BETA",
        (19, 0),
        Group::Agent,
    ),
    feature(
        "secret_vulnerability_fp_detection",
        "Secret Vulnerability False Positive Detection",
        AGENT,
        "BETA",
        (19, 0),
        Group::Agent,
    ),
    feature("sast_vulnerability_resolution", "SAST Vulnerability Resolution", AGENT, "BETA", (19, 0), Group::Agent),
    feature("review_merge_request_dap", "Code Review (Agent Platform)", AGENT, "BETA", (19, 0), Group::Agent),
    feature("security_review", "Security Review", AGENT, "BETA", (19, 0), Group::Agent),
    feature("resolve_dependency_bump", "Dependency Bump Resolution", AGENT, "BETA", (19, 0), Group::Agent),
    feature("feature_discovery_search", "Feature Discovery Search", AGENT, "BETA", (19, 0), Group::Agent),
];

/// The features that exist in a release.
pub fn features(version: Version) -> impl Iterator<Item = &'static Feature> {
    FEATURES.iter().filter(move |feature| version.at_least(feature.since.0, feature.since.1))
}

/// Every feature of the newest release, to find what an older one lacks.
pub fn all_features() -> &'static [Feature] {
    FEATURES
}

/// The feature with this lower-case key, if the release has it.
pub fn find(version: Version, key: &str) -> Option<&'static Feature> {
    features(version).find(|feature| feature.key == key)
}

impl Feature {
    /// Lower-case keys of the families whose models may serve this feature.
    pub fn families(&self, version: Version) -> Vec<&'static str> {
        let mut families = match self.group {
            Group::Code => vec![
                "codegemma",
                "codellama",
                "codestral",
                "deepseekcoder",
                "mistral",
                "mixtral",
                "llama3",
                "claude_3",
                "gpt",
                "general",
            ],
            Group::Chat => vec!["mistral", "mixtral", "codestral", "claude_3", "gpt", "llama3", "general"],
            Group::Other => vec!["mistral", "mixtral", "claude_3", "gpt", "llama3", "general"],
            Group::Agent => vec!["claude_3", "gpt", "general"],
        };
        if version.has_model_provider() {
            match self.group {
                Group::Agent => families.extend(["mistral", "gemini"]),
                _ if self.key == "review_merge_request" => families.push("qwen"),
                _ => {}
            }
        }
        families
    }

    /// A chat sub-feature, which uses Duo Chat's model while it has no row of its own.
    pub fn falls_back_to_chat(&self) -> bool {
        self.key.starts_with("duo_chat_")
    }
}

/// Name shown for a family; the key itself where none is known.
pub fn family_display_name(family: &str) -> &str {
    match family {
        "mistral" => "Mistral",
        "mixtral" => "Mixtral",
        "llama3" => "Llama 3",
        "codegemma" => "CodeGemma",
        "codestral" => "Mistral Codestral",
        "codellama" => "Code Llama",
        "deepseekcoder" => "DeepSeek Coder",
        "claude_3" => "Claude",
        "gpt" => "GPT",
        "general" => "General",
        "gemini" => "Gemini",
        "qwen" => "Qwen",
        "embedding" => "Embedding",
        other => other,
    }
}

/// Models of a beta family are hidden in lists until the testing terms are accepted.
pub fn family_is_beta(family: &str) -> bool {
    !matches!(family, "mistral" | "mixtral" | "codestral" | "claude_3" | "gpt")
}

/// A family as error messages spell it: first letter large, the rest small (`Claude_3`).
pub fn capitalise(family: &str) -> String {
    let mut letters = family.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
