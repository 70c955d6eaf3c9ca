//! The fill-in-the-middle format of a model on a server's completions API.
//!
//! In a chat the same text is a user's message ([`crate::families::completion_form`]); here it is the whole prompt, so
//! that the tokenizer's own beginning of sequence must not be written a second time. The families' formats are those of
//! the contract, §6; StarCoder's and Granite's are public (their model cards).

use crate::families::{CompletionForm, completion_form};
use crate::family::Family;

/// How code with a gap is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FimFormat {
    start: &'static str,
    middle: &'static str,
    end: &'static str,
    suffix_first: bool,
}

/// What servers put in front of every prompt.
const BEGINNINGS: [&str; 2] = ["<s>", "<|begin_of_text|>"];

/// Formats by what a model's name holds, for families that stand for models of any kind. The first that fits counts.
const BY_NAME: [(&str, Family); 6] = [
    ("codestral", Family::Codestral),
    ("codegemma", Family::Codegemma),
    ("codellama", Family::Codellama),
    ("code-llama", Family::Codellama),
    ("deepseek", Family::Deepseekcoder),
    ("qwen", Family::Qwen),
];

/// The format of a model: its family's, else what its name tells; `None` when neither does.
pub fn format_of(family: Family, model: &str) -> Option<FimFormat> {
    let model = model.to_ascii_lowercase();
    if let Some(format) = of_family(family) {
        return Some(format);
    }
    if ["starcoder", "granite"].iter().any(|name| model.contains(name)) {
        return Some(FimFormat {
            start: "<fim_prefix>",
            middle: "<fim_suffix>",
            end: "<fim_middle>",
            suffix_first: false,
        });
    }
    BY_NAME.iter().find(|(name, _)| model.contains(name)).and_then(|(_, family)| of_family(*family))
}

fn of_family(family: Family) -> Option<FimFormat> {
    let CompletionForm::Fim { start, middle, end, suffix_first, .. } = completion_form(family) else { return None };
    let start = BEGINNINGS.iter().find_map(|beginning| start.strip_prefix(beginning)).unwrap_or(start);
    Some(FimFormat { start, middle, end, suffix_first })
}

impl FimFormat {
    /// The prompt for the code on both sides of the gap.
    pub fn text(&self, prefix: &str, suffix: &str) -> String {
        let (first, second) = if self.suffix_first { (suffix, prefix) } else { (prefix, suffix) };
        [self.start, first, self.middle, second, self.end].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_and_the_known_names_have_their_format() {
        let table = [
            (Family::Codestral, "m", Some("[SUFFIX]S[PREFIX]P")),
            (Family::Mixtral, "m", Some("[SUFFIX]S[PREFIX]P")),
            (Family::Codegemma, "m", Some("<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>")),
            (Family::Codellama, "m", Some("<PRE> P <SUF>S <MID>")),
            (Family::Deepseekcoder, "m", Some("<｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>")),
            (Family::Qwen, "m", Some("<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>")),
            (Family::General, "bigcode/starcoder2-15b", Some("<fim_prefix>P<fim_suffix>S<fim_middle>")),
            (Family::General, "ibm/granite-34b-code", Some("<fim_prefix>P<fim_suffix>S<fim_middle>")),
            (Family::General, "Qwen/Qwen2.5-Coder-7B", Some("<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>")),
            (Family::Llama3, "CodeLlama-13b", Some("<PRE> P <SUF>S <MID>")),
            (Family::General, "my-model", None),
            (Family::Gpt, "gpt-4o", None),
        ];
        for (family, model, wanted) in table {
            let text = format_of(family, model).map(|format| format.text("P", "S"));
            assert_eq!(text.as_deref(), wanted, "{family} {model}");
        }
    }
}
