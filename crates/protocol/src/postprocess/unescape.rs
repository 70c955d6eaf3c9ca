//! `\_` becomes `_`: models of Mistral's family escape underscores as in Markdown.

/// The filter's state: a backslash at the end of a piece waits for the next one.
#[derive(Debug)]
pub struct Unescape {
    on: bool,
    held: bool,
}

impl Unescape {
    /// A filter; switched off it passes everything.
    pub fn new(on: bool) -> Self {
        Unescape { on, held: false }
    }

    /// Whether pieces are given out as they are.
    pub(super) fn passes(&self) -> bool {
        !self.on
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        if !self.on || piece.is_empty() {
            return piece.to_owned();
        }
        let mut out = String::with_capacity(piece.len() + 1);
        for c in piece.chars() {
            if std::mem::take(&mut self.held) && c != '_' {
                out.push('\\');
            }
            if c == '\\' {
                self.held = true;
            } else {
                out.push(c);
            }
        }
        out
    }

    /// The stream has ended: a backslash that still waits.
    pub fn finish(&mut self) -> String {
        if std::mem::take(&mut self.held) { "\\".into() } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_escaped_underscores_also_when_cut_between_pieces() {
        for (text, wanted) in [("a\\_b", "a_b"), ("a\\nb\\", "a\\nb\\"), ("\\\\_", "\\_"), ("_", "_")] {
            let mut whole = Unescape::new(true);
            assert_eq!(whole.push(text) + &whole.finish(), wanted, "{text}");
            let mut pieces = Unescape::new(true);
            let mut out: String = text.chars().map(|c| pieces.push(c.encode_utf8(&mut [0; 4]))).collect();
            out.push_str(&pieces.finish());
            assert_eq!(out, wanted, "{text}");
            let mut off = Unescape::new(false);
            assert_eq!(off.push(text) + &off.finish(), text);
        }
    }
}
