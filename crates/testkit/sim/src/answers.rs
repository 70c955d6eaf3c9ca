//! The simulated model itself: what it answers to a conversation, whichever API carried it. Deterministic: the same
//! question to the same model gets the same answer, which names the model and a digest of the question.
//!
//! It recognises what it is asked by the shape of the prompt (a fill-in-the-middle form, the ReAct words, a request
//! for code), not by any one program's wording. It must not know HTTP or any API's JSON.

mod code;
mod cut;
mod recognise;

use recognise::{Tag, Task};
use sha2::{Digest, Sha256};

pub use cut::{Ending, Written, pieces, tokens};

/// Who says a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A conversation as a model sees it.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The model's id, which the answer names.
    pub model: String,
    /// The system text, blocks joined by a newline; empty when there is none.
    pub system: String,
    /// The turns.
    pub turns: Vec<(Role, String)>,
    /// Whether a last turn of the assistant is a prefill that the answer continues. Otherwise the model begins a turn
    /// of its own.
    pub continues: bool,
}

/// Limits of the answer.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// At most so many [`tokens`].
    pub max_tokens: Option<usize>,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
}

impl Question {
    /// The last thing the user said.
    pub fn last_user_text(&self) -> &str {
        self.turns.iter().rev().find(|(role, _)| *role == Role::User).map_or("", |(_, text)| text)
    }

    /// The text the answer must continue, if the last turn is the assistant's.
    pub fn prefill(&self) -> &str {
        match self.turns.last() {
            Some((Role::Assistant, text)) if self.continues => text,
            _ => "",
        }
    }

    /// How many tokens the whole conversation has.
    pub fn tokens(&self) -> usize {
        tokens(&self.system) + self.turns.iter().map(|(_, text)| tokens(text)).sum::<usize>()
    }
}

/// What the model writes, cut to the limits.
pub fn answer(question: &Question, limits: &Limits) -> Written {
    cut::cut(&full_answer(question), limits)
}

/// A given text, cut to the limits as an answer would be.
pub fn scripted(text: &str, limits: &Limits) -> Written {
    cut::cut(text, limits)
}

/// The first 8 hex digits of the SHA-256 of the question, blanks around it aside. Chat and free answers hold it in
/// brackets, so that a test can tell which question an answer belongs to. The question is the last paragraph of the
/// user's last message, whatever instructions or material a gateway puts in front of it.
pub fn digest(question: &str) -> String {
    let hash = Sha256::digest(question.trim().as_bytes());
    hex::encode(&hash[..4])
}

fn full_answer(question: &Question) -> String {
    let model = &question.model;
    let asked = recognise::core_question(question.last_user_text());
    match recognise::task(question) {
        Task::Fill { prefix, suffix } => with_habits(model, code::continuation(&prefix, &suffix, model)),
        Task::React { direct } => {
            let answer = react(question.prefill().trim_end(), direct, model, &asked);
            with_habits(model, answer)
        }
        Task::Generate { language, tagged } => {
            let code = code::generation(&language, question.last_user_text(), model);
            match tagged {
                Tag::Opened => format!("\n{code}\n</new_code>"),
                Tag::Wanted => format!("<new_code>\n{code}\n</new_code>"),
                // models fence code although they are told not to
                Tag::None => format!("```{language}\n{code}\n```"),
            }
        }
        Task::Mend => format!(
            "<analysis>\n{}\n</analysis>\n<fixed_code>\n# mended by {model}\n</fixed_code>",
            spoken(model, &asked)
        ),
        Task::Review => format!("<summary>{}</summary>\n<review>\n</review>", spoken(model, &asked)),
        Task::SayOk => "ok".to_owned(),
        Task::Talk => spoken(model, &asked),
    }
}

fn react(prefill: &str, direct: bool, model: &str, asked: &str) -> String {
    let answer = spoken(model, asked);
    if prefill.ends_with("Final Answer:") {
        return format!(" {answer}");
    }
    let action = if direct { "Action: DirectAnswer\n" } else { "" };
    let rest = format!(" {model} can answer this directly.\n{action}Final Answer: {answer}");
    if prefill.ends_with("Thought:") { rest } else { format!("Thought:{rest}") }
}

/// Mixtral escapes underscores as Markdown does, in code as well; whoever shows its answers must put them right.
fn with_habits(model: &str, text: String) -> String {
    if model.contains("mixtral") { text.replace('_', "\\_") } else { text }
}

/// The plain answer. The dash is on purpose: answers are not ASCII, and a byte boundary is no character boundary.
fn spoken(model: &str, asked: &str) -> String {
    let short: String = asked.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect();
    format!("This is {model} — you asked [{}]: {short}", digest(asked))
}

#[cfg(test)]
mod tests;
