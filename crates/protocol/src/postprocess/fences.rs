//! Takes Markdown fences out of code: lines that begin with three backticks, and backticks at the end of a line.

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Nothing but blanks and fewer than three backticks so far: it may become a fence.
    Undecided,
    /// Ordinary text.
    Text,
    /// A fence: dropped to its end.
    Fence,
}

/// More blanks at the start of a line, or backticks at its end, are not held back: they belong to no fence.
const MOST_HELD: usize = 1024;

/// The filter's state. Its output does not depend on where the pieces are cut.
#[derive(Debug)]
pub struct FenceFilter {
    on: bool,
    line: Line,
    /// Of an undecided line all, of a text line the backticks at its end.
    held: String,
}

impl FenceFilter {
    /// A filter; switched off (Markdown is what the user writes) it passes everything.
    pub fn new(on: bool) -> Self {
        FenceFilter { on, line: Line::Undecided, held: String::new() }
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        if !self.on {
            return piece.to_owned();
        }
        let mut out = String::with_capacity(piece.len());
        for c in piece.chars() {
            match (&self.line, c) {
                (Line::Fence, '\n') => self.line = Line::Undecided,
                (Line::Fence, _) => {}
                (_, '\n') => {
                    self.give_out(&mut out);
                    out.push('\n');
                    self.line = Line::Undecided;
                }
                (Line::Undecided, _) => {
                    self.held.push(c);
                    let text = self.held.trim_start();
                    if text.starts_with("```") {
                        self.held.clear();
                        self.line = Line::Fence;
                    } else if !"```".starts_with(text) || self.held.len() > MOST_HELD {
                        out.push_str(&self.held);
                        self.held.clear();
                        self.line = Line::Text;
                    }
                }
                (Line::Text, '`') if self.held.len() < MOST_HELD => self.held.push('`'),
                (Line::Text, c) => {
                    out.push_str(&self.held);
                    self.held.clear();
                    out.push(c);
                }
            }
        }
        out
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.give_out(&mut out);
        out
    }

    /// What waits at the end of a line, unless it is three backticks or more.
    fn give_out(&mut self, out: &mut String) {
        if !self.held.ends_with("```") {
            out.push_str(&self.held);
        }
        self.held.clear();
    }
}

/// A whole text without its fences.
pub fn without_fences(text: &str) -> String {
    let mut filter = FenceFilter::new(true);
    let out = filter.push(text);
    out + &filter.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded() {
        for text in [" ".repeat(5000), format!("a{}", "`".repeat(5000))] {
            let mut filter = FenceFilter::new(true);
            let mut out: String = text.chars().map(|c| filter.push(c.encode_utf8(&mut [0; 4]))).collect();
            assert!(filter.held.len() <= MOST_HELD + 1);
            out.push_str(&filter.finish());
            assert!(out.len() > 3000 && text.starts_with(&out));
        }
    }

    #[test]
    fn fences_go_and_other_backticks_stay() {
        let table = [
            ("```ruby\nputs 1\n```", "puts 1\n"),
            ("```\na\n```\n", "a\n"),
            ("  ```js\n  a\n  ```", "  a\n"),
            ("a ```", "a "),
            ("x = `ls`", "x = `ls`"),
            ("`a`\n``b", "`a`\n``b"),
            ("\n\na", "\n\na"),
            ("a\n  ", "a\n  "),
            ("", ""),
        ];
        for (text, wanted) in table {
            assert_eq!(without_fences(text), wanted, "{text:?}");
            let mut filter = FenceFilter::new(true);
            let mut out: String = text.chars().map(|c| filter.push(c.encode_utf8(&mut [0; 4]))).collect();
            out.push_str(&filter.finish());
            assert_eq!(out, wanted, "in pieces: {text:?}");
        }
    }
}
