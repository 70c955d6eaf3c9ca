//! Follows brackets, strings and comments through code, line by line, without a grammar.
//!
//! Where it errs (a regular expression with a lone bracket, say), it sees a bracket too many or too few, and its users
//! keep text that they could have cut.

use super::syntax::Syntax;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Code,
    /// Until this delimiter, or the end of the line.
    Short(char),
    /// Until this delimiter.
    Long(&'static str),
    /// Until a line that is this word.
    Heredoc(String),
}

/// Deeper nesting is not followed.
const DEEPEST: usize = 1000;

/// The scanner's state at the end of what it was fed.
#[derive(Debug)]
pub(in crate::postprocess) struct Scan {
    syntax: Syntax,
    state: State,
    heredoc: Option<String>,
    after_blank: bool,
    /// Closing brackets that are awaited.
    pub open: Vec<char>,
    /// Brackets were closed that had not been opened.
    pub unmatched: bool,
    /// A bracket closed another kind than was open: nothing that is seen can be trusted.
    pub broken: bool,
    /// The line ends in a comment.
    pub in_comment: bool,
    /// The last character of the line that is code and no blank.
    pub last: Option<char>,
}

impl Scan {
    pub fn new(syntax: Syntax) -> Self {
        Scan {
            syntax,
            state: State::Code,
            heredoc: None,
            after_blank: true,
            open: Vec::new(),
            unmatched: false,
            broken: false,
            in_comment: false,
            last: None,
        }
    }

    /// Whether the next character belongs to a string or comment that goes over lines.
    pub fn in_literal(&self) -> bool {
        self.state != State::Code
    }

    /// Takes a whole line or its first part, without the line end.
    pub fn feed(&mut self, line: &str) {
        if let State::Heredoc(tag) = &self.state {
            if line.trim() == tag {
                self.state = State::Code;
            }
            return;
        }
        let mut rest = if self.in_comment { "" } else { line };
        while let Some(c) = rest.chars().next() {
            let len = match &self.state {
                State::Short(quote) => self.inside(rest, c, c == *quote, 1),
                State::Long(end) => self.inside(rest, c, rest.starts_with(end), end.len()),
                State::Heredoc(_) => return,
                State::Code => match self.code(rest, c) {
                    Some(len) => len,
                    None => return,
                },
            };
            rest = &rest[len..];
        }
    }

    /// The line has ended.
    pub fn end_of_line(&mut self) {
        self.after_blank = true;
        self.in_comment = false;
        self.last = None;
        if matches!(self.state, State::Short(_)) {
            self.state = State::Code;
        }
        if let Some(tag) = self.heredoc.take()
            && self.state == State::Code
        {
            self.state = State::Heredoc(tag);
        }
    }

    /// Inside a literal: how far to go on.
    fn inside(&mut self, rest: &str, c: char, ends: bool, length: usize) -> usize {
        if ends {
            self.state = State::Code;
            self.last = Some(c);
            return length;
        }
        // an escaped character
        let escaped = if c == '\\' { rest[1..].chars().next().map_or(0, char::len_utf8) } else { 0 };
        c.len_utf8() + escaped
    }

    /// In code: how far to go on; `None` when the rest of the line is a comment.
    fn code(&mut self, rest: &str, c: char) -> Option<usize> {
        let after_blank = std::mem::replace(&mut self.after_blank, c.is_whitespace());
        // `$#` and `${#x}` are none
        if self.syntax.comments.iter().any(|mark| rest.starts_with(mark) && (c != '#' || after_blank)) {
            self.in_comment = true;
            return None;
        }
        if let Some((open, close)) = self.syntax.block_comment
            && rest.starts_with(open)
        {
            self.state = State::Long(close);
            return Some(open.len());
        }
        if let Some(quote) = self.syntax.long_strings.iter().find(|quote| rest.starts_with(**quote)) {
            self.state = State::Long(quote);
            return Some(quote.len());
        }
        match c {
            '"' => self.state = State::Short(c),
            '\'' if !self.syntax.lone_quotes => self.state = State::Short(c),
            '\'' => {
                // a character literal is closed at once
                let mut next = rest[1..].chars();
                let first = next.next();
                if first == Some('\\') || next.next() == Some('\'') {
                    self.state = State::Short(c);
                }
            }
            '(' => self.opens(')'),
            '[' => self.opens(']'),
            '{' => self.opens('}'),
            ')' | ']' | '}' => match self.open.pop() {
                Some(awaited) => self.broken |= awaited != c,
                None => self.unmatched = true,
            },
            '<' if self.syntax.heredocs && rest.starts_with("<<") => {
                let tag = rest[2..].trim_start_matches(['<', '-', '~', '\'', '"', '\\']);
                let end = tag.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(tag.len());
                if tag.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') {
                    self.heredoc = Some(tag[..end.min(64)].to_owned());
                }
                self.last = Some(c);
                return Some(2);
            }
            _ => {}
        }
        if !c.is_whitespace() {
            self.last = Some(c);
        }
        Some(c.len_utf8())
    }

    fn opens(&mut self, awaited: char) {
        if self.open.len() < DEEPEST {
            self.open.push(awaited);
        } else {
            self.broken = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(lang: &str, text: &str) -> Scan {
        let mut scan = Scan::new(Syntax::of(lang));
        for (at, line) in text.lines().enumerate() {
            if at > 0 {
                scan.end_of_line();
            }
            scan.feed(line);
        }
        scan
    }

    #[test]
    fn brackets_count_outside_of_strings_and_comments_only() {
        let table = [
            ("go", "f(a, \")\") {", "}"),
            ("go", "x := `\n)))\n` + f(", ")"),
            ("rust", "fn f<'a>(x: &'a str) { match c { '{' => (), '\\'' => [", "}}]"),
            ("rust", "let s = \"one\n two } \"; {", "}"),
            ("ruby", "x = <<~SQL\n  select (\nSQL\ny = [", "]"),
            ("python", "x = '''\n(((\n''' + f(", ")"),
            ("python", "# (((\n{ 'don\\'t (': [", "}]"),
            ("javascript", "/* { */ // {\n(", ")"),
            ("shell", "echo ${#x} \"$(", "}"),
            ("java", "it's (", ""),
        ];
        for (lang, text, open) in table {
            let scan = scan(lang, text);
            if lang == "shell" {
                assert!(scan.in_literal());
                continue;
            }
            assert_eq!(scan.open.iter().collect::<String>(), open, "{lang}: {text}");
            assert!(!scan.broken && !scan.unmatched, "{lang}: {text}");
        }
        assert!(scan("go", "}").unmatched);
        assert!(scan("go", "(}").broken);
    }
}
