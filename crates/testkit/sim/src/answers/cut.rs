//! Tokens, and where an answer is cut by its limits.

use super::Limits;

/// Why the text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model had no more to say.
    Done,
    /// A stop sequence came up.
    Stop,
    /// The token limit was reached.
    Length,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Why it ends.
    pub ending: Ending,
}

/// Cuts a text into tokens: blanks and up to six characters that follow. Joined they give the text again.
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut letters) = (0, 0);
    for (at, character) in text.char_indices() {
        if letters > 0 && (character.is_whitespace() || letters == 6) {
            pieces.push(&text[start..at]);
            (start, letters) = (at, 0);
        }
        if !character.is_whitespace() {
            letters += 1;
        }
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// How many tokens a text has.
pub fn tokens(text: &str) -> usize {
    pieces(text).len()
}

pub(super) fn cut(text: &str, limits: &Limits) -> Written {
    let stop = limits.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
    let (text, ending) = match stop {
        Some(at) => (&text[..at], Ending::Stop),
        None => (text, Ending::Done),
    };
    match limits.max_tokens {
        Some(limit) if tokens(text) > limit => Written { text: pieces(text)[..limit].concat(), ending: Ending::Length },
        _ => Written { text: text.to_owned(), ending },
    }
}
