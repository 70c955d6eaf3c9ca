//! What an answer repeats of the code around the cursor.

use std::collections::HashMap;

use super::block::{Scan, Syntax};

/// As many lines in a row make a repeat of the code above; fewer are a coincidence or a pattern of the language.
const LARGE: usize = 5;
/// As much of the code above is compared.
const MOST_ABOVE: usize = 2000;

/// Words that close or divide blocks: they stand in many places, so a second one is no repeat.
const COMMON: [&str; 12] =
    ["end", "else", "pass", "return", "break", "continue", "fi", "done", "esac", "then", "do", "begin"];

/// The text up to where it repeats the first line behind the cursor, unless what stays would end inside a bracket or
/// string. A line that closes a block (`}`, `);`) counts as repeated only when the text closes more than it opens.
pub fn without_suffix_repeat<'a>(text: &'a str, lang: &str, suffix: &str) -> &'a str {
    let Some(line) = suffix.lines().find(|line| !line.trim().is_empty()) else { return text };
    let first = line.trim();
    let whole_line = suffix.starts_with(['\n', '\r']);
    if !first.chars().any(char::is_alphanumeric) {
        return match text.trim_end().strip_suffix(first) {
            Some(shorter) if closes_more_than_it_opens(text, lang) => shorter.trim_end_matches([' ', '\t']),
            _ => text,
        };
    }
    if COMMON.contains(&first) {
        return text;
    }
    let mut scan = Scan::new(Syntax::of(lang));
    let mut at = 0;
    for (number, piece) in text.split_inclusive('\n').enumerate() {
        // a line of its own must stand where the suffix has it; deeper inside it is another statement
        let same_place = number == 0 || !whole_line || indent(piece) == indent(line);
        if piece.trim() == first && same_place && !scan.in_literal() && scan.open.is_empty() {
            let keep = &text[..at];
            return if whole_line { keep.trim_end_matches(['\n', '\r']) } else { keep };
        }
        scan.feed(piece.trim_end_matches(['\n', '\r']));
        scan.end_of_line();
        at += piece.len();
    }
    // the rest of the cursor's own line, repeated at the end
    let shorter = text.trim_end().strip_suffix(first).filter(|_| !whole_line);
    // not in the middle of a word
    shorter.filter(|s| !s.ends_with(|c: char| c.is_alphanumeric() || c == '_')).unwrap_or(text)
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn closes_more_than_it_opens(text: &str, lang: &str) -> bool {
    let mut scan = Scan::new(Syntax::of(lang));
    for line in text.lines() {
        scan.feed(line);
        scan.end_of_line();
    }
    scan.unmatched || scan.broken
}

/// The text without the code of the cursor's line, when it begins with all of it once more. Lines of fewer than five
/// letters and digits may well be followed by the same again.
pub fn without_head_repeat<'a>(text: &'a str, above: &str) -> &'a str {
    let head = above.rsplit('\n').next().unwrap_or_default().trim();
    if head.chars().filter(|c| c.is_alphanumeric()).count() < 5 {
        return text;
    }
    match text.trim_start().strip_prefix(head) {
        // the blank that stands before the cursor already
        Some(rest) if above.ends_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        Some(rest) => rest,
        None => text,
    }
}

/// The text without runs of five lines or more that stand in the code above in the same order. Blank lines count for
/// nothing: they neither make a run nor end one.
pub fn without_large_repeats(text: &str, above: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.iter().filter(|line| !line.trim().is_empty()).count() < LARGE {
        return text.to_owned();
    }
    let known = filled(above.lines().rev().take(MOST_ABOVE).collect::<Vec<_>>().into_iter().rev());
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in known.iter().enumerate() {
        places.entry(line).or_default().push(at);
    }
    let own: Vec<(usize, &str)> =
        lines.iter().enumerate().map(|(at, line)| (at, line.trim())).filter(|(_, line)| !line.is_empty()).collect();
    let mut dropped = vec![false; lines.len()];
    let mut at = 0;
    while at < own.len() {
        // a line that stands in very many places says nothing
        let starts = places.get(own[at].1).map(Vec::as_slice).unwrap_or_default().iter().take(64);
        let run = starts.map(|start| same(&own[at..], &known[*start..])).max().unwrap_or(0);
        if run < LARGE {
            at += 1;
            continue;
        }
        let (first, last) = (own[at].0, own[at + run - 1].0);
        dropped[first..=last].fill(true);
        at += run;
    }
    lines.iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(line, _)| *line).collect()
}

/// Length of what both begin with.
fn same(own: &[(usize, &str)], known: &[&str]) -> usize {
    own.iter().zip(known).take_while(|((_, a), b)| a == *b).count()
}

fn filled<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The text without the last lines of the code above, when it begins with them. A single line counts when it has ten
/// letters or digits at least: shorter ones come twice in honest code.
pub fn without_reflection<'a>(text: &'a str, above: &str) -> &'a str {
    let mut known = filled(above.lines().rev().take(MOST_ABOVE));
    known.reverse();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let own: Vec<(usize, &str)> =
        lines.iter().enumerate().map(|(at, line)| (at, line.trim())).filter(|(_, line)| !line.is_empty()).collect();
    let most = own.len().min(known.len());
    let reflected = (1..=most).rev().find(|count| same(&own[..*count], &known[known.len() - count..]) == *count);
    let Some(count) = reflected else { return text };
    let words: usize = own[..count].iter().map(|(_, line)| line.chars().filter(|c| c.is_alphanumeric()).count()).sum();
    if words < 10 {
        return text;
    }
    let end: usize = lines[..=own[count - 1].0].iter().map(|line| line.len()).sum();
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_the_first_line_behind_the_cursor_is_cut() {
        let table = [
            // text, suffix, wanted
            ("a, b)", ")\n", "a, b"),
            ("foo(a)", ")\n", "foo(a)"),
            ("f(\")\"", ")\n", "f(\")\""),
            ("  x = 1\n  return total\n", "\n  return total\nend", "  x = 1"),
            ("x = 1\nreturn total\nmore", "return total", "x = 1\n"),
            ("if a {\n  b\n}", "\n}\n", "if a {\n  b\n}"),
            ("b\n}", "\n}\n", "b\n"),
            ("do\n x\nend", "\nend", "do\n x\nend"),
            ("name, age)", " age)", "name,"),
            ("return foo", "o\n", "return foo"),
            ("x", "", "x"),
            ("x", "\n\n  \n", "x"),
            // deeper, or inside a bracket, it is another statement
            ("if a {\n    return b\n  }", "\n  return b\n", "if a {\n    return b\n  }"),
            ("f({\n  a: 1,\n})", "\n  a: 1,\n", "f({\n  a: 1,\n})"),
        ];
        for (text, suffix, wanted) in table {
            let got = without_suffix_repeat(text, "javascript", suffix);
            assert_eq!(got.trim_end(), wanted.trim_end(), "{text:?} before {suffix:?}");
        }
    }

    #[test]
    fn the_cursors_line_is_not_written_twice() {
        let table = [
            ("return a", "def f():\n    return ", "a"),
            ("    return a", "def f():\n    return", " a"),
            ("foo(1)", "foo(", "foo(1)"),
            ("a", "return ", "a"),
            ("return a", "return\n", "return a"),
        ];
        for (text, above, wanted) in table {
            assert_eq!(without_head_repeat(text, above), wanted, "{text:?} behind {above:?}");
        }
    }

    #[test]
    fn five_lines_of_the_code_above_are_dropped_and_four_are_not() {
        let above = "import a\n\nimport b\nimport c\nx = 1\ny = 2\nz = 3\n";
        let table = [
            ("import a\nimport b\nimport c\nx = 1\ny = 2\nnew = 1\n", "new = 1\n"),
            ("new = 1\n  import b\n\nimport c\nx = 1\ny = 2\nz = 3\nmore\n", "new = 1\nmore\n"),
            ("import b\nimport c\nx = 1\ny = 2\nnew", "import b\nimport c\nx = 1\ny = 2\nnew"),
            ("import b\nimport a\nimport c\nx = 1\ny = 2", "import b\nimport a\nimport c\nx = 1\ny = 2"),
            ("a\nb\nc\nd\ne\nf", "a\nb\nc\nd\ne\nf"),
            ("", ""),
        ];
        for (text, wanted) in table {
            assert_eq!(without_large_repeats(text, above), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_last_lines_of_the_code_above_at_the_beginning_are_dropped() {
        let above = "x = 1\n# write a function that adds\n";
        let table = [
            ("# write a function that adds\ndef add", "def add"),
            ("x = 1\n# write a function that adds\ndef add", "def add"),
            ("x = 1\ndef add", "x = 1\ndef add"),
            ("def add\n# write a function that adds", "def add\n# write a function that adds"),
            ("", ""),
        ];
        for (text, wanted) in table {
            assert_eq!(without_reflection(text, above), wanted, "{text:?}");
        }
        assert_eq!(without_reflection("}\n}\n", "a\n}\n}"), "}\n}\n", "closing brackets come twice in honest code");
    }
}
