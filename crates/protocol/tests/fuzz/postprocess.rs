//! Post-processing: streams give the same text wherever they are cut, and a whole answer goes through the same steps.
//!
//! An input is the answer, the code above, the code below and the language, with 0x1F between them.

use duo_protocol::family::Family;
use duo_protocol::model::StopReason;
use duo_protocol::postprocess::{
    AtCursor, CompletionStream, GenerationStream, PromptStream, ProseStream, completion, generation, prompt_answer,
    prose, within_block, without_large_repeats, without_suffix_repeat,
};
use duo_protocol::prompts::AnswerForm;
use proptest::prelude::*;

use crate::runner::{Outcome, run, seed, text_pieces};

const WORDS: &[&str] = &[
    "\u{1f}",
    "```",
    "```ruby\n",
    "`",
    "\n",
    "\n\n",
    "\r\n",
    "  ",
    "\t",
    "\\_",
    "\\",
    "<new_code>",
    "</new_code>",
    "<|cursor|>",
    "<|cur",
    "[SUFFIX]",
    "[SUF",
    "<think>",
    "</think>",
    "</s>",
    "<EOT>",
    "é",
    "😀",
    "def a\n",
    "end\n",
    "}",
    "{",
    "(",
    ")",
    "\"",
    "'",
    "# c\n",
    "// c\n",
    "/*",
    "*/",
    "*****",
    "else",
    "return x\n",
    "python",
    "ruby",
    "go",
    "<<~A\n",
    "{\"ResourceIdentifierType\": \"current\", \"ResourceIdentifier\": \"current\"}",
];

fn stream(pieces: &[String], mut push: impl FnMut(Option<&str>) -> String) -> String {
    let mut out: String = pieces.iter().map(|piece| push(Some(piece))).collect();
    out.push_str(&push(None));
    out
}

macro_rules! streamed {
    ($filter:expr, $pieces:expr) => {{
        let mut filter = $filter;
        stream($pieces, |piece| match piece {
            Some(piece) => filter.push(piece),
            None => filter.finish(),
        })
    }};
}

fn check(input: &[u8]) -> Outcome {
    let input_text = String::from_utf8_lossy(input).into_owned();
    let mut parts = input_text.split('\u{1f}');
    let mut part = || parts.next().unwrap_or_default();
    let (text, above, below, lang) = (part(), part(), part(), part());
    let whole = [text.to_owned()];
    let cuts = [text_pieces(text, seed(input)), text.chars().map(String::from).collect()];
    for family in [Family::Claude3, Family::Qwen, Family::Mixtral, Family::Deepseekcoder] {
        let at = AtCursor { family, lang, above, below };
        let completed = streamed!(CompletionStream::new(&at), &whole);
        let generated = streamed!(GenerationStream::new(family, lang), &whole);
        let told = streamed!(ProseStream::new(family), &whole);
        prop_assert_eq!(&prose(text, family), &told);
        for pieces in &cuts {
            prop_assert_eq!(&streamed!(CompletionStream::new(&at), pieces), &completed);
            prop_assert_eq!(&streamed!(GenerationStream::new(family, lang), pieces), &generated);
            prop_assert_eq!(&streamed!(ProseStream::new(family), pieces), &told);
            for form in [AnswerForm::Message, AnswerForm::Line, AnswerForm::Reader] {
                let wanted = prompt_answer(text, form, family);
                prop_assert_eq!(streamed!(PromptStream::new(form, family), pieces), wanted);
            }
        }
        // nothing is invented
        let done = completion(text, &at, &StopReason::MaxTokens);
        prop_assert!(done.len() <= text.len());
        let ended = completion(text, &at, &StopReason::EndTurn);
        prop_assert!(ended.is_empty() || !ended.trim().is_empty());
        prop_assert!(generation(text, family, lang, above).len() <= text.len() + 1);
        // what a stream passes on is a whole answer before the steps that need its end
        if without_large_repeats(&completed, above) == completed {
            prop_assert!(completed.contains(ended.as_str()), "{:?} is not in {:?}", ended, completed);
        }
    }
    prop_assert!(text.starts_with(&within_block(text, lang, above, below)));
    prop_assert!(text.starts_with(without_suffix_repeat(text, lang, below)));
    Ok(())
}

#[test]
fn answers() {
    run("postprocess", WORDS, check);
}
