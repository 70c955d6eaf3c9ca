//! The features of GitLab Duo that can be served by a self-hosted model.
//!
//! Names are GitLab's enum `AiFeatures` (19.5: 25 values, 18.9: 18) in CamelCase. Which of them an instance has is
//! found out at run time; this list is the known set that the API server admits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A feature or sub-feature of GitLab Duo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Feature {
    /// Code Completion.
    CodeCompletions,
    /// Code Generation.
    CodeGenerations,
    /// Agents, except Agentic Chat.
    DuoAgentPlatform,
    /// Agentic Chat.
    DuoAgentPlatformAgenticChat,
    /// General Chat.
    DuoChat,
    /// Code Explanation.
    DuoChatExplainCode,
    /// Vulnerability Explanation.
    DuoChatExplainVulnerability,
    /// Fix Code.
    DuoChatFixCode,
    /// Refactor Code.
    DuoChatRefactorCode,
    /// Discussion Summary.
    DuoChatSummarizeComments,
    /// Root Cause Analysis.
    DuoChatTroubleshootJob,
    /// Test Generation.
    DuoChatWriteTests,
    /// FeatureDiscoverySearch (19.x).
    FeatureDiscoverySearch,
    /// Merge Commit Message Generation.
    GenerateCommitMessage,
    /// GitLab Duo for CLI.
    GlabAskGitCommand,
    /// ResolveDependencyBump (19.x).
    ResolveDependencyBump,
    /// Vulnerability Resolution.
    ResolveVulnerability,
    /// Code Review.
    ReviewMergeRequest,
    /// ReviewMergeRequestDap (19.x).
    ReviewMergeRequestDap,
    /// SAST Vulnerability False Positive Detection.
    SastVulnerabilityFpDetection,
    /// SAST Vulnerability Resolution.
    SastVulnerabilityResolution,
    /// Secret Vulnerability False Positive Detection.
    SecretVulnerabilityFpDetection,
    /// SecurityReview (19.x).
    SecurityReview,
    /// Merge Request Summary.
    SummarizeNewMergeRequest,
    /// Code Review Summary.
    SummarizeReview,
}

impl Feature {
    /// All known features.
    pub const ALL: [Self; 25] = [
        Self::CodeCompletions,
        Self::CodeGenerations,
        Self::DuoAgentPlatform,
        Self::DuoAgentPlatformAgenticChat,
        Self::DuoChat,
        Self::DuoChatExplainCode,
        Self::DuoChatExplainVulnerability,
        Self::DuoChatFixCode,
        Self::DuoChatRefactorCode,
        Self::DuoChatSummarizeComments,
        Self::DuoChatTroubleshootJob,
        Self::DuoChatWriteTests,
        Self::FeatureDiscoverySearch,
        Self::GenerateCommitMessage,
        Self::GlabAskGitCommand,
        Self::ResolveDependencyBump,
        Self::ResolveVulnerability,
        Self::ReviewMergeRequest,
        Self::ReviewMergeRequestDap,
        Self::SastVulnerabilityFpDetection,
        Self::SastVulnerabilityResolution,
        Self::SecretVulnerabilityFpDetection,
        Self::SecurityReview,
        Self::SummarizeNewMergeRequest,
        Self::SummarizeReview,
    ];

    /// Value of GitLab's enum `AiFeatures`, as mutations take it.
    pub fn graphql(self) -> &'static str {
        match self {
            Self::CodeCompletions => "CODE_COMPLETIONS",
            Self::CodeGenerations => "CODE_GENERATIONS",
            Self::DuoAgentPlatform => "DUO_AGENT_PLATFORM",
            Self::DuoAgentPlatformAgenticChat => "DUO_AGENT_PLATFORM_AGENTIC_CHAT",
            Self::DuoChat => "DUO_CHAT",
            Self::DuoChatExplainCode => "DUO_CHAT_EXPLAIN_CODE",
            Self::DuoChatExplainVulnerability => "DUO_CHAT_EXPLAIN_VULNERABILITY",
            Self::DuoChatFixCode => "DUO_CHAT_FIX_CODE",
            Self::DuoChatRefactorCode => "DUO_CHAT_REFACTOR_CODE",
            Self::DuoChatSummarizeComments => "DUO_CHAT_SUMMARIZE_COMMENTS",
            Self::DuoChatTroubleshootJob => "DUO_CHAT_TROUBLESHOOT_JOB",
            Self::DuoChatWriteTests => "DUO_CHAT_WRITE_TESTS",
            Self::FeatureDiscoverySearch => "FEATURE_DISCOVERY_SEARCH",
            Self::GenerateCommitMessage => "GENERATE_COMMIT_MESSAGE",
            Self::GlabAskGitCommand => "GLAB_ASK_GIT_COMMAND",
            Self::ResolveDependencyBump => "RESOLVE_DEPENDENCY_BUMP",
            Self::ResolveVulnerability => "RESOLVE_VULNERABILITY",
            Self::ReviewMergeRequest => "REVIEW_MERGE_REQUEST",
            Self::ReviewMergeRequestDap => "REVIEW_MERGE_REQUEST_DAP",
            Self::SastVulnerabilityFpDetection => "SAST_VULNERABILITY_FP_DETECTION",
            Self::SastVulnerabilityResolution => "SAST_VULNERABILITY_RESOLUTION",
            Self::SecretVulnerabilityFpDetection => "SECRET_VULNERABILITY_FP_DETECTION",
            Self::SecurityReview => "SECURITY_REVIEW",
            Self::SummarizeNewMergeRequest => "SUMMARIZE_NEW_MERGE_REQUEST",
            Self::SummarizeReview => "SUMMARIZE_REVIEW",
        }
    }

    /// Lower-case key, as GitLab's queries answer it.
    pub fn key(self) -> &'static str {
        match self {
            Self::CodeCompletions => "code_completions",
            Self::CodeGenerations => "code_generations",
            Self::DuoAgentPlatform => "duo_agent_platform",
            Self::DuoAgentPlatformAgenticChat => "duo_agent_platform_agentic_chat",
            Self::DuoChat => "duo_chat",
            Self::DuoChatExplainCode => "duo_chat_explain_code",
            Self::DuoChatExplainVulnerability => "duo_chat_explain_vulnerability",
            Self::DuoChatFixCode => "duo_chat_fix_code",
            Self::DuoChatRefactorCode => "duo_chat_refactor_code",
            Self::DuoChatSummarizeComments => "duo_chat_summarize_comments",
            Self::DuoChatTroubleshootJob => "duo_chat_troubleshoot_job",
            Self::DuoChatWriteTests => "duo_chat_write_tests",
            Self::FeatureDiscoverySearch => "feature_discovery_search",
            Self::GenerateCommitMessage => "generate_commit_message",
            Self::GlabAskGitCommand => "glab_ask_git_command",
            Self::ResolveDependencyBump => "resolve_dependency_bump",
            Self::ResolveVulnerability => "resolve_vulnerability",
            Self::ReviewMergeRequest => "review_merge_request",
            Self::ReviewMergeRequestDap => "review_merge_request_dap",
            Self::SastVulnerabilityFpDetection => "sast_vulnerability_fp_detection",
            Self::SastVulnerabilityResolution => "sast_vulnerability_resolution",
            Self::SecretVulnerabilityFpDetection => "secret_vulnerability_fp_detection",
            Self::SecurityReview => "security_review",
            Self::SummarizeNewMergeRequest => "summarize_new_merge_request",
            Self::SummarizeReview => "summarize_review",
        }
    }

    /// The feature with this lower-case key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.key() == key)
    }

    /// True for the sub-features of Duo Chat: without a row of their own they use Duo Chat's model.
    pub fn is_chat_sub_feature(self) -> bool {
        self.key().starts_with("duo_chat_")
    }

    /// True for features of the Agent Platform, which need its gRPC service.
    pub fn is_agent_platform(self) -> bool {
        self.key().starts_with("duo_agent_platform")
    }
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_yaml_are_the_graphql_names_in_camel_case() {
        for feature in Feature::ALL {
            let camel: String =
                feature.graphql().split('_').map(|word| word[..1].to_string() + &word[1..].to_lowercase()).collect();
            assert_eq!(serde_json::to_value(feature).unwrap(), camel);
            assert_eq!(feature.key(), feature.graphql().to_lowercase());
            assert_eq!(Feature::from_key(feature.key()), Some(feature));
        }
    }

    #[test]
    fn only_sub_features_fall_back_to_duo_chat() {
        assert!(Feature::DuoChatExplainCode.is_chat_sub_feature());
        assert!(!Feature::DuoChat.is_chat_sub_feature());
        assert!(!Feature::CodeCompletions.is_chat_sub_feature());
    }
}
