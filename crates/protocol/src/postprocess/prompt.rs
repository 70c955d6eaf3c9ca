//! Answers of named prompts, by what the prompt says its answer is.

use super::{AtCursor, CompletionStream, GenerationStream, ProseStream, reader};
use crate::family::Family;
use crate::prompts::AnswerForm;

/// Answers that are looked at as a whole are held up to this many bytes; a longer one is none of them and passes as it
/// is.
const MOST_HELD: usize = 64 * 1024;

/// A whole answer. The same as all pieces of a [`PromptStream`].
pub fn prompt_answer(text: &str, form: AnswerForm, family: Family) -> String {
    let mut stream = PromptStream::new(form, family);
    let mut out = stream.push(text);
    out.push_str(&stream.finish());
    out
}

/// An answer in pieces. Prose and code pass as they come; messages, lines and a reader's JSON, short as they are, are
/// given out at the end.
#[derive(Debug)]
pub struct PromptStream {
    filter: Filter,
    whole: Option<fn(&str) -> String>,
    held: String,
}

#[derive(Debug)]
enum Filter {
    Prose(ProseStream),
    Completion(Box<CompletionStream>),
    Generation(Box<GenerationStream>),
}

impl PromptStream {
    /// A filter at the start of an answer.
    pub fn new(form: AnswerForm, family: Family) -> Self {
        let filter = match form {
            AnswerForm::Completion => Filter::Completion(Box::new(CompletionStream::new(&AtCursor {
                family,
                lang: "",
                above: "",
                below: "",
            }))),
            AnswerForm::Generation => Filter::Generation(Box::new(GenerationStream::new(family, ""))),
            _ => Filter::Prose(ProseStream::new(family)),
        };
        let whole: Option<fn(&str) -> String> = match form {
            AnswerForm::Message => Some(message),
            AnswerForm::Line => Some(line),
            AnswerForm::Reader => Some(reader),
            AnswerForm::Prose | AnswerForm::Completion | AnswerForm::Generation => None,
        };
        PromptStream { filter, whole, held: String::new() }
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        let piece = match &mut self.filter {
            Filter::Prose(filter) => filter.push(piece),
            Filter::Completion(filter) => filter.push(piece),
            Filter::Generation(filter) => filter.push(piece),
        };
        if self.whole.is_none() {
            return piece;
        }
        self.held.push_str(&piece);
        if self.held.len() > MOST_HELD {
            self.whole = None;
            return std::mem::take(&mut self.held);
        }
        String::new()
    }

    /// The answer has ended.
    pub fn finish(&mut self) -> String {
        let rest = match &mut self.filter {
            Filter::Prose(filter) => filter.finish(),
            Filter::Completion(filter) => filter.finish(),
            Filter::Generation(filter) => filter.finish(),
        };
        match self.whole {
            None => rest,
            Some(whole) => {
                self.held.push_str(&rest);
                whole(&std::mem::take(&mut self.held))
            }
        }
    }

    /// Whether nothing more will be passed on, so that the model can be stopped.
    pub fn is_closed(&self) -> bool {
        match &self.filter {
            Filter::Prose(_) => false,
            Filter::Completion(filter) => filter.is_closed(),
            Filter::Generation(filter) => filter.is_closed(),
        }
    }
}

/// The text inside of a fence that stands around the whole; blank ends go.
fn message(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")).and_then(|rest| {
        let (_, body) = rest.split_once('\n')?;
        (!body.contains("```")).then_some(body)
    });
    inner.unwrap_or(text).trim().to_owned()
}

/// The first line with a letter or digit, without Markdown's marks and quotation marks around it.
fn line(text: &str) -> String {
    let first = text.lines().find(|line| line.chars().any(char::is_alphanumeric)).unwrap_or_default();
    let around = |c: char| c.is_whitespace() || matches!(c, '#' | '*' | '`' | '"' | '“' | '”' | '„' | '\'');
    first.trim_matches(around).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_answer() {
        let table = [
            (AnswerForm::Prose, "\n```\nx\n```", "```\nx\n```"),
            (AnswerForm::Message, "```text\nFix the login\n\nWhy.\n```\n", "Fix the login\n\nWhy."),
            (AnswerForm::Message, "Run ```a``` first", "Run ```a``` first"),
            (AnswerForm::Message, "```\na\n```\nand\n```\nb\n```", "```\na\n```\nand\n```\nb\n```"),
            (AnswerForm::Line, "\n# \"Fix the login\"\n\nIt is …", "Fix the login"),
            (AnswerForm::Line, "**review**", "review"),
            (AnswerForm::Line, "", ""),
            (AnswerForm::Completion, "```ruby\nx\n```", "x\n"),
            (AnswerForm::Generation, "<new_code>\nx\n</new_code>", "x\n"),
        ];
        for (form, text, wanted) in table {
            assert_eq!(prompt_answer(text, form, Family::Claude3), wanted, "{form:?} {text:?}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_to_hold_passes_as_it_is() {
        let mut stream = PromptStream::new(AnswerForm::Line, Family::Claude3);
        let piece = "word ".repeat(1000);
        let out: usize = (0..40).map(|_| stream.push(&piece).len()).sum();
        assert_eq!(out + stream.finish().len(), 40 * 5000);
    }
}
