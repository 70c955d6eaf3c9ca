//! Generations: whole functions and files.

use super::markers::MarkerFilter;
use super::repeats::{without_large_repeats, without_reflection};
use super::steps::Steps;
use crate::families::format_tokens;
use crate::family::Family;

/// A whole generation: the answer's tags and fences out, `\_` mended for Mixtral, what it repeats of the code above the
/// cursor (`above`) dropped, blanks alone made empty, a line end in front when `above` does not end in one.
pub fn generation(text: &str, family: Family, lang: &str, above: &str) -> String {
    let mut stream = GenerationStream::new(family, lang);
    let mut out = stream.push(text);
    out.push_str(&stream.finish());
    let out = without_large_repeats(without_reflection(&out, above), above);
    if out.trim().is_empty() { String::new() } else { with_leading_newline(out, above) }
}

/// Puts a line end in front unless the text begins with one, or the code above ends in one or is empty.
pub fn with_leading_newline(text: String, above: &str) -> String {
    if above.is_empty() || above.ends_with('\n') || text.starts_with('\n') { text } else { format!("\n{text}") }
}

/// The steps that a stream allows: tags, fences and `\_`. Repeats show only lines later.
#[derive(Debug)]
pub struct GenerationStream(Steps);

impl GenerationStream {
    /// A filter at the start of a stream.
    pub fn new(family: Family, lang: &str) -> Self {
        let mut cut = format_tokens(family).to_vec();
        cut.push("</new_code>");
        GenerationStream(Steps::new(family, lang, MarkerFilter::new(&cut, &[("<new_code>", true)])))
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        self.0.push(piece)
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> String {
        self.0.finish()
    }

    /// Whether nothing more will be passed on, so that the model can be stopped.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_generations() {
        let table = [
            ("<new_code>\ndef a\nend\n</new_code> done", "# write a\n", "def a\nend\n"),
            ("```ruby\ndef a\nend\n```", "# write a", "\ndef a\nend\n"),
            ("def a", "", "def a"),
            ("\ndef a", "# x", "\ndef a"),
            (" \n", "# x", ""),
            ("# write a sum of two\ndef a", "x\n# write a sum of two\n", "def a"),
            ("<think>hm</think>def a", "", "def a"),
        ];
        for (text, above, wanted) in table {
            assert_eq!(generation(text, Family::Claude3, "ruby", above), wanted, "{text:?}");
        }
        assert_eq!(generation("hm</think>def a", Family::Qwen, "ruby", ""), "def a", "trap: Qwen leaks its thoughts");
    }

    #[test]
    fn trap_a_streamed_fenced_answer_loses_its_fences() {
        let mut stream = GenerationStream::new(Family::Mixtral, "ruby");
        let pieces = ["``", "`ru", "by\nmy\\", "_na", "me\n`", "``"];
        let mut out: String = pieces.iter().map(|piece| stream.push(piece)).collect();
        out.push_str(&stream.finish());
        assert_eq!(out, "my_name\n");
    }
}
