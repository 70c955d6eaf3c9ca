//! Answers of named prompts: prose that is passed on as it is, but for a reasoning model's thoughts.

use crate::family::Family;
use crate::react::ThinkFilter;

/// A whole answer without the model's `<think>…</think>` and the blank lines behind it.
pub fn prose(text: &str, family: Family) -> String {
    let mut stream = ProseStream::new(family);
    let mut out = stream.push(text);
    out.push_str(&stream.finish());
    out
}

/// The same for a stream.
#[derive(Debug)]
pub struct ProseStream {
    think: ThinkFilter,
    begun: bool,
}

impl ProseStream {
    /// A filter at the start of a stream.
    pub fn new(family: Family) -> Self {
        ProseStream { think: ThinkFilter::new(family == Family::Qwen), begun: false }
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        let piece = self.think.push(piece);
        self.after_blanks(piece)
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> String {
        let rest = self.think.finish();
        self.after_blanks(rest)
    }

    fn after_blanks(&mut self, piece: String) -> String {
        if self.begun {
            return piece;
        }
        let text = piece.trim_start();
        self.begun = !text.is_empty();
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_and_leading_blanks_go_and_the_rest_stays() {
        let table = [
            (Family::Qwen, "let me think</think>\n\nIt adds. ", "It adds. "),
            (Family::General, "<think>x</think>\n\nIt\n\nadds.", "It\n\nadds."),
            (Family::Claude3, " It adds", "It adds"),
        ];
        for (family, text, wanted) in table {
            assert_eq!(prose(text, family), wanted);
            let mut stream = ProseStream::new(family);
            let mut out: String = text.chars().map(|c| stream.push(c.encode_utf8(&mut [0; 4]))).collect();
            out.push_str(&stream.finish());
            assert_eq!(out, wanted, "in pieces");
        }
    }
}
