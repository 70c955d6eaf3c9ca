//! Request bodies.

use crate::cache::CacheMarks;
use crate::json::{Object, write_text};
use crate::model::{ModelRequest, Role};

/// Beyond the texts: names, parameters, stop sequences.
const FRAME: usize = 1024;
const CACHE_POINT: &[u8] = b",{\"cachePoint\":{\"type\":\"default\"}}";

/// The body of Converse and ConverseStream, as JSON. `request` must have gone through [`crate::capability::adapt`];
/// `guardrail` is a `guardrailConfig` that has been written before.
pub fn converse_body(request: &ModelRequest, marks: CacheMarks, guardrail: Option<&str>) -> Vec<u8> {
    let texts: usize = request.messages.iter().map(|message| message.content.len()).sum();
    // an eighth more for what is escaped
    let mut body = Object::new(texts + texts / 8 + FRAME);
    if let Some(guardrail) = guardrail {
        body.field("guardrailConfig").extend_from_slice(guardrail.as_bytes());
    }
    body.field("inferenceConfig").extend_from_slice(&inference(request));
    // Bedrock refuses empty text blocks
    let said = || request.messages.iter().enumerate().filter(|(_, message)| !message.content.trim().is_empty());
    let out = body.field("messages");
    out.push(b'[');
    let turns = said().filter(|(_, message)| message.role != Role::System);
    for (count, (at, message)) in turns.enumerate() {
        out.extend_from_slice(if count == 0 { b"{\"role\":\"" } else { b",{\"role\":\"" });
        out.extend_from_slice(message.role.as_str().as_bytes());
        out.extend_from_slice(b"\",\"content\":[{\"text\":");
        write_text(out, &message.content);
        out.push(b'}');
        if marks.message == Some(at) {
            out.extend_from_slice(CACHE_POINT);
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
    // Mixtral 8x7B refuses the block, even an empty one
    if said().any(|(_, message)| message.role == Role::System) {
        let out = body.field("system");
        out.push(b'[');
        for (count, (_, message)) in said().filter(|(_, message)| message.role == Role::System).enumerate() {
            out.extend_from_slice(if count == 0 { b"{\"text\":" } else { b",{\"text\":" });
            write_text(out, &message.content);
            out.push(b'}');
            if marks.system {
                out.extend_from_slice(CACHE_POINT);
            }
        }
        out.push(b']');
    }
    body.end()
}

fn inference(request: &ModelRequest) -> Vec<u8> {
    let mut out = Object::new(128);
    // AWS reads 32 signed bits
    out.value("maxTokens", request.max_tokens.min(i32::MAX.unsigned_abs()));
    // a 32-bit number is written as 0.2, not as 0.20000000298023224
    if let Some(temperature) = request.temperature {
        out.value("temperature", temperature);
    }
    if let Some(top_p) = request.top_p {
        out.value("topP", top_p);
    }
    if !request.stop.is_empty() {
        out.value("stopSequences", &request.stop);
    }
    out.end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::ChatMessage;

    fn written(request: &ModelRequest, marks: CacheMarks, guardrail: Option<&str>) -> Value {
        serde_json::from_slice(&converse_body(request, marks, guardrail)).unwrap()
    }

    fn asked(messages: Vec<ChatMessage>) -> ModelRequest {
        ModelRequest {
            messages,
            max_tokens: 7,
            temperature: None,
            top_p: None,
            stop: vec![],
            fim: None,
            continue_final_message: false,
        }
    }

    #[test]
    fn roles_limits_and_stops_arrive_and_blank_blocks_do_not() {
        let messages = vec![
            ChatMessage::system("be \"brief\""),
            ChatMessage::user("q"),
            ChatMessage::assistant(" "),
            ChatMessage::assistant("Thought:"),
        ];
        let request = ModelRequest { temperature: Some(0.2), stop: vec!["x".into()], ..asked(messages) };
        let expected = json!({
            "inferenceConfig": {"maxTokens": 7, "temperature": 0.2, "stopSequences": ["x"]},
            "messages": [
                {"role": "user", "content": [{"text": "q"}]},
                {"role": "assistant", "content": [{"text": "Thought:"}]},
            ],
            "system": [{"text": "be \"brief\""}],
        });
        assert_eq!(written(&request, CacheMarks::default(), None), expected);
        let most = ModelRequest { max_tokens: u32::MAX, top_p: Some(0.9), ..request };
        let body = written(&most, CacheMarks::default(), None);
        assert_eq!(body["inferenceConfig"]["maxTokens"], i32::MAX);
        assert_eq!(body["inferenceConfig"]["topP"], 0.9);
    }

    #[test]
    fn trap_without_a_system_message_no_system_block_is_sent() {
        for messages in [vec![ChatMessage::user("q")], vec![ChatMessage::system(" "), ChatMessage::user("q")]] {
            let body = written(&asked(messages), CacheMarks::default(), None);
            assert!(body.get("system").is_none(), "{body}");
        }
    }

    #[test]
    fn marks_stand_behind_what_is_to_be_kept_and_a_guardrail_is_passed_on() {
        let request = asked(vec![ChatMessage::system("s"), ChatMessage::user("a"), ChatMessage::user("b")]);
        let marks = CacheMarks { system: true, message: Some(1) };
        let body = written(&request, marks, Some(r#"{"guardrailVersion":"3"}"#));
        let point = json!({"cachePoint": {"type": "default"}});
        assert_eq!(body["system"], json!([{"text": "s"}, point]));
        assert_eq!(body["messages"][0]["content"], json!([{"text": "a"}, point]));
        assert_eq!(body["messages"][1]["content"], json!([{"text": "b"}]));
        assert_eq!(body["guardrailConfig"], json!({"guardrailVersion": "3"}));
    }
}
