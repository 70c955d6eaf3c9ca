//! Fits a request to a model.

use super::Capability;
use crate::model::{ChatMessage, ModelRequest, Role};

/// Requests for this many tokens or fewer are connection checks.
const CHECK_TOKENS: u32 = 16;

/// The request as `capability` takes it. Always: blank messages go, system messages are gathered into one at the
/// front, neighbours of one role are joined, at most `most_stops` stop sequences stay. By capability: system text is
/// folded into the first user turn, a trailing assistant message becomes a user message or loses its trailing blanks
/// (Claude refuses them), the first turn is a user's, parameters the model refuses are left out.
pub fn adapt(request: ModelRequest, capability: &Capability) -> ModelRequest {
    let ModelRequest { messages, max_tokens, temperature, top_p, mut stop, fim, continue_final_message } = request;
    let mut turns: Vec<ChatMessage> = messages.into_iter().filter(|m| !m.content.trim().is_empty()).collect();
    let system: Vec<String> =
        turns.extract_if(.., |m| m.role == Role::System).map(|m| m.content.trim().to_owned()).collect();
    let system = system.join("\n\n");

    let mut prefill = turns.last().is_some_and(|m| m.role == Role::Assistant);
    if prefill && !capability.prefill {
        if let Some(last) = turns.last_mut() {
            last.role = Role::User;
        }
        prefill = false;
    }
    let mut turns = joined(turns);
    if turns.is_empty() || (capability.strict_turns && turns[0].role == Role::Assistant) {
        // the conversation's beginning was cut away, or there is nothing but a system message
        turns.insert(0, ChatMessage::user(if system.is_empty() { "Continue." } else { "Begin." }));
    }
    if prefill && let Some(last) = turns.last_mut() {
        last.content.truncate(last.content.trim_end().len());
    }
    if !system.is_empty() {
        if capability.system {
            turns.insert(0, ChatMessage::system(system));
        } else if turns[0].role == Role::User {
            turns[0].content = format!("{system}\n\n{}", turns[0].content);
        } else {
            turns.insert(0, ChatMessage::user(system));
        }
    }

    let temperature = temperature.filter(|_| capability.temperature);
    let top_p = top_p.filter(|_| temperature.is_none() || capability.both_samplings).filter(|_| capability.temperature);
    if capability.stop {
        stop.retain(|s| !s.is_empty() && (capability.blank_stops || !s.trim().is_empty()));
        stop.truncate(capability.most_stops);
    } else {
        stop.clear();
    }
    // the connection check wants a quick 200, not an answer
    let thinking = if max_tokens > CHECK_TOKENS { capability.thinking_tokens } else { 0 };
    ModelRequest {
        messages: turns,
        max_tokens: max_tokens.saturating_add(thinking).min(capability.most_tokens.unwrap_or(u32::MAX)).max(1),
        temperature,
        top_p,
        stop,
        fim,
        continue_final_message: continue_final_message && prefill && capability.continue_final_message,
    }
}

fn joined(turns: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let mut out: Vec<ChatMessage> = Vec::with_capacity(turns.len());
    for turn in turns {
        match out.last_mut() {
            Some(last) if last.role == turn.role => {
                last.content.push_str("\n\n");
                last.content.push_str(&turn.content);
            }
            _ => out.push(turn),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::of;
    use crate::family::Family;
    use crate::identifier::Identifier;

    fn request(messages: &[(Role, &str)]) -> ModelRequest {
        ModelRequest {
            messages: messages.iter().map(|(role, text)| ChatMessage::new(*role, *text)).collect(),
            max_tokens: 100,
            temperature: Some(0.1),
            top_p: Some(0.9),
            stop: ["a", "b", "c", "d", "e"].map(String::from).to_vec(),
            fim: None,
            continue_final_message: true,
        }
    }

    fn adapted(identifier: &str, family: Family, messages: &[(Role, &str)]) -> (Vec<(Role, String)>, ModelRequest) {
        let out = adapt(request(messages), &of(&Identifier::parse(identifier).unwrap(), family));
        (out.messages.iter().map(|m| (m.role, m.content.clone())).collect(), out)
    }

    const MIXTRAL: &str = "bedrock/mistral.mixtral-8x7b-instruct-v0:1";
    const CLAUDE_3: &str = "bedrock/anthropic.claude-3-sonnet-20240229-v1:0";

    #[test]
    fn system_text_is_folded_into_the_first_user_turn_where_it_is_refused() {
        let (turns, _) =
            adapted(MIXTRAL, Family::Mixtral, &[(Role::System, "S"), (Role::User, "U"), (Role::System, "T")]);
        assert_eq!(turns, [(Role::User, "S\n\nT\n\nU".to_owned())]);
        let (turns, _) = adapted(CLAUDE_3, Family::Claude3, &[(Role::System, "S"), (Role::User, "U")]);
        assert_eq!(turns, [(Role::System, "S".to_owned()), (Role::User, "U".to_owned())]);
    }

    #[test]
    fn neighbours_are_joined_and_blank_blocks_dropped() {
        let turns =
            [(Role::User, "a"), (Role::Assistant, " \n"), (Role::User, "b"), (Role::Assistant, "c"), (Role::User, "d")];
        let (turns, _) = adapted(CLAUDE_3, Family::Claude3, &turns);
        assert_eq!(turns, [(Role::User, "a\n\nb".into()), (Role::Assistant, "c".into()), (Role::User, "d".into())]);
    }

    #[test]
    fn the_first_turn_on_bedrock_is_the_users() {
        let (turns, _) = adapted(CLAUDE_3, Family::Claude3, &[(Role::Assistant, "hello"), (Role::User, "d")]);
        assert_eq!(turns[0].0, Role::User);
        let (turns, _) = adapted(MIXTRAL, Family::Mixtral, &[(Role::System, "only this")]);
        assert_eq!(turns, [(Role::User, "only this\n\nBegin.".to_owned())]);
    }

    #[test]
    fn trap_prefill_is_trimmed_kept_or_becomes_the_users() {
        let turns = [(Role::User, "q"), (Role::Assistant, "Thought: ")];
        let (kept, out) = adapted(CLAUDE_3, Family::Claude3, &turns);
        assert_eq!(kept[1], (Role::Assistant, "Thought:".to_owned()));
        assert!(!out.continue_final_message, "vLLM's switch does not go to Bedrock");
        let (kept, _) = adapted("bedrock/anthropic.claude-opus-4-7", Family::Claude3, &turns);
        assert_eq!(kept, [(Role::User, "q\n\nThought: ".to_owned())]);
        let (_, out) = adapted("custom_openai/m", Family::Mistral, &turns);
        assert!(out.continue_final_message);
        let (_, out) = adapted("custom_openai/m", Family::Mistral, &turns[..1]);
        assert!(!out.continue_final_message, "nothing to continue");
    }

    #[test]
    fn refused_parameters_are_left_out() {
        let (_, out) = adapted("bedrock/anthropic.claude-opus-4-7", Family::Claude3, &[(Role::User, "q")]);
        assert_eq!((out.temperature, out.top_p), (None, None));
        let (_, out) = adapted("bedrock/anthropic.claude-sonnet-4-5", Family::Claude3, &[(Role::User, "q")]);
        assert_eq!((out.temperature, out.top_p), (Some(0.1), None));
        assert_eq!(out.stop, ["a", "b", "c", "d"], "trap: only four stop sequences leave");
        let (_, out) = adapted("azure/gpt-5", Family::Gpt, &[(Role::User, "q")]);
        assert_eq!((out.temperature, out.stop.len()), (None, 0));
        assert_eq!(out.max_tokens, 100 + 2048, "the thinking counts against the limit");
    }

    #[test]
    fn trap_claude_refuses_stop_sequences_of_white_space() {
        let ask = |id: &str, family| {
            let mut asked = request(&[(Role::User, "q")]);
            asked.stop = vec!["\n\n".into(), "x".into()];
            adapt(asked, &of(&Identifier::parse(id).unwrap(), family)).stop
        };
        assert_eq!(ask(CLAUDE_3, Family::Claude3), ["x"]);
        assert_eq!(ask("anthropic/claude-sonnet-4-5", Family::Qwen), ["x"]);
        assert_eq!(ask("custom_openai/qwen", Family::Qwen), ["\n\n", "x"]);
    }
}
