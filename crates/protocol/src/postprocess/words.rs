//! Answers that are no code, and the word at the end that a token limit cut in two.

/// Whether an answer begins with five asterisks or more: a model's way of drawing lines, never code that is wanted.
pub fn begins_with_asterisks(text: &str) -> bool {
    text.trim_start().starts_with("*****")
}

/// The text without the letters, digits and underscores at its end: half a word, when the model was stopped by its
/// limit.
pub fn without_last_word(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_asterisks_and_half_words() {
        for (text, wanted) in [("*****", true), (" \n****** x", true), ("****", false), ("/*****", false), ("", false)]
        {
            assert_eq!(begins_with_asterisks(text), wanted, "{text:?}");
        }
        let table =
            [("let total = coun", "let total = "), ("f(a, ", "f(a, "), ("f()", "f()"), ("größ", ""), ("a\nb_1", "a\n")];
        for (text, wanted) in table {
            assert_eq!(without_last_word(text), wanted, "{text:?}");
        }
    }
}
