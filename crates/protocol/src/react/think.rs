//! Drops a model's `<think>…</think>` from the front of a stream.

/// An orphan `</think>` (Qwen's template opens the tag itself) counts only if it begins within this many characters.
const ORPHAN_WITHIN: usize = 80;
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// More blanks than this at the front are not held back.
const MOST_BLANKS: usize = 4096;

/// The filter's state. Its output does not depend on where the pieces are cut, and what it holds is bounded.
#[derive(Debug)]
pub struct ThinkFilter {
    held: String,
    state: State,
    orphans: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It may still begin with a thought.
    Open,
    /// Inside of a thought; only as much is held as may be the beginning of its end.
    Thinking,
    /// The thought is over, or there is none.
    Passing,
}

impl ThinkFilter {
    /// A filter; `orphans` also drops what stands before an orphan `</think>`: for Qwen.
    pub fn new(orphans: bool) -> Self {
        ThinkFilter { held: String::new(), state: State::Open, orphans }
    }

    /// Whether pieces are given out as they are: there is no thought any more.
    pub(crate) fn passes(&self) -> bool {
        self.state == State::Passing
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        if self.state == State::Passing {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        if self.state == State::Open {
            let trimmed = self.held.trim_start();
            if trimmed.starts_with(OPEN) {
                self.state = State::Thinking;
            } else if OPEN.starts_with(trimmed) && self.held.len() < MOST_BLANKS {
                return String::new();
            } else if self.orphans {
                match self.held.find(CLOSE) {
                    Some(at) if self.held[..at].chars().count() < ORPHAN_WITHIN => return self.pass(at + CLOSE.len()),
                    None if self.held.chars().count() < ORPHAN_WITHIN + CLOSE.len() => return String::new(),
                    _ => return self.pass(0),
                }
            } else {
                return self.pass(0);
            }
        }
        match self.held.find(CLOSE) {
            Some(at) => self.pass(at + CLOSE.len()),
            None => {
                let mut keep = self.held.len().saturating_sub(CLOSE.len() - 1);
                while !self.held.is_char_boundary(keep) {
                    keep += 1;
                }
                self.held.drain(..keep);
                String::new()
            }
        }
    }

    /// Passes what is held from there on, and all that comes.
    fn pass(&mut self, from: usize) -> String {
        self.state = State::Passing;
        let mut out = std::mem::take(&mut self.held);
        out.drain(..from);
        out
    }

    /// The stream has ended: what was held back, unless it is a thought without end.
    pub fn finish(&mut self) -> String {
        let thinking = self.state == State::Thinking;
        let held = self.pass(0);
        if thinking { String::new() } else { held }
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
        assert_eq!(run("<think></thin</think>€", false), "€");
    }

    #[test]
    fn a_thought_of_any_length_takes_no_memory() {
        let mut filter = ThinkFilter::new(true);
        filter.push(" <think>");
        for _ in 0..1000 {
            assert_eq!(filter.push("é and so on, and so on"), "");
            assert!(filter.held.len() < CLOSE.len());
        }
        assert_eq!(filter.push("</think>x"), "x");
        let mut blanks = ThinkFilter::new(true);
        let out: usize = (0..1000).map(|_| blanks.push("          ").len()).sum();
        assert_eq!(out, 10_000);
    }
}
