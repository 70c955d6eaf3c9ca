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
/// prefill, the beginning of its thought. Too long a conversation loses its oldest messages, then the longest texts
/// their ends.
pub fn chat_agent_request(body: &AgentBody, turn: &ChatTurn<'_>) -> ModelRequest {
    let params = chat(turn.family);
    let system = system(body, turn);
    let steps = body.steps();
    let mut conversation: Vec<ChatMessage> = body.messages.iter().filter_map(message).collect();
    let mut current: Vec<ChatMessage> = steps.iter().flat_map(step).collect();

    let tokens = room(turn.family, params.max_tokens)
        .saturating_sub(system.iter().map(|m| estimate(&m.content)).sum::<usize>() + 100);
    fit(&mut conversation, &mut current, tokens);

    let mut messages = system;
    messages.append(&mut conversation);
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
        continue_final_message: begin && turn.family == Family::Mistral,
    }
}

fn system(body: &AgentBody, turn: &ChatTurn<'_>) -> Vec<ChatMessage> {
    let tools: Vec<String> = turn.tools.iter().map(|t| format!("- {}: {}", t.name, t.description)).collect();
    let names: Vec<&str> = turn.tools.iter().map(|t| t.name).collect();
    let mut values = Values::new();
    values
        .set("tools", tools.join("\n"))
        .set("tool_names", names.join(", "))
        .set("unavailable_resources", body.unavailable_resources.join(", "))
        .set("current_date", turn.current_date);
    internal("chat/react").map(|prompt| prompt.template.render(&values)).unwrap_or_default()
}

/// A message with what the user attached; `None` when nothing is left to say.
fn message(from: &AgentMessage) -> Option<ChatMessage> {
    let mut text = String::new();
    if let Some(page) = &from.context {
        let title = page.title.as_deref().map(|t| format!(" titled \"{t}\"")).unwrap_or_default();
        text.push_str(&format!("The user is looking at this {}{title}.\n", page.kind.words()));
        if let Some(content) = &page.content {
            text.push_str(&format!("<resource>\n{content}\n</resource>\n"));
        }
    }
    if let Some(file) = &from.current_file {
        let what = if file.selected_code { "selected_code" } else { "open_file" };
        text.push_str(&format!("<{what} path=\"{}\">\n{}\n</{what}>\n", file.file_path, file.data));
    }
    for context in &from.additional_context {
        let id = context.id.as_deref().map(|id| format!(" id=\"{id}\"")).unwrap_or_default();
        let content = context.content.as_deref().unwrap_or_default();
        text.push_str(&format!("<{0}{id}>\n{content}\n</{0}>\n", context.category));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(from.content.as_deref().unwrap_or_default());
    (!text.trim().is_empty()).then(|| ChatMessage::new(from.role, text.trim()))
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

/// Makes room: first the oldest messages go (not the last user's), then the longest texts are cut.
fn fit(conversation: &mut Vec<ChatMessage>, current: &mut [ChatMessage], tokens: usize) {
    let sum = |messages: &[ChatMessage]| messages.iter().map(|m| estimate(&m.content)).sum::<usize>();
    let fixed = sum(current);
    let keep_from = conversation.iter().rposition(|m| m.role == Role::User).unwrap_or(0);
    let mut drop = 0;
    let mut total = fixed + sum(conversation);
    while total > tokens && drop < keep_from {
        total -= estimate(&conversation[drop].content);
        drop += 1;
    }
    conversation.drain(..drop);
    if total > tokens {
        let mut texts: Vec<&mut String> =
            conversation.iter_mut().chain(current.iter_mut()).map(|m| &mut m.content).collect();
        // the question stands behind what is attached to it
        let keep = if fixed == 0 { Keep::End } else { Keep::Start };
        shrink(&mut texts, tokens, keep);
    }
}
