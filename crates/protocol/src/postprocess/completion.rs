//! Completions: the few lines at the cursor.

use super::markers::MarkerFilter;
use super::steps::Steps;
use crate::families::format_tokens;
use crate::family::Family;

/// A whole completion: cut at the format's own tokens, fences out, `\_` mended for Mixtral, what repeats the first
/// line behind the cursor cut, blanks alone made empty. `suffix` is the code behind the cursor, `lang` our name of the
/// language.
pub fn completion(text: &str, family: Family, lang: &str, suffix: &str) -> String {
    let mut stream = CompletionStream::new(family, lang);
    let mut out = stream.push(text);
    out.push_str(&stream.finish());
    let out = without_suffix_repeat(&out, suffix);
    if out.trim().is_empty() { String::new() } else { out.to_owned() }
}

/// The steps that a stream allows: those of [`completion`] but for the last two.
#[derive(Debug)]
pub struct CompletionStream(Steps);

impl CompletionStream {
    /// A filter at the start of a stream.
    pub fn new(family: Family, lang: &str) -> Self {
        CompletionStream(Steps::new(family, lang, MarkerFilter::new(format_tokens(family), &[])))
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

/// Words that close or divide blocks: they stand in many places, so a second one is no repeat.
const COMMON: [&str; 10] = ["end", "else", "pass", "return", "break", "continue", "fi", "done", "esac", "then"];

/// The text up to where it repeats the first line behind the cursor. A line that closes a block (`}`, `);`) counts as
/// repeated only when the text closes more than it opens.
pub fn without_suffix_repeat<'a>(text: &'a str, suffix: &str) -> &'a str {
    let Some(first) = suffix.lines().map(str::trim).find(|line| !line.is_empty()) else { return text };
    if first.chars().any(char::is_alphanumeric) {
        if COMMON.contains(&first) {
            return text;
        }
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if line.trim() == first {
                // the line end before it belongs to the suffix unless the cursor stands at the end of a line
                let keep = &text[..at];
                return if suffix.starts_with(['\n', '\r']) { keep.trim_end_matches(['\n', '\r']) } else { keep };
            }
            at += line.len();
        }
        // the rest of the cursor's own line, repeated at the end
        let same_line = suffix.lines().next().is_some_and(|line| !line.trim().is_empty());
        let shorter = text.trim_end().strip_suffix(first).filter(|_| same_line);
        // not in the middle of a word
        return shorter.filter(|s| !s.ends_with(|c: char| c.is_alphanumeric() || c == '_')).unwrap_or(text);
    }
    match text.trim_end().strip_suffix(first) {
        Some(shorter) if closes_more_than_it_opens(text) => shorter.trim_end_matches([' ', '\t']),
        _ => text,
    }
}

fn closes_more_than_it_opens(text: &str) -> bool {
    let count = |set: [char; 3]| text.chars().filter(|c| set.contains(c)).count();
    count([')', ']', '}']) > count(['(', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_the_first_line_behind_the_cursor_is_cut() {
        let table = [
            // text, suffix, wanted
            ("a, b)", ")\n", "a, b"),
            ("foo(a)", ")\n", "foo(a)"),
            ("  x = 1\n  return total\n", "\n  return total\nend", "  x = 1"),
            ("x = 1\nreturn total\nmore", "return total", "x = 1\n"),
            ("if a {\n  b\n}", "\n}\n", "if a {\n  b\n}"),
            ("b\n}", "\n}\n", "b\n"),
            ("do\n x\nend", "\nend", "do\n x\nend"),
            ("name, age)", " age)", "name,"),
            ("return foo", "o\n", "return foo"),
            ("x", "", "x"),
            ("x", "\n\n  \n", "x"),
        ];
        for (text, suffix, wanted) in table {
            let got = without_suffix_repeat(text, suffix);
            assert_eq!(got.trim_end(), wanted.trim_end(), "{text:?} before {suffix:?}");
        }
    }

    #[test]
    fn whole_completions() {
        let table = [
            ("puts 1[SUFFIX]x", Family::Codestral, "ruby", "", "puts 1"),
            ("```ruby\nputs 1\n```", Family::Llama3, "ruby", "", "puts 1\n"),
            ("a\\_b", Family::Mixtral, "ruby", "", "a_b"),
            ("a\\_b", Family::Mistral, "ruby", "", "a\\_b"),
            ("```\nx\n```", Family::Claude3, "markdown", "", "```\nx\n```"),
            (" \n\t", Family::Gpt, "ruby", "", ""),
            ("<EOT>", Family::Codellama, "ruby", "", ""),
        ];
        for (text, family, lang, suffix, wanted) in table {
            assert_eq!(completion(text, family, lang, suffix), wanted, "{text:?}");
        }
    }
}
