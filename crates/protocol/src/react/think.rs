//! Drops a model's `<think>…</think>` from the front of a stream.

/// An orphan `</think>` (Qwen's template opens the tag itself) counts only if it begins within this many characters.
const ORPHAN_WITHIN: usize = 80;
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// The filter's state. Its output does not depend on where the pieces are cut.
#[derive(Debug)]
pub struct ThinkFilter {
    held: String,
    decided: bool,
    orphans: bool,
}

impl ThinkFilter {
    /// A filter; `orphans` also drops what stands before an orphan `</think>`: for Qwen.
    pub fn new(orphans: bool) -> Self {
        ThinkFilter { held: String::new(), decided: false, orphans }
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        if self.decided {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        let trimmed = self.held.trim_start();
        let keep_from = if trimmed.starts_with(OPEN) {
            match self.held.find(CLOSE) {
                Some(at) => at + CLOSE.len(),
                None => return String::new(),
            }
        } else if OPEN.starts_with(trimmed) {
            return String::new();
        } else if self.orphans {
            match self.held.find(CLOSE) {
                Some(at) if self.held[..at].chars().count() < ORPHAN_WITHIN => at + CLOSE.len(),
                None if self.held.chars().count() < ORPHAN_WITHIN + CLOSE.len() => return String::new(),
                _ => 0,
            }
        } else {
            0
        };
        self.decided = true;
        let mut out = std::mem::take(&mut self.held);
        out.drain(..keep_from);
        out
    }

    /// The stream has ended: what was held back, unless it is a thought without end.
    pub fn finish(&mut self) -> String {
        self.decided = true;
        let out = std::mem::take(&mut self.held);
        if out.trim_start().starts_with(OPEN) { String::new() } else { out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, orphans: bool) -> String {
        let mut filter = ThinkFilter::new(orphans);
        let mut out: String = text.chars().map(|c| filter.push(c.encode_utf8(&mut [0; 4]))).collect();
        out.push_str(&filter.finish());
        let mut whole = ThinkFilter::new(orphans);
        assert_eq!(out, whole.push(text) + &whole.finish(), "{text:?}");
        out
    }

    #[test]
    fn trap_qwen_leaks_its_thoughts() {
        let long = "x".repeat(90);
        assert_eq!(run("<think>a</think>b", false), "b");
        assert_eq!(run("\n <think>\n\n</think>\n\nb", true), "\n\nb");
        assert_eq!(run("some thoughts</think>b", true), "b");
        assert_eq!(run("some thoughts</think>b", false), "some thoughts</think>b");
        assert_eq!(run(&format!("{long}</think>b"), true), format!("{long}</think>b"));
        assert_eq!(run("<think>never ends", true), "");
        assert_eq!(run("<thin ice", true), "<thin ice");
        assert_eq!(run("<thi", false), "<thi");
    }
}
