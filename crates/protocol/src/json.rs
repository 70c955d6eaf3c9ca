//! JSON written straight into bytes, for the bodies that carry prompts: a tree of values in between would copy each text
//! once more, and serde_json looks at a text byte by byte where eight at a time can be looked at.

use serde::Serialize;

/// Appends `text` as a JSON string, exactly as serde_json writes it.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_start(rest));
        out.extend_from_slice(plain);
        let Some((&special, tail)) = tail.split_first() else { break };
        match special {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |half: u8| b"0123456789abcdef".get(usize::from(half)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
        rest = tail;
    }
    out.push(b'"');
}

/// How many bytes at the start need no escape: none is a control character, a quote or a backslash.
fn plain_start(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES * 0x80;
    // the lowest set bit is that of the first byte that is zero; bits above it may be wrong
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = controls | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    at + rest.iter().take_while(|byte| plain(byte)).count()
}

/// A JSON object that is being written.
pub(crate) struct Object {
    out: Vec<u8>,
}

impl Object {
    /// With room for `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self { out }
    }

    /// The place where the value of `name` is to be written. Names are ours and need no escape.
    pub(crate) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        &mut self.out
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        write_text(self.field(name), text);
    }

    pub(crate) fn value(&mut self, name: &str, value: impl Serialize) {
        // numbers, flags and short texts of ours: always written
        if serde_json::to_writer(self.field(name), &value).is_err() {
            self.out.extend_from_slice(b"null");
        }
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_letter_at_every_place_is_written_as_serde_json_writes_it() {
        let letters = (0..0x120u32).filter_map(char::from_u32).chain(['€', '😀', '\u{2028}', '\u{ffff}']);
        for letter in letters {
            for before in 0..18 {
                let text = format!("{}{letter}{}", "x".repeat(before), "é".repeat(before % 5));
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap(), "{letter:?} after {before}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_writes_it(text in "[\\x00-\\x7f]{0,40}|\\PC{0,40}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
