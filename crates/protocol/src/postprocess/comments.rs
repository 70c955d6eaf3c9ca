//! Completions that are comments and nothing else.

use super::block::Syntax;

/// Whether every line of a completion is a comment or blank although no comment is being written at the cursor: the
/// model talks about the code instead of writing it. `above` is the code above the cursor.
///
/// The cursor is in a comment when its line has begun one, or when the line before it is one (a comment over several
/// lines). Comments in the middle of code are no business of this step.
pub fn comment_only(text: &str, lang: &str, above: &str) -> bool {
    let syntax = Syntax::of(lang);
    let mut lines = above.rsplit('\n');
    let head = lines.next().unwrap_or_default();
    if !head.trim().is_empty() {
        // code and then a comment is a remark at the end of a line
        return false;
    }
    let before = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
    if syntax.is_comment(before) || open_comment(&syntax, above) {
        return false;
    }
    let mut inside: Option<&str> = None;
    let mut any = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        any = true;
        let mut rest = line;
        if let Some(close) = inside {
            let Some((_, behind)) = rest.split_once(close) else { continue };
            inside = None;
            rest = behind.trim();
            if rest.is_empty() {
                continue;
            }
        }
        if !syntax.is_comment(rest) {
            return false;
        }
        if let Some((open, close)) = syntax.block_comment
            && let Some(body) = rest.strip_prefix(open)
        {
            match body.split_once(close) {
                None => inside = Some(close),
                Some((_, behind)) if behind.trim().is_empty() => {}
                Some(_) => return false,
            }
        }
    }
    any
}

fn open_comment(syntax: &Syntax, above: &str) -> bool {
    syntax
        .block_comment
        .is_some_and(|(open, close)| above.rfind(open).is_some_and(|at| above.rfind(close).is_none_or(|end| end < at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comments_where_code_is_wanted() {
        let table = [
            ("# nothing to add\n# here", "ruby", "def a\n  ", true),
            ("// TODO: implement\n\n", "go", "func a() {\n\t", true),
            ("/* a\n b */\n// c", "java", "", true),
            ("/* never ends\nint a;", "java", "", true),
            ("/* a */ int b;", "java", "", false),
            ("# why\nx = 1", "python", "", false),
            (" the second half", "ruby", "# the first", false),
            ("# second line", "ruby", "# first line\n", false),
            (" * @param a", "java", "/**\n * Adds.\n", false),
            (" # why", "python", "x = 1", false),
            ("#!/bin/sh", "shell", "", false),
            ("#include <a.h>", "c", "", false),
            ("# A heading", "markdown", "", false),
            ("- item", "yaml", "", false),
            ("", "ruby", "", false),
            ("\n \n", "ruby", "", false),
        ];
        for (text, lang, above, wanted) in table {
            assert_eq!(comment_only(text, lang, above), wanted, "{lang}: {text:?} behind {above:?}");
        }
    }
}
