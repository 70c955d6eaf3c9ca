//! Fits texts into a context window by an estimate of their tokens, cutting from the end that matters least.
//!
//! The estimate is a cautious one: a model's own tokenizer is not known here, and code has more tokens to the letter
//! than prose.

/// Part of a completion's budget that goes to the code above the cursor, in percent; the rest is for the code below.
const PREFIX_SHARE: usize = 93;

/// A cautious count of the tokens of `text`: three ASCII characters, or one other character, to a token.
pub fn estimate(text: &str) -> usize {
    // in rows that a byte can count, so that the compiler counts many at a time
    let count = |row: &[u8], wanted: fn(u8) -> bool| {
        usize::from(row.iter().fold(0u8, |sum, byte| sum.wrapping_add(u8::from(wanted(*byte)))))
    };
    let (mut ascii, mut others) = (0, 0);
    for row in text.as_bytes().chunks(255) {
        ascii += count(row, |byte| byte < 0x80);
        others += count(row, |byte| byte >= 0xC0);
    }
    ascii.div_ceil(3) + others
}

/// Most texts are far from filling the window and need no count: a token has at least two bytes (a character beyond
/// ASCII is one token of two bytes or more, three of ASCII are one).
fn surely_fits(text: &str, tokens: usize) -> bool {
    text.len() / 2 < tokens
}

/// The end of `text` that fits `tokens`, cut at a character boundary.
pub fn keep_end(text: &str, tokens: usize) -> &str {
    if surely_fits(text, tokens) {
        return text;
    }
    let mut thirds = 0usize;
    for (at, c) in text.char_indices().rev() {
        thirds += if c.is_ascii() { 1 } else { 3 };
        if thirds > tokens.saturating_mul(3) {
            return &text[at + c.len_utf8()..];
        }
    }
    text
}

/// The beginning of `text` that fits `tokens`, cut at a character boundary.
pub fn keep_start(text: &str, tokens: usize) -> &str {
    if surely_fits(text, tokens) {
        return text;
    }
    let mut thirds = 0usize;
    for (at, c) in text.char_indices() {
        thirds += if c.is_ascii() { 1 } else { 3 };
        if thirds > tokens.saturating_mul(3) {
            return &text[..at];
        }
    }
    text
}

/// Prefix and suffix cut to 93 % and 7 % of `tokens`, each from the end that is far from the cursor; the third value
/// is what both leave of the budget.
pub fn around_cursor<'a>(prefix: &'a str, suffix: &'a str, tokens: usize) -> (&'a str, &'a str, usize) {
    let for_prefix = tokens * PREFIX_SHARE / 100;
    let prefix = keep_end(prefix, for_prefix);
    let suffix = keep_start(suffix, tokens - for_prefix);
    let left = tokens.saturating_sub(estimate(prefix) + estimate(suffix));
    (prefix, suffix, left)
}

/// Which end of a text survives a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The beginning.
    Start,
    /// The end: logs, code above a cursor.
    End,
}

/// Cuts the longest of `texts`, again and again, until all fit `tokens` together; each with the end of it that survives.
pub fn shrink(texts: &mut [(&mut String, Keep)], tokens: usize) {
    if texts.iter().map(|(text, _)| text.len()).sum::<usize>() <= tokens {
        return;
    }
    let mut sizes: Vec<usize> = texts.iter().map(|(text, _)| estimate(text)).collect();
    while let Some(over) = sizes.iter().sum::<usize>().checked_sub(tokens).filter(|over| *over > 0) {
        let Some((longest, size)) = sizes.iter().copied().enumerate().max_by_key(|(_, size)| *size) else { return };
        if size == 0 {
            return;
        }
        // not below the next longest in one step, so that two long texts share the loss
        let next = sizes.iter().enumerate().filter(|(i, _)| *i != longest).map(|(_, s)| *s).max().unwrap_or(0);
        let target = size.saturating_sub(over).max(next.min(size / 2));
        let (text, keep) = &mut texts[longest];
        let cut = match keep {
            Keep::Start => keep_start(text, target).to_owned(),
            Keep::End => keep_end(text, target).to_owned(),
        };
        **text = cut;
        sizes[longest] = estimate(text).min(target);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_are_made_at_the_far_ends() {
        let (prefix, suffix, left) = around_cursor(&"a".repeat(1000), &"b".repeat(1000), 100).clone_out();
        assert_eq!((prefix.len(), suffix.len(), left), (279, 21, 0));
        assert_eq!(keep_end("xyzabc", 1), "abc");
        assert_eq!(keep_start("xyzabc", 1), "xyz");
        assert_eq!(keep_end("äöü", 2), "öü");
        assert_eq!(keep_start("äöü", 0), "");
    }

    trait CloneOut {
        fn clone_out(self) -> (String, String, usize);
    }
    impl CloneOut for (&str, &str, usize) {
        fn clone_out(self) -> (String, String, usize) {
            (self.0.to_owned(), self.1.to_owned(), self.2)
        }
    }

    #[test]
    fn the_longest_text_gives_way_first() {
        let (mut log, mut name) = ("l".repeat(3000), "name".to_owned());
        shrink(&mut [(&mut log, Keep::End), (&mut name, Keep::Start)], 100);
        assert_eq!(name, "name");
        assert!(estimate(&log) + estimate(&name) <= 100 && estimate(&log) > 90);
    }

    proptest! {
        #[test]
        fn cut_texts_fit_and_are_ends_of_the_whole(text in ".{0,200}", tokens in 0usize..60) {
            let (start, end) = (keep_start(&text, tokens), keep_end(&text, tokens));
            prop_assert!(text.starts_with(start) && text.ends_with(end));
            prop_assert!(estimate(start) <= tokens && estimate(end) <= tokens);
        }

        #[test]
        fn shrinking_always_ends_within_the_budget(
            texts in proptest::collection::vec(".{0,100}", 0..6), tokens in 0usize..80, end in any::<bool>(),
        ) {
            let mut texts = texts;
            let keep = if end { Keep::End } else { Keep::Start };
            shrink(&mut texts.iter_mut().map(|text| (text, keep)).collect::<Vec<_>>(), tokens);
            prop_assert!(texts.iter().map(|t| estimate(t)).sum::<usize>() <= tokens);
        }
    }
}
