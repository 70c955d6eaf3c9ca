//! Completions: the few lines at the cursor.
//!
//! The steps, in order. A stream has the first ones, which need no more than a line to decide; the others need the end
//! of the answer, or the model's reason to stop.
//!
//! | step | stream |
//! |---|---|
//! | a model's thoughts, the format's own tokens, `<\|cursor\|>`, fences out; `\_` mended for Mixtral | yes |
//! | beginning with five asterisks: empty | yes |
//! | the half word at the end dropped, when the model ran into its token limit | no: the limit shows at the end |
//! | comments only: empty | no: code may follow |
//! | the cursor's line repeated at the beginning dropped | no: may need more than the first piece |
//! | runs of five lines and more that repeat the code above dropped | no: would hold five lines back |
//! | cut at the smallest block around the cursor ([`within_block`]) | yes |
//! | what repeats the first line behind the cursor cut | no: its beginning may be out already |
//! | blanks only: empty | yes |

use super::block::{BlockCut, within_block};
use super::comments::comment_only;
use super::markers::MarkerFilter;
use super::repeats::{without_head_repeat, without_large_repeats, without_suffix_repeat};
use super::steps::Steps;
use super::words::{begins_with_asterisks, without_last_word};
use crate::families::format_tokens;
use crate::family::Family;
use crate::model::StopReason;

/// Where a completion goes and who wrote it.
#[derive(Debug, Clone, Copy)]
pub struct AtCursor<'a> {
    /// The family of the model that answered.
    pub family: Family,
    /// Our name of the language, or empty.
    pub lang: &'a str,
    /// Code above the cursor.
    pub above: &'a str,
    /// Code below the cursor.
    pub below: &'a str,
}

/// A whole completion after all steps.
pub fn completion(text: &str, at: &AtCursor<'_>, stop: &StopReason) -> String {
    let mut steps = steps(at);
    let mut text = steps.push(text);
    text.push_str(&steps.finish());
    // at a token of the format no word was cut
    let text = if *stop == StopReason::MaxTokens && !steps.is_closed() { without_last_word(&text) } else { &text };
    if begins_with_asterisks(text) || comment_only(text, at.lang, at.above) {
        return String::new();
    }
    let text = without_head_repeat(text, at.above);
    let text = without_large_repeats(text, at.above);
    let text = within_block(&text, at.lang, at.above, at.below);
    let text = without_suffix_repeat(&text, at.lang, at.below);
    if text.trim().is_empty() { String::new() } else { text.to_owned() }
}

fn steps(at: &AtCursor<'_>) -> Steps {
    Steps::new(at.family, at.lang, MarkerFilter::new(format_tokens(at.family), &[("<|cursor|>", false)]))
}

/// The steps that a stream allows.
#[derive(Debug)]
pub struct CompletionStream {
    steps: Steps,
    block: BlockCut,
    /// The answer's beginning, until it is known to be code.
    begin: Option<String>,
    dropped: bool,
}

impl CompletionStream {
    /// A filter at the start of a stream.
    pub fn new(at: &AtCursor<'_>) -> Self {
        CompletionStream {
            steps: steps(at),
            block: BlockCut::new(at.lang, at.above, at.below),
            begin: Some(String::new()),
            dropped: false,
        }
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        let piece = self.steps.push(piece);
        let piece = self.after_begin(piece);
        self.block.push(&piece)
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> String {
        let rest = self.steps.finish();
        let mut rest = self.after_begin(rest);
        // fewer asterisks than five; blanks alone are nothing
        rest.push_str(self.begin.take().filter(|begin| !begin.trim().is_empty()).as_deref().unwrap_or_default());
        self.block.push(&rest) + &self.block.finish()
    }

    /// Whether nothing more will be passed on, so that the model can be stopped.
    pub fn is_closed(&self) -> bool {
        self.dropped || self.steps.is_closed() || self.block.is_closed()
    }

    /// Holds the beginning back while it may be nothing but blanks or asterisks.
    fn after_begin(&mut self, piece: String) -> String {
        let Some(begin) = &mut self.begin else { return piece };
        if self.dropped {
            return String::new();
        }
        begin.push_str(&piece);
        let visible = begin.trim_start();
        if begins_with_asterisks(begin) {
            self.dropped = true;
            begin.clear();
        } else if begin.len() > MOST_BLANKS || !"*****".starts_with(visible) {
            return self.begin.take().unwrap_or_default();
        }
        String::new()
    }
}

/// More blanks than this are not held back.
const MOST_BLANKS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(family: Family, lang: &'a str, above: &'a str, below: &'a str) -> AtCursor<'a> {
        AtCursor { family, lang, above, below }
    }

    #[test]
    fn whole_completions() {
        let table = [
            // text, where, stopped by its limit, wanted
            ("puts 1[SUFFIX]x", at(Family::Codestral, "ruby", "", ""), false, "puts 1"),
            ("```ruby\nputs 1\n```", at(Family::Llama3, "ruby", "", ""), false, "puts 1\n"),
            ("a\\_b", at(Family::Mixtral, "ruby", "", ""), false, "a_b"),
            ("a\\_b", at(Family::Mistral, "ruby", "", ""), false, "a\\_b"),
            ("```\nx\n```", at(Family::Claude3, "markdown", "", ""), false, "```\nx\n```"),
            (" \n\t", at(Family::Gpt, "ruby", "", ""), false, ""),
            ("<EOT>", at(Family::Codellama, "ruby", "", ""), false, ""),
            ("a<|cursor|>\nb", at(Family::Claude3, "ruby", "", ""), false, "a\nb"),
            ("*****\nputs 1", at(Family::Claude3, "ruby", "", ""), false, ""),
            ("**kwargs)", at(Family::Claude3, "python", "f(", "\n"), false, "**kwargs)"),
            ("let total = coun", at(Family::Gpt, "go", "", ""), true, "let total = "),
            ("let total = coun", at(Family::Gpt, "go", "", ""), false, "let total = coun"),
            ("puts one[SUFFIX]", at(Family::Codestral, "ruby", "", ""), true, "puts one"),
            ("# nothing is missing", at(Family::Gpt, "ruby", "def a\n  ", ""), false, ""),
            ("  return a + b", at(Family::Gpt, "python", "def f():\n  return ", ""), false, "a + b"),
            ("x\n}\n\nfunc b() {}", at(Family::Gpt, "go", "func a() {\n\t", ""), false, "x\n}"),
            ("x\n}\n\nfunc b() {}", at(Family::Gpt, "go", "func a() {\n\t", "\n}\n"), false, "x"),
            ("a, b)", at(Family::Gpt, "go", "f(", ")\n"), false, "a, b"),
        ];
        for (text, at, limit, wanted) in table {
            let stop = if limit { StopReason::MaxTokens } else { StopReason::EndTurn };
            assert_eq!(completion(text, &at, &stop), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_stream_has_the_steps_that_need_no_end() {
        let table = [
            ("x\n}\n\nfunc b() {}\n", "func a() {\n\t", "x\n}", true),
            ("*****\nx", "", "", true),
            ("** x", "", "** x", false),
            ("*", "", "*", false),
            (" \n ", "", "", false),
            ("\n  x", "", "\n  x", false),
            ("a<|cursor|>b", "", "ab", false),
        ];
        for (text, above, wanted, closed) in table {
            let at = at(Family::Gpt, "go", above, "");
            let mut stream = CompletionStream::new(&at);
            let mut out: String = text.chars().map(|c| stream.push(c.encode_utf8(&mut [0; 4]))).collect();
            assert_eq!(stream.is_closed(), closed, "{text:?}");
            out.push_str(&stream.finish());
            assert_eq!(out, wanted, "{text:?}");
        }
    }
}
