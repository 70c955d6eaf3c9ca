//! What each family is asked with: FIM format, sampling, token limits, stop sequences, context window.
//!
//! The numbers are those GitLab's own gateway uses (contract of 19.x, §6), so that a model answers here as it does
//! there. Of longer stop lists the four most useful stand first: servers take no more.

use crate::family::Family;

/// How a feature asks a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Sampling temperature; `None`: the model's own.
    pub temperature: Option<f32>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// Stop sequences.
    pub stop: &'static [&'static str],
}

/// How code around the cursor is put to a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionForm {
    /// A fill-in-the-middle string as the user message.
    Fim {
        /// Before the first part.
        start: &'static str,
        /// Between the parts.
        middle: &'static str,
        /// Behind the second part.
        end: &'static str,
        /// The suffix stands first (Codestral).
        suffix_first: bool,
        /// A system message "only code" goes with it.
        system: bool,
    },
    /// Natural language: prompt `code_suggestions/completions` in the family's words.
    Words,
}

const CODESTRAL: CompletionForm =
    CompletionForm::Fim { start: "<s>[SUFFIX]", middle: "[PREFIX]", end: "", suffix_first: true, system: true };

/// The family's completion format.
pub fn completion_form(family: Family) -> CompletionForm {
    let fim = |start, middle, end, system| CompletionForm::Fim { start, middle, end, suffix_first: false, system };
    match family {
        Family::Codegemma => fim("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", false),
        // the blanks belong to the format
        Family::Codellama => fim("<PRE> ", " <SUF>", " <MID>", false),
        Family::Deepseekcoder => fim("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", false),
        Family::Qwen => fim("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", true),
        Family::Codestral | Family::Mistral | Family::Mixtral => CODESTRAL,
        Family::Llama3 | Family::Gpt | Family::Claude3 | Family::General | Family::Gemini | Family::Embedding => {
            CompletionForm::Words
        }
    }
}

/// Names of prompt variants, the most special first; without any of them a prompt's general words are used.
/// `instruct` is for models that follow a short instruction with an example better than a list of rules.
pub fn variants(family: Family) -> &'static [&'static str] {
    match family {
        Family::Mistral => &["mistral", "instruct"],
        Family::Mixtral => &["mixtral", "mistral", "instruct"],
        Family::Codestral => &["codestral", "mistral", "instruct"],
        Family::Llama3 => &["llama3", "instruct"],
        Family::Codellama => &["codellama", "instruct"],
        Family::Codegemma => &["codegemma", "instruct"],
        Family::Deepseekcoder => &["deepseekcoder", "instruct"],
        Family::Gpt => &["gpt"],
        Family::Gemini => &["gemini"],
        Family::Qwen => &["qwen"],
        Family::Claude3 | Family::General | Family::Embedding => &[],
    }
}

/// Parameters of code completion.
pub fn completion(family: Family) -> Params {
    const MISTRAL: &[&str] = &["[SUFFIX]", "[PREFIX]", "[MIDDLE]", "[INST]"];
    let params = |temperature: f32, max_tokens, stop| Params { temperature: Some(temperature), max_tokens, stop };
    match family {
        Family::Codegemma => {
            params(0.95, 128, &["<|file_separator|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"])
        }
        Family::Codellama => params(0.95, 128, &["<EOT>", "<PRE>", "<SUF>", "<MID>"]),
        Family::Codestral => params(0.32, 64, MISTRAL),
        Family::Mistral | Family::Mixtral => params(0.0, 64, MISTRAL),
        Family::Deepseekcoder => params(0.0, 128, &[]),
        Family::Qwen => params(0.95, 48, &["<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "\n\n"]),
        Family::Llama3 => params(0.0, 64, &[]),
        Family::Gpt => Params { temperature: None, max_tokens: 64, stop: &[] },
        Family::Claude3 | Family::General | Family::Gemini | Family::Embedding => params(0.0, 128, &[]),
    }
}

/// Parameters of code generation with `prompt_id` `code_suggestions/generations`.
pub fn generation(family: Family) -> Params {
    let params = |temperature, max_tokens, stop| Params { temperature, max_tokens, stop };
    match family {
        Family::Claude3 | Family::General | Family::Gemini | Family::Embedding => {
            params(Some(0.2), 2048, &["</new_code>"])
        }
        Family::Mixtral => params(None, 4096, &[]),
        Family::Codegemma | Family::Deepseekcoder => params(Some(0.95), 512, &[]),
        Family::Gpt => params(Some(1.0), 512, &[]),
        Family::Codestral => params(Some(0.3), 256, &[]),
        Family::Codellama | Family::Mistral => params(Some(0.95), 256, &[]),
        Family::Llama3 => params(Some(0.0), 256, &[]),
        Family::Qwen => params(Some(0.2), 2048, &[]),
    }
}

/// Parameters of `/v2/code/generations` without `prompt_id`, and `top_p` 0.95 with them.
pub const PLAIN_GENERATION: Params = Params { temperature: Some(0.2), max_tokens: 2048, stop: &[] };
/// `top_p` of [`PLAIN_GENERATION`].
pub const PLAIN_GENERATION_TOP_P: f32 = 0.95;

/// Parameters of a ReAct turn. The reader stops at `Observation:` by itself where the model takes no stop sequence.
pub fn chat(family: Family) -> Params {
    let stop: &[&str] = if family == Family::Gpt { &[] } else { &["Observation:"] };
    let max_tokens = match family {
        Family::Claude3 | Family::General | Family::Gpt | Family::Gemini | Family::Qwen => 8192,
        // of an 8k window the most must stay for the question
        Family::Codegemma => 2048,
        _ => 4096,
    };
    Params { temperature: Some(0.0), max_tokens, stop }
}

/// The tokens a family reads and writes in one call, as assumed when nothing better is known.
pub fn context_window(family: Family) -> usize {
    match family {
        Family::Mistral | Family::Codestral | Family::Llama3 | Family::Gpt => 128_000,
        Family::Mixtral => 32_000,
        Family::Codellama | Family::Deepseekcoder => 16_000,
        Family::Codegemma => 8_000,
        Family::Claude3 | Family::General | Family::Gemini | Family::Embedding => 200_000,
        Family::Qwen => 262_000,
    }
}

/// Tokens that only a format or a template writes: an answer is cut where one of them begins.
pub fn format_tokens(family: Family) -> &'static [&'static str] {
    match family {
        Family::Codegemma => {
            &["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>", "<end_of_turn>", "<eos>"]
        }
        Family::Codellama => &["<PRE>", "<SUF>", "<MID>", "<EOT>", "</s>", "[INST]"],
        Family::Codestral | Family::Mistral | Family::Mixtral => {
            &["[SUFFIX]", "[PREFIX]", "[MIDDLE]", "[INST]", "[/INST]", "</s>"]
        }
        Family::Deepseekcoder => {
            &["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>", "<|EOT|>"]
        }
        Family::Qwen => &[
            "<|fim_prefix|>",
            "<|fim_suffix|>",
            "<|fim_middle|>",
            "<|fim_pad|>",
            "<|repo_name|>",
            "<|file_sep|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|endoftext|>",
        ],
        Family::Llama3 => &["<|eot_id|>", "<|end_of_text|>"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_no_family_needs_more_than_four_stop_sequences() {
        for family in Family::ALL {
            for params in [completion(family), generation(family), chat(family)] {
                assert!(params.stop.len() <= 4, "{family}");
            }
        }
        assert!(completion(Family::Codestral).stop.contains(&"[SUFFIX]"), "never arrives from GitLab's own gateway");
    }

    #[test]
    fn every_answer_fits_its_window_with_room_for_the_question() {
        for family in Family::ALL {
            for params in [completion(family), generation(family), chat(family)] {
                assert!((params.max_tokens as usize) * 3 <= context_window(family), "{family}");
            }
        }
    }
}
