//! The model families GitLab knows, by the names it sends.

use std::fmt;

use crate::contract::Invalid;

/// A model family: decides prompts, FIM format, sampling and the assumed context window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the family of that name")]
pub enum Family {
    Mistral,
    Mixtral,
    Codestral,
    Llama3,
    Codellama,
    Codegemma,
    Deepseekcoder,
    Claude3,
    Gpt,
    General,
    Gemini,
    Qwen,
    Embedding,
}

impl Family {
    /// All families, in the order of the documentation.
    pub const ALL: [Family; 13] = [
        Family::Mistral,
        Family::Mixtral,
        Family::Codestral,
        Family::Llama3,
        Family::Codellama,
        Family::Codegemma,
        Family::Deepseekcoder,
        Family::Claude3,
        Family::Gpt,
        Family::General,
        Family::Gemini,
        Family::Qwen,
        Family::Embedding,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Mistral => "mistral",
            Family::Mixtral => "mixtral",
            Family::Codestral => "codestral",
            Family::Llama3 => "llama3",
            Family::Codellama => "codellama",
            Family::Codegemma => "codegemma",
            Family::Deepseekcoder => "deepseekcoder",
            Family::Claude3 => "claude_3",
            Family::Gpt => "gpt",
            Family::General => "general",
            Family::Gemini => "gemini",
            Family::Qwen => "qwen",
            Family::Embedding => "embedding",
        }
    }

    /// Reads a family name. The completion endpoint also takes names of single models (`codestral-2501`,
    /// `codestral-2508`, `qwen2p5-coder-7b`); they are their family.
    ///
    /// # Errors
    /// A 422 list detail for any other name: the official gateway silently calls another model.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        let found = match name {
            "codestral-2501" | "codestral-2508" => Some(Family::Codestral),
            "qwen2p5-coder-7b" => Some(Family::Qwen),
            _ => Family::ALL.into_iter().find(|family| family.as_str() == name),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = Family::ALL.iter().map(|f| f.as_str()).collect();
            Invalid::one(
                &["body", "model_metadata", "name"],
                &format!("This model family is not known. Known families: {}", known.join(", ")),
                "enum",
            )
        })
    }

    /// Whether the family belongs to Mistral's, whose replies escape underscores and whose templates want a prefill
    /// announced.
    pub fn is_mistral_like(self) -> bool {
        matches!(self, Family::Mistral | Family::Mixtral | Family::Codestral)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_an_unknown_one_is_refused() {
        for family in Family::ALL {
            assert_eq!(Family::parse(family.as_str()), Ok(family));
        }
        for name in ["", "Mistral", "claude", "starcoder"] {
            assert_eq!(Family::parse(name).unwrap_err().0[0].kind, "enum", "{name}");
        }
    }

    #[test]
    fn trap_general_and_qwen_coder_are_families_here_too() {
        assert_eq!(Family::parse("general"), Ok(Family::General));
        assert_eq!(Family::parse("qwen2p5-coder-7b"), Ok(Family::Qwen));
    }
}
