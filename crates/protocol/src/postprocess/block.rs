//! Cuts a completion where it leaves the block that the cursor is in.
//!
//! Models go on writing: the rest of the function, its end, and then the next function. What belongs to the cursor ends
//! with the smallest block around it. No grammar is asked; brackets, indentation and the words that end blocks are
//! enough to see the end of well-formed code, and where they are not, nothing is cut:
//!
//! - The first line always stays. Only the beginning of a later line can be the place of the cut.
//! - The block is the statement that the cursor's line begins, when the completion opens a block on that line; else it
//!   is the lines that are indented at least as the cursor's.
//! - With brackets or end words, a line outside of the block is cut off only when the completion has closed the block.
//!   With indentation alone, the first line outside is cut off.
//! - The closing line itself stays, and so do further closing lines behind it and lines that go on with the statement
//!   (`else`, `catch`, a method call on the next line), unless the code behind the cursor closes that block already.
//! - Nothing is cut inside a bracket, string or comment that the completion has opened, when the cursor is inside a
//!   string or comment, when tabs and blanks are mixed, when brackets do not match, or in a language without a known
//!   shape (Markdown, SQL, HTML and others).

mod scan;
mod suffix;
mod syntax;

pub(super) use scan::Scan;
use suffix::Closers;
use syntax::begins_with;
pub(super) use syntax::{Layout, Syntax};

/// Longest line, and longest run of blank or comment lines, that waits to be judged; a longer one passes.
const MOST_HELD: usize = 16 * 1024;

/// The cut as a stream: what it passes on does not depend on where the pieces are cut.
#[derive(Debug)]
pub struct BlockCut(Option<Cut>);

impl BlockCut {
    /// For a completion in language `lang` between `above` and `below`.
    pub fn new(lang: &str, above: &str, below: &str) -> Self {
        BlockCut(Cut::new(Syntax::of(lang), above, below))
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        let Some(cut) = &mut self.0 else { return piece.to_owned() };
        let mut out = String::with_capacity(piece.len());
        let mut rest = piece;
        while let Some(end) = rest.find('\n') {
            cut.text(&rest[..end], &mut out);
            cut.line_end(&mut out);
            rest = &rest[end + 1..];
        }
        cut.text(rest, &mut out);
        out
    }

    /// The completion has ended.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if let Some(cut) = &mut self.0 {
            cut.judge(&mut out);
            cut.release(&mut out);
        }
        out
    }

    /// Whether the block has ended, so that nothing more will be passed on.
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_some_and(|cut| cut.over)
    }
}

/// A whole completion up to the end of its block.
pub fn within_block(text: &str, lang: &str, above: &str, below: &str) -> String {
    if !text.contains('\n') {
        // the first line always stays
        return text.to_owned();
    }
    let mut cut = BlockCut::new(lang, above, below);
    let mut out = cut.push(text);
    out.push_str(&cut.finish());
    out
}

#[derive(Debug)]
struct Cut {
    syntax: Syntax,
    layout: Layout,
    scan: Scan,
    closers: Closers,
    /// Brackets that the cursor's line has opened before the cursor.
    opened_before: usize,
    /// The cursor's line before the cursor, while the first line is read.
    head: Option<String>,
    /// Lines indented no more than this are outside; -1: none is. `None` until it is known.
    outside: Option<isize>,
    /// The completion opened a block on the cursor's line.
    statement: bool,
    /// The next line of code tells whether the cursor's line begins a block: by a deeper indentation (end words) or by
    /// an opening bracket on a line of its own.
    undecided: bool,
    closed: bool,
    /// Tabs or blanks, once a line was indented.
    indented_by: Option<char>,
    line: String,
    /// Line ends, blank lines and comments before the line.
    pending: String,
    trusted: bool,
    over: bool,
}

impl Cut {
    fn new(syntax: Syntax, above: &str, below: &str) -> Option<Self> {
        let layout = syntax.layout?;
        let head = above.rsplit('\n').next().unwrap_or_default();
        if inside_long_literal(&syntax, above) {
            return None;
        }
        let mut scan = Scan::new(syntax);
        scan.feed(head);
        if scan.in_literal() || scan.in_comment || scan.broken {
            return None;
        }
        scan.unmatched = false;
        Some(Cut {
            opened_before: scan.open.len(),
            closers: Closers::of(below),
            syntax,
            layout,
            scan,
            head: Some(head.to_owned()),
            outside: None,
            statement: false,
            undecided: false,
            closed: false,
            indented_by: head.chars().next().filter(|c| matches!(c, ' ' | '\t')),
            line: String::new(),
            pending: String::new(),
            trusted: true,
            over: false,
        })
    }

    fn text(&mut self, text: &str, out: &mut String) {
        if self.over || text.is_empty() {
            return;
        }
        self.line.push_str(text);
        if self.head.is_some() || !self.trusted {
            // needs no judgement
            out.push_str(&std::mem::take(&mut self.pending));
            out.push_str(text);
            self.trusted &= self.line.len() <= MOST_HELD;
        } else if self.line.len() > MOST_HELD {
            self.trusted = false;
            self.release(out);
        }
        if !self.trusted {
            self.line.clear();
        }
    }

    fn line_end(&mut self, out: &mut String) {
        if self.over {
            return;
        }
        self.judge(out);
        if !self.over {
            self.pending.push('\n');
            if self.pending.len() > MOST_HELD {
                self.trusted = false;
            }
            if !self.trusted {
                self.release(out);
            }
        }
    }

    /// Gives out what waits.
    fn release(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.pending));
        if self.head.is_none() {
            out.push_str(&std::mem::take(&mut self.line));
        }
    }

    /// The line is complete: passes it on, lets it wait, or ends the completion in front of it.
    fn judge(&mut self, out: &mut String) {
        if !self.trusted {
            return;
        }
        if let Some(head) = self.head.take() {
            let line = std::mem::take(&mut self.line);
            self.first_line(&head, &line);
            return;
        }
        let line = std::mem::take(&mut self.line);
        let waits = line.trim().is_empty() || self.syntax.is_comment(&line);
        if waits && !self.scan.in_literal() {
            self.scan.feed(&line);
            self.scan.end_of_line();
            self.pending.push_str(&line);
            return;
        }
        if !self.scan.in_literal() && self.is_outside(&line) {
            self.over = true;
            self.pending.clear();
            return;
        }
        self.scan.feed(&line);
        self.scan.end_of_line();
        self.trusted &= !self.scan.broken;
        out.push_str(&std::mem::take(&mut self.pending));
        out.push_str(&line);
    }

    fn first_line(&mut self, head: &str, line: &str) {
        self.scan.feed(line);
        let opens = match self.layout {
            Layout::Braces => !self.scan.open.is_empty(),
            Layout::Indent => self.scan.last == Some(':') && self.scan.open.is_empty(),
            Layout::Ends(_) => false,
        };
        self.scan.end_of_line();
        self.trusted &= !self.scan.broken;
        let whole = if head.trim().is_empty() { format!("{head}{line}") } else { head.to_owned() };
        if whole.trim().is_empty() {
            return;
        }
        let Some(own) = self.indent(&whole) else { return };
        self.statement = opens && !head.trim().is_empty();
        self.undecided = !self.statement && !head.trim().is_empty() && self.layout != Layout::Indent;
        self.outside = Some(if self.statement { own } else { own - 1 });
    }

    /// The first line of code behind the cursor's.
    fn second_line(&mut self, indent: isize, code: &str) {
        let (Some(outside), []) = (self.outside, self.scan.open.as_slice()) else { return };
        if !std::mem::take(&mut self.undecided) {
            return;
        }
        let own = outside + 1;
        self.statement = match self.layout {
            Layout::Braces => indent == own && code.starts_with('{'),
            _ => indent > own,
        };
        if self.statement {
            self.outside = Some(own);
        }
    }

    /// The indentation of a line in characters; a mixture of tabs and blanks ends all cutting.
    fn indent(&mut self, line: &str) -> Option<isize> {
        let (width, by) = indentation(line)?;
        match (self.indented_by, by) {
            (Some(known), Some(by)) if known != by => self.trusted = false,
            (None, Some(by)) => self.indented_by = Some(by),
            _ => {}
        }
        self.trusted.then_some(width)
    }

    /// Whether a line of code is outside of the block and is to be cut off. Notes what it closes.
    fn is_outside(&mut self, line: &str) -> bool {
        let Some(indent) = self.indent(line) else {
            self.trusted = false;
            return false;
        };
        let code = line.trim_start();
        self.second_line(indent, code);
        let closer = self.closer(code);
        let outside = *self.outside.get_or_insert(if closer.is_some() { indent } else { indent - 1 });
        if indent > outside {
            return false;
        }
        let depth = self.scan.open.len();
        let ends_by_bracket = self.layout == Layout::Braces && self.statement && depth == 0;
        // the bracket that opens the block is about to come
        self.closed |= self.scan.unmatched || ends_by_bracket && !code.starts_with('{');
        if depth > 0 {
            // a bracket of the cursor's line may be closed by the code behind the cursor already
            return depth <= self.opened_before && closer.is_some_and(|c| self.closers.close(indent, c));
        }
        if let Some(closer) = closer {
            self.closed = true;
            return self.closers.close(indent, closer);
        }
        if self.syntax.goes_on(code) {
            return false;
        }
        if let (Layout::Ends(_), false, Some(outside)) = (self.layout, self.closed, &mut self.outside)
            && std::mem::take(&mut self.statement)
        {
            // it had no end of its own: an end word at this indentation belongs to what comes now
            *outside -= 1;
        }
        self.closed || self.layout == Layout::Indent
    }

    /// What a line begins with, when it closes a block.
    fn closer<'a>(&self, code: &'a str) -> Option<&'a str> {
        if code.starts_with(['}', ')', ']']) {
            return Some(&code[..1]);
        }
        match self.layout {
            Layout::Ends(words) => words.iter().find(|word| begins_with(code, word)).map(|word| &code[..word.len()]),
            _ => None,
        }
    }
}

/// Width and kind of a line's indentation; `None` when it mixes tabs and blanks.
fn indentation(line: &str) -> Option<(isize, Option<char>)> {
    let blanks = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    let by = blanks.chars().next();
    by.is_none_or(|by| blanks.chars().all(|c| c == by)).then(|| (blanks.len().cast_signed(), by))
}

/// Whether the cursor behind `above` is in a comment or string that goes over lines.
fn inside_long_literal(syntax: &Syntax, above: &str) -> bool {
    let in_comment = syntax
        .block_comment
        .is_some_and(|(open, close)| above.rfind(open).is_some_and(|at| above.rfind(close).is_none_or(|end| end < at)));
    // a single quotation mark is too common to be counted
    let in_string = syntax
        .long_strings
        .iter()
        .any(|quote| (quote.len() > 1 || *quote == "`") && above.matches(quote).count() % 2 == 1);
    in_comment || in_string
}

#[cfg(test)]
mod tests;
