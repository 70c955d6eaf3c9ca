//! A turn of Duo Chat.

use super::prompt::room;
use crate::budget::{Keep, estimate, shrink};
use crate::capability::Capability;
use crate::contract::{AgentBody, AgentMessage, AgentStep};
use crate::families::chat;
use crate::family::Family;
use crate::model::{ChatMessage, ModelRequest, Role};
use crate::prompts::{Values, internal};
use crate::react::{OBSERVATION, Tool};

/// What a turn depends on besides its body.
#[derive(Debug, Clone, Copy)]
pub struct ChatTurn<'a> {
    /// The model's family.
    pub family: Family,
    /// What the model takes: whether the thought can be begun for it.
    pub capability: &'a Capability,
    /// The tools offered; see [`crate::react::offered`].
    pub tools: &'a [&'static Tool],
    /// `2026-11-23`, from the caller's clock.
    pub current_date: &'a str,
}

/// The request of a turn: instructions and tools, the conversation with what the user looks at, then each tool call so
/// far as a pair of turns (the model's words, the observation as the user's), and where the model continues a
/// prefill, the beginning of its thought. Too long a conversation loses its oldest messages, then attachments and
/// observations their ends.
pub fn chat_agent_request(body: &AgentBody, turn: &ChatTurn<'_>) -> ModelRequest {
    let params = chat(turn.family);
    let system = system(body, turn);
    let steps = body.steps();
    let mut conversation: Vec<Draft> = body.messages.iter().filter_map(draft).collect();
    let mut current: Vec<ChatMessage> = steps.iter().flat_map(step).collect();

    let tokens = room(turn.family, params.max_tokens)
        .saturating_sub(system.iter().map(|m| estimate(&m.content)).sum::<usize>() + 100);
    fit(&mut conversation, &mut current, tokens);

    let mut messages = system;
    messages.extend(conversation.into_iter().map(Draft::message));
    messages.append(&mut current);
    let begin = turn.capability.prefill && messages.last().is_some_and(|m| m.role == Role::User);
    if begin {
        messages.push(ChatMessage::assistant("Thought:"));
    }
    ModelRequest {
        messages,
        max_tokens: params.max_tokens,
        temperature: params.temperature,
        top_p: None,
        stop: params.stop.iter().map(|s| (*s).to_owned()).collect(),
        fim: None,
        continue_final_message: begin && turn.family == Family::Mistral,
    }
}

fn system(body: &AgentBody, turn: &ChatTurn<'_>) -> Vec<ChatMessage> {
    let tools: Vec<String> = turn.tools.iter().map(|t| format!("- {}: {}", t.name, t.description)).collect();
    let names: Vec<&str> = turn.tools.iter().map(|t| t.name).collect();
    let example = turn.tools.iter().find(|tool| tool.name == "issue_reader").or(turn.tools.first());
    let mut values = Values::new();
    values
        .set("tools", tools.join("\n"))
        .set("tool_names", names.join(", "))
        .set("example_tool", example.map_or("", |tool| tool.name))
        .set("example_input", example.map_or("", |tool| tool.example))
        .set("unavailable_resources", body.unavailable_resources.join(", "))
        .set("current_date", turn.current_date);
    internal("chat/react").map(|prompt| prompt.for_family(turn.family).template.render(&values)).unwrap_or_default()
}

/// A message before it is known how much of it fits.
struct Draft {
    role: Role,
    /// What the user looks at or attached; the first to be cut.
    attached: String,
    said: String,
}

impl Draft {
    fn message(self) -> ChatMessage {
        let text = format!("{}\n\n{}", self.attached.trim(), self.said.trim());
        ChatMessage::new(self.role, text.trim())
    }

    fn tokens(&self) -> usize {
        estimate(&self.attached) + estimate(&self.said)
    }
}

/// `None` when the message says nothing and nothing is attached.
fn draft(from: &AgentMessage) -> Option<Draft> {
    let mut attached = String::new();
    if let Some(page) = &from.context {
        let title = page.title.as_deref().map(|t| format!(" titled \"{t}\"")).unwrap_or_default();
        attached.push_str(&format!("The user is looking at this {}{title}.\n", page.kind.words()));
        if let Some(content) = &page.content {
            attached.push_str(&format!("<resource>\n{content}\n</resource>\n"));
        }
    }
    if let Some(file) = &from.current_file {
        let what = if file.selected_code { "selected_code" } else { "open_file" };
        attached.push_str(&format!("<{what} path=\"{}\">\n{}\n</{what}>\n", file.file_path, file.data));
    }
    for context in &from.additional_context {
        let id = context.id.as_deref().map(|id| format!(" id=\"{id}\"")).unwrap_or_default();
        let content = context.content.as_deref().unwrap_or_default();
        attached.push_str(&format!("<{0}{id}>\n{content}\n</{0}>\n", context.category));
    }
    let said = from.content.clone().unwrap_or_default();
    (!attached.is_empty() || !said.trim().is_empty()).then_some(Draft { role: from.role, attached, said })
}

fn step(step: &AgentStep) -> [ChatMessage; 2] {
    [
        ChatMessage::assistant(format!(
            "Thought: {}\nAction: {}\nAction Input: {}",
            step.thought.trim(),
            step.tool,
            step.tool_input.trim()
        )),
        ChatMessage::user(format!("{OBSERVATION} {}", step.observation.trim())),
    ]
}

/// Makes room: first the oldest messages go (not the last user's), then attachments and observations lose their ends,
/// then, if the words alone are too many, they lose their beginnings.
fn fit(conversation: &mut Vec<Draft>, current: &mut [ChatMessage], tokens: usize) {
    let steps: usize = current.iter().map(|m| estimate(&m.content)).sum();
    let keep_from = conversation.iter().rposition(|m| m.role == Role::User).unwrap_or(0);
    let mut total = steps + conversation.iter().map(Draft::tokens).sum::<usize>();
    let mut drop = 0;
    while total > tokens && drop < keep_from {
        total -= conversation[drop].tokens();
        drop += 1;
    }
    conversation.drain(..drop);
    if total <= tokens {
        return;
    }
    let said: usize = conversation.iter().map(|m| estimate(&m.said)).sum();
    let mut around: Vec<_> = conversation.iter_mut().map(|m| (&mut m.attached, Keep::Start)).collect();
    around.extend(current.iter_mut().map(|m| (&mut m.content, Keep::Start)));
    // half at least for what surrounds the words: a turn without its observation would repeat the tool for ever
    shrink(&mut around, tokens.saturating_sub(said).max(tokens / 2));
    let around: usize = around.iter().map(|(text, _)| estimate(text)).sum();
    let mut words: Vec<_> = conversation.iter_mut().map(|m| (&mut m.said, Keep::End)).collect();
    shrink(&mut words, tokens.saturating_sub(around));
}
