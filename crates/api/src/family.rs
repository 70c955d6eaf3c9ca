//! Model families that GitLab knows (`AiAcceptedSelfHostedModels`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model family. GitLab chooses prompts by it and refuses families that a feature does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Family {
    /// Mistral.
    Mistral,
    /// Mixtral.
    Mixtral,
    /// Codestral.
    Codestral,
    /// Llama3.
    Llama3,
    /// CodeGemma.
    CodeGemma,
    /// CodeLlama.
    CodeLlama,
    /// DeepSeekCoder.
    DeepSeekCoder,
    /// Every Claude generation (GitLab: `CLAUDE_3`).
    Claude,
    /// GPT.
    GPT,
    /// Gemini.
    Gemini,
    /// Qwen.
    Qwen,
    /// Any other model that speaks the OpenAI API.
    General,
    /// Embedding.
    Embedding,
}

impl Family {
    /// All known families.
    pub const ALL: [Self; 13] = [
        Self::Mistral,
        Self::Mixtral,
        Self::Codestral,
        Self::Llama3,
        Self::CodeGemma,
        Self::CodeLlama,
        Self::DeepSeekCoder,
        Self::Claude,
        Self::GPT,
        Self::Gemini,
        Self::Qwen,
        Self::General,
        Self::Embedding,
    ];

    /// Value of GitLab's enum, as mutations take it.
    pub fn graphql(self) -> &'static str {
        match self {
            Self::Mistral => "MISTRAL",
            Self::Mixtral => "MIXTRAL",
            Self::Codestral => "CODESTRAL",
            Self::Llama3 => "LLAMA3",
            Self::CodeGemma => "CODEGEMMA",
            Self::CodeLlama => "CODELLAMA",
            Self::DeepSeekCoder => "DEEPSEEKCODER",
            Self::Claude => "CLAUDE_3",
            Self::GPT => "GPT",
            Self::Gemini => "GEMINI",
            Self::Qwen => "QWEN",
            Self::General => "GENERAL",
            Self::Embedding => "EMBEDDING",
        }
    }

    /// Lower-case key, as GitLab's queries answer it and as requests to the gateway name it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mistral => "mistral",
            Self::Mixtral => "mixtral",
            Self::Codestral => "codestral",
            Self::Llama3 => "llama3",
            Self::CodeGemma => "codegemma",
            Self::CodeLlama => "codellama",
            Self::DeepSeekCoder => "deepseekcoder",
            Self::Claude => "claude_3",
            Self::GPT => "gpt",
            Self::Gemini => "gemini",
            Self::Qwen => "qwen",
            Self::General => "general",
            Self::Embedding => "embedding",
        }
    }

    /// Families in beta (GitLab 18.9 and 19.x): GitLab lists their models only after an administrator accepted the
    /// testing terms, while it accepts their creation all the same.
    pub fn is_beta(self) -> bool {
        !matches!(self, Self::Mistral | Self::Mixtral | Self::Codestral | Self::Claude | Self::GPT)
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
