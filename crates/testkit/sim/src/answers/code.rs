//! Plausible code: the rest of what a person began, or something new. It compiles often enough to look right.

/// The code that goes between `prefix` and `suffix`. The last line of code above decides: an opened function gets a
/// body, anything else a statement. Indentation that is typed already is not written again, and a block that the
/// suffix closes is left open.
pub(super) fn continuation(prefix: &str, suffix: &str, model: &str) -> String {
    let (above, typed) = match prefix.rsplit_once('\n') {
        Some((above, current)) if current.trim().is_empty() => (above, Some(current)),
        _ if prefix.trim().is_empty() => ("", Some(prefix)),
        _ => (prefix, None),
    };
    let line = above.trim_end().lines().next_back().unwrap_or("");
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let code = line.trim();
    let style = Style::of(code, prefix);
    let closed = style.closer().is_some_and(|closer| suffix.trim_start().starts_with(closer));
    let text = match style.function_name(code) {
        Some(name) => {
            let body = style.body(&name, &indent, model, closed);
            if typed.is_some() { body } else { format!("{}\n{body}", style.opening(code)) }
        }
        None if typed.is_some() => format!("{indent}{}", style.statement(&format!("completed by {model}"))),
        None => style.statement(&format!("completed by {model}")),
    };
    match typed {
        Some(blanks) => text.strip_prefix(blanks).unwrap_or_else(|| text.trim_start()).to_owned(),
        None => text,
    }
}

/// New code for an instruction.
pub(super) fn generation(language: &str, instruction: &str, model: &str) -> String {
    let style = Style::named(language);
    let name = if instruction.to_lowercase().contains("hello") { "hello_world" } else { "generated" };
    let head = style.head(name);
    format!("{head}\n{}", style.body(name, "", model, false))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Python,
    Ruby,
    Rust,
    Go,
    Braces,
}

impl Style {
    fn named(language: &str) -> Self {
        match language {
            "ruby" => Self::Ruby,
            "rust" => Self::Rust,
            "go" => Self::Go,
            "python" => Self::Python,
            _ => Self::Braces,
        }
    }

    fn of(line: &str, prefix: &str) -> Self {
        if line.starts_with("def ") {
            if line.ends_with(':') || line.contains("->") || prefix.contains("import ") || line.ends_with("):") {
                return Self::Python;
            }
            // `def hello_world` is Ruby when the file looks like it, and Python cut off before the parenthesis else
            return if line.ends_with(')') && !prefix.contains("require ") || line.ends_with('(') {
                Self::Python
            } else {
                Self::Ruby
            };
        }
        match line {
            _ if line.contains("fn ") => Self::Rust,
            _ if line.starts_with("func ") => Self::Go,
            _ if line.contains("function ") || line.ends_with('{') || line.ends_with(';') => Self::Braces,
            _ => Self::Python,
        }
    }

    fn function_name(self, line: &str) -> Option<String> {
        let keyword = match self {
            Self::Python | Self::Ruby => "def ",
            Self::Rust => "fn ",
            Self::Go => "func ",
            Self::Braces => "function ",
        };
        let (_, rest) = line.split_once(keyword)?;
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (!name.is_empty()).then_some(name)
    }

    /// What the person had not typed yet of the line that opens the function.
    fn opening(self, line: &str) -> &'static str {
        match self {
            Self::Python if line.ends_with(':') => "",
            Self::Python if line.ends_with(')') => ":",
            Self::Python if line.ends_with('(') => "):",
            Self::Ruby => "",
            _ if line.ends_with('{') => "",
            _ if line.ends_with('(') => ") {",
            _ if line.ends_with(')') => " {",
            _ => "() {",
        }
    }

    fn head(self, name: &str) -> String {
        match self {
            Self::Python => format!("def {name}():"),
            Self::Ruby => format!("def {name}"),
            Self::Rust => format!("fn {name}() {{"),
            Self::Go => format!("func {name}() {{"),
            Self::Braces => format!("function {name}() {{"),
        }
    }

    /// The body of a function whose first line stands at `indent`; `closed` when its last line is there already.
    fn body(self, name: &str, indent: &str, model: &str, closed: bool) -> String {
        let said =
            if name == "hello_world" { format!("Hello, World! ({model})") } else { format!("{name} by {model}") };
        let step = match self {
            Self::Ruby => "  ",
            Self::Go => "\t",
            Self::Python | Self::Rust | Self::Braces => "    ",
        };
        let body = format!("{indent}{step}{}", self.statement(&said));
        match self.closer() {
            Some(closer) if !closed => format!("{body}\n{indent}{closer}"),
            _ => body,
        }
    }

    /// What ends a block, if anything does.
    fn closer(self) -> Option<&'static str> {
        match self {
            Self::Python => None,
            Self::Ruby => Some("end"),
            Self::Rust | Self::Go | Self::Braces => Some("}"),
        }
    }

    fn statement(self, said: &str) -> String {
        match self {
            Self::Python => format!("print(\"{said}\")"),
            Self::Ruby => format!("puts \"{said}\""),
            Self::Rust => format!("println!(\"{said}\");"),
            Self::Go => format!("fmt.Println(\"{said}\")"),
            Self::Braces => format!("console.log(\"{said}\");"),
        }
    }
}
