//! The template format and its renderer.
//!
//! A file has header lines `key: value`, then messages, each begun by a line `--- system`, `--- user` or
//! `--- assistant`. In a message `{name}` is replaced by the input of that name (nothing when absent), and
//! `{?name}…{/name}` stands only when that input is not blank. Names are lower-case letters and `_`; any other brace is
//! itself. Sections may hold placeholders and other sections.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::contract::{Map, Value};
use crate::model::{ChatMessage, Role};

/// What a template file got wrong; only ever seen by its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A header line is no `key: value`, or a value does not parse.
    #[error("header line {0:?} is not understood")]
    Header(String),
    /// No message, or one of an unknown role.
    #[error("message head {0:?} is not understood")]
    Message(String),
    /// A section is not closed, or closed without being open.
    #[error("section {0:?} is not closed or not open")]
    Section(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Input(String),
    Section(String, Vec<Part>),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The header.
    pub header: BTreeMap<String, String>,
    messages: Vec<(Role, Vec<Part>)>,
}

/// The inputs as texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// No inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The inputs of a body: texts as they are, lists line by line, objects as JSON, null as absent.
    pub fn from_json(inputs: &Map) -> Self {
        let mut values = Self::new();
        for (name, value) in inputs.iter() {
            match as_text(value) {
                Some(text) => drop(values.set(name, text)),
                // of a name that comes twice the last one counts
                None => drop(values.0.remove(name)),
            }
        }
        values
    }

    /// Sets an input.
    pub fn set(&mut self, name: &str, text: impl Into<String>) -> &mut Self {
        self.0.insert(name.to_owned(), text.into());
        self
    }

    /// Whether an input is there and not blank.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|text| !text.trim().is_empty())
    }

    /// All inputs, to cut them to a budget.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = (&str, &mut String)> {
        self.0.iter_mut().map(|(name, text)| (name.as_str(), text))
    }

    /// All inputs but the blank ones, each between tags of its name.
    pub fn blocks(&self) -> String {
        let plain = |name: &str| -> String {
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect()
        };
        let filled = self.0.iter().filter(|(_, text)| !text.trim().is_empty());
        filled.map(|(name, text)| format!("<{0}>\n{1}\n</{0}>\n", plain(name), text.trim())).collect()
    }

    /// Keeps only the inputs that `template` uses: others must cost no budget.
    pub fn retain_used(&mut self, template: &Template) {
        let used = template.inputs();
        self.0.retain(|name, _| used.contains(&name.as_str()));
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(as_text).collect::<Vec<_>>().join("\n")),
        other => Some(serde_json::Value::from(other).to_string()),
    }
}

impl Template {
    /// Parses a file.
    ///
    /// # Errors
    /// [`TemplateError`] names the line.
    pub fn parse(file: &str) -> Result<Self, TemplateError> {
        let mut header = BTreeMap::new();
        let mut bodies: Vec<(Role, String)> = Vec::new();
        for line in file.lines() {
            if let Some(role) = line.strip_prefix("--- ") {
                let role = match role.trim() {
                    "system" => Role::System,
                    "user" => Role::User,
                    "assistant" => Role::Assistant,
                    _ => return Err(TemplateError::Message(line.into())),
                };
                bodies.push((role, String::new()));
            } else if let Some((_, body)) = bodies.last_mut() {
                body.push_str(line);
                body.push('\n');
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let (key, value) = line.split_once(':').ok_or_else(|| TemplateError::Header(line.into()))?;
                header.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        if bodies.is_empty() {
            return Err(TemplateError::Message("none".into()));
        }
        let messages = bodies.iter().map(|(role, body)| Ok((*role, parts(body.trim())?))).collect::<Result<_, _>>()?;
        Ok(Template { header, messages })
    }

    /// The names of the inputs it uses, each once.
    pub fn inputs(&self) -> Vec<&str> {
        fn gather<'a>(parts: &'a [Part], out: &mut Vec<&'a str>) {
            for part in parts {
                let name = match part {
                    Part::Text(_) => continue,
                    Part::Input(name) => name,
                    Part::Section(name, inner) => {
                        gather(inner, out);
                        name
                    }
                };
                if !out.contains(&name.as_str()) {
                    out.push(name);
                }
            }
        }
        let mut out = Vec::new();
        for (_, parts) in &self.messages {
            gather(parts, &mut out);
        }
        out
    }

    /// How often the text of an input is put in.
    pub fn uses(&self, input: &str) -> usize {
        fn count(parts: &[Part], input: &str) -> usize {
            let one = |part: &Part| match part {
                Part::Text(_) => 0,
                Part::Input(name) => usize::from(name == input),
                Part::Section(_, inner) => count(inner, input),
            };
            parts.iter().map(one).sum()
        }
        self.messages.iter().map(|(_, parts)| count(parts, input)).sum()
    }

    /// The messages with the inputs in place; messages that come out blank are left out.
    pub fn render(&self, values: &Values) -> Vec<ChatMessage> {
        self.messages
            .iter()
            .map(|(role, parts)| {
                let mut text = String::new();
                fill(parts, values, &mut text);
                ChatMessage::new(*role, without_gaps(&text))
            })
            .filter(|message| !message.content.is_empty())
            .collect()
    }
}

fn fill(parts: &[Part], values: &Values, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Input(name) => out.push_str(values.0.get(name).map(String::as_str).unwrap_or_default()),
            Part::Section(name, inner) if values.has(name) => fill(inner, values, out),
            Part::Section(..) => {}
        }
    }
}

/// Blank ends go; inputs keep their inner blank lines, so nothing else is touched.
fn without_gaps(text: &str) -> Cow<'_, str> {
    text.trim().into()
}

fn parts(body: &str) -> Result<Vec<Part>, TemplateError> {
    let mut stack: Vec<(String, Vec<Part>)> = vec![(String::new(), Vec::new())];
    let mut rest = body;
    // whether `rest` begins a line
    let mut line_starts = true;
    while let Some(open) = rest.find('{') {
        let at_line_start = rest[..open].ends_with('\n') || (open == 0 && line_starts);
        push(&mut stack, Part::Text(rest[..open].to_owned()));
        line_starts = false;
        let tail = &rest[open + 1..];
        let (kind, tail_name) = match tail.chars().next() {
            Some(c @ ('?' | '/')) => (c, &tail[1..]),
            _ => (' ', tail),
        };
        let name_len = tail_name.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(tail_name.len());
        if name_len == 0 || !tail_name[name_len..].starts_with('}') {
            push(&mut stack, Part::Text("{".into()));
            rest = tail;
            continue;
        }
        let name = tail_name[..name_len].to_owned();
        rest = &tail_name[name_len + 1..];
        match kind {
            '?' => stack.push((name, Vec::new())),
            '/' => {
                let (opened, inner) = stack.pop().unwrap_or_default();
                if opened != name || stack.is_empty() {
                    return Err(TemplateError::Section(name));
                }
                push(&mut stack, Part::Section(name, inner));
            }
            _ => push(&mut stack, Part::Input(name)),
        }
        // a section mark on a line of its own leaves no blank line behind
        if at_line_start
            && kind != ' '
            && let Some(next_line) = rest.strip_prefix('\n')
        {
            rest = next_line;
            line_starts = true;
        }
    }
    push(&mut stack, Part::Text(rest.to_owned()));
    match stack.pop() {
        Some((name, parts)) if stack.is_empty() && name.is_empty() => Ok(parts),
        Some((name, _)) => Err(TemplateError::Section(name)),
        None => Ok(Vec::new()),
    }
}

fn push(stack: &mut [(String, Vec<Part>)], part: Part) {
    if part == Part::Text(String::new()) {
        return;
    }
    if let Some((_, parts)) = stack.last_mut() {
        parts.push(part);
    }
}

crate::opaque::opaque_debug!(Values);

#[cfg(test)]
mod tests {
    use super::*;

    fn render(body: &str, values: &[(&str, &str)]) -> String {
        let template = Template::parse(&format!("version: 1.0.0\n--- user\n{body}")).unwrap();
        let mut all = Values::new();
        for (name, text) in values {
            all.set(name, *text);
        }
        template.render(&all).first().map(|m| m.content.clone()).unwrap_or_default()
    }

    #[test]
    fn placeholders_sections_and_plain_braces() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let table: [Case<'_>; 9] = [
            ("a {x} b", &[("x", "1")], "a 1 b"),
            ("a {x} b", &[], "a  b"),
            ("{?x}has {x}\n{/x}end", &[("x", "1")], "has 1\nend"),
            ("a\n{?x}\nb\n{/x}\n{?y}\nc\n{/y}\nd", &[("x", "1")], "a\nb\nd"),
            ("a{?x} b{/x}\n\nc", &[("x", "1")], "a b\n\nc"),
            ("{?x}has {x}\n{/x}end", &[("x", " ")], "end"),
            ("fn main() { {} {X} {x1} }", &[], "fn main() { {} {X} {x1} }"),
            ("{?a}A{?b}B{/b}{/a}", &[("a", "1"), ("b", "1")], "AB"),
            ("{x}", &[("x", "  \n")], ""),
        ];
        for (body, values, wanted) in table {
            assert_eq!(render(body, values), wanted, "{body}");
        }
    }

    #[test]
    fn what_an_input_holds_is_never_interpreted() {
        assert_eq!(render("{x}", &[("x", "{y} {?y}{/y} --- system"), ("y", "secret")]), "{y} {?y}{/y} --- system");
    }

    #[test]
    fn broken_files_are_told_apart() {
        let table = [
            ("--- user\n{?a}x", TemplateError::Section("a".into())),
            ("--- user\n{/a}x", TemplateError::Section("a".into())),
            ("--- robot\nx", TemplateError::Message("--- robot".into())),
            ("version 1\n--- user\nx", TemplateError::Header("version 1".into())),
            ("version: 1", TemplateError::Message("none".into())),
        ];
        for (file, wanted) in table {
            assert_eq!(Template::parse(file), Err(wanted), "{file}");
        }
    }
}
