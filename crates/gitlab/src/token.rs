//! Secret values: the administrator's access token and models' API keys.
//!
//! A `Token` can be sent, compared and dropped, never printed: `Debug` says `[redacted]`, there is no `Display`
//! and no serialisation.

use std::fmt;

/// An access token of GitLab, or the API key of a model server.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a secret value. White space around it is cut: a Secret made with `echo` ends in a line feed,
    /// and no token of GitLab starts or ends with white space.
    pub fn new(value: impl AsRef<str>) -> Self {
        Self(value.as_ref().trim().to_owned())
    }

    /// Whether nothing is left after trimming.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret value. Only for sending it or hashing it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What stands in for a secret value in texts.
pub(crate) const REDACTED: &str = "[redacted]";

/// Values this short would blank out ordinary words, and no real token is that short.
const SHORTEST_SCRUBBED: usize = 4;

/// Longest text of GitLab that is kept, in characters. GitLab's own sentences are far shorter.
const LONGEST_TEXT: usize = 1_000;

/// Makes a text of GitLab (or of a proxy in between) fit to be logged and shown: secret values are replaced, control
/// characters become spaces, the length is bounded.
pub(crate) fn scrub(text: &str, secrets: &[&Token]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets.iter().filter(|s| s.0.len() >= SHORTEST_SCRUBBED) {
        clean = clean.replace(&secret.0, REDACTED);
        // the value as it looks inside quoted JSON or a Ruby inspection
        let escaped = serde_json::Value::from(secret.0.as_str()).to_string();
        let escaped = escaped.trim_matches('"');
        if escaped != secret.0 {
            clean = clean.replace(escaped, REDACTED);
        }
    }
    let mut out: String = clean.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().nth(LONGEST_TEXT).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_prints_as_redacted_and_loses_the_line_feed_of_echo() {
        let token = Token::new("glpat-secret\n");
        assert_eq!(format!("{token:?}"), "[redacted]");
        assert_eq!(token.expose(), "glpat-secret");
    }

    #[test]
    fn scrubbing_replaces_plain_and_escaped_values_and_bounds_the_length() {
        let token = Token::new("gl\"pat-secret");
        let text = format!("plain gl\"pat-secret quoted {}", serde_json::json!({"apiToken": "gl\"pat-secret"}));
        let clean = scrub(&text, &[&token]);
        assert!(!clean.contains("pat-secret"), "{clean}");
        assert_eq!(clean.matches(REDACTED).count(), 2);
        assert_eq!(scrub(&"x".repeat(5_000), &[]).chars().count(), LONGEST_TEXT + 1);
        assert_eq!(scrub("two\nlines", &[]), "two lines");
    }

    #[test]
    fn a_very_short_value_does_not_blank_out_ordinary_words() {
        assert_eq!(scrub("a name", &[&Token::new("a")]), "a name");
        assert_eq!(scrub("a name", &[&Token::new("")]), "a name");
    }
}
