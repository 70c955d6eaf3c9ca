//! What is known of a language's shape: as much as block ends and comments need, no grammar.

/// How blocks are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postprocess) enum Layout {
    /// Brackets.
    Braces,
    /// Indentation alone.
    Indent,
    /// A word at the indentation of the line that opened the block.
    Ends(&'static [&'static str]),
}

/// A language.
#[derive(Debug, Clone, Copy)]
pub(in crate::postprocess) struct Syntax {
    /// `None`: blocks of this language are not told apart.
    pub layout: Option<Layout>,
    /// Begin a comment that ends with the line.
    pub comments: &'static [&'static str],
    /// Begin and end a comment over lines.
    pub block_comment: Option<(&'static str, &'static str)>,
    /// Strings that go over lines; they are never cut.
    pub long_strings: &'static [&'static str],
    /// `<<TAG` strings.
    pub heredocs: bool,
    /// `'` may stand alone (lifetimes).
    pub lone_quotes: bool,
    /// `#` at the start of a line is for the preprocessor.
    pub preprocessor: bool,
    /// Lines that begin so go on with what the closed block belongs to.
    pub goes_on: &'static [&'static str],
}

const C_COMMENT: Option<(&str, &str)> = Some(("/*", "*/"));
const BRACES: Syntax = Syntax {
    layout: Some(Layout::Braces),
    comments: &["//"],
    block_comment: C_COMMENT,
    long_strings: &[],
    heredocs: false,
    lone_quotes: false,
    preprocessor: false,
    goes_on: &[
        "else",
        "elseif",
        "catch",
        "finally",
        "case",
        "default",
        "while",
        "where",
        "and",
        "or",
        "public:",
        "private:",
        "protected:",
        ".",
        "?",
        ":",
        "&&",
        "||",
        "|",
        "+",
        "-",
        "*",
        "=",
        "->",
        ",",
        "{",
    ],
};
const ENDS: Syntax = Syntax {
    layout: Some(Layout::Ends(&["end"])),
    comments: &["#"],
    block_comment: None,
    goes_on: &[
        "else", "elsif", "elseif", "rescue", "ensure", "catch", "after", "finally", "when", "in", "then", "do", "and",
        "or", ".", "&", "|", "?", ":", "+", "-",
    ],
    ..BRACES
};
const INDENT: Syntax =
    Syntax { layout: Some(Layout::Indent), comments: &["#"], block_comment: None, goes_on: &[], ..BRACES };
const NONE: Syntax = Syntax { layout: None, comments: &[], block_comment: None, goes_on: &[], ..BRACES };

impl Syntax {
    /// The language of that name; see [`crate::language`]. One that is not known has neither blocks nor comments.
    pub fn of(lang: &str) -> Self {
        match lang {
            "c" | "c++" | "objective-c" | "c#" => Syntax { preprocessor: true, ..BRACES },
            "dart" | "java" | "groovy" | "kotlin" | "scala" | "swift" => Syntax { long_strings: &["\"\"\""], ..BRACES },
            "css" => Syntax { comments: &[], goes_on: &[], ..BRACES },
            "json" => BRACES,
            "go" | "javascript" | "typescript" => Syntax { long_strings: &["`"], ..BRACES },
            "rust" => Syntax { long_strings: &["\""], lone_quotes: true, ..BRACES },
            "zig" => Syntax { block_comment: None, ..BRACES },
            "php" => Syntax { comments: &["//", "# "], long_strings: &["\""], heredocs: true, ..BRACES },
            "perl" | "r" => {
                Syntax { comments: &["#"], block_comment: None, long_strings: &["\""], heredocs: true, ..BRACES }
            }
            "powershell" => Syntax { comments: &["#"], block_comment: Some(("<#", "#>")), ..BRACES },
            "terraform" => Syntax { comments: &["#", "//"], heredocs: true, ..BRACES },
            "python" => Syntax {
                long_strings: &["\"\"\"", "'''"],
                goes_on: &["else", "elif", "except", "finally", "case"],
                ..INDENT
            },
            "yaml" => Syntax { lone_quotes: true, ..INDENT },
            "ruby" => Syntax { long_strings: &["\""], heredocs: true, ..ENDS },
            "elixir" | "julia" => Syntax { long_strings: &["\"\"\""], ..ENDS },
            "lua" => Syntax { layout: Some(Layout::Ends(&["end", "until"])), comments: &["--"], ..ENDS },
            "shell" => Syntax {
                layout: Some(Layout::Ends(&["fi", "done", "esac", ";;"])),
                long_strings: &["\"", "'"],
                heredocs: true,
                goes_on: &["else", "elif", "then", "do", "|", "&&", "||"],
                ..ENDS
            },
            "clojure" => Syntax { comments: &[";"], ..NONE },
            "dockerfile" => Syntax { comments: &["#"], ..NONE },
            "erlang" => Syntax { comments: &["%"], ..NONE },
            "haskell" => Syntax { comments: &["--"], block_comment: Some(("{-", "-}")), ..NONE },
            "html" | "xml" | "vue" | "svelte" => Syntax { block_comment: Some(("<!--", "-->")), ..NONE },
            "sql" => Syntax { comments: &["--"], block_comment: C_COMMENT, ..NONE },
            "systemverilog" => Syntax { comments: &["//"], block_comment: C_COMMENT, ..NONE },
            _ => NONE,
        }
    }

    /// Whether a line is a comment and nothing else, as far as one line tells.
    pub fn is_comment(&self, line: &str) -> bool {
        let line = line.trim_start();
        let script = line.starts_with("#!");
        self.comments.iter().any(|mark| line.starts_with(mark) && !script)
            || self.block_comment.is_some_and(|(open, _)| line.starts_with(open))
    }

    /// Whether a line goes on with what the block before it belongs to.
    pub fn goes_on(&self, line: &str) -> bool {
        let line = line.trim_start();
        self.preprocessor && line.starts_with('#') || self.goes_on.iter().any(|word| begins_with(line, word))
    }
}

/// Whether `line` begins with `word` as a word of its own, if it is one.
pub(super) fn begins_with(line: &str, word: &str) -> bool {
    let letters = word.ends_with(|c: char| c.is_alphanumeric());
    line.strip_prefix(word).is_some_and(|rest| !letters || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}
