//! The form of an answer: Converse's JSON object, and ConverseStream's frames. It must not know how they are sent.

use bytes::Bytes;
use serde_json::{Value, json};

use super::eventstream;
use crate::answers::{Ending, Question, Written, pieces, tokens};

/// The body of a Converse answer.
pub fn whole(question: &Question, written: &Written, latency_ms: u64) -> Value {
    // a model that has nothing to say gives no block, not an empty one
    let content = if written.text.is_empty() { json!([]) } else { json!([{ "text": written.text }]) };
    json!({
        "metrics": { "latencyMs": latency_ms },
        "output": { "message": { "content": content, "role": "assistant" } },
        "stopReason": stop_reason(written.ending),
        "usage": usage(question, written),
    })
}

/// The frames of a ConverseStream answer, in order.
pub fn frames(question: &Question, written: &Written, latency_ms: u64) -> Vec<Bytes> {
    let mut frames = vec![event(0, "messageStart", json!({ "role": "assistant" }))];
    for (turn, text) in deltas(&written.text).into_iter().enumerate() {
        let delta = json!({ "contentBlockIndex": 0, "delta": { "text": text } });
        frames.push(event(turn, "contentBlockDelta", delta));
    }
    if !written.text.is_empty() {
        frames.push(event(1, "contentBlockStop", json!({ "contentBlockIndex": 0 })));
    }
    frames.push(event(2, "messageStop", json!({ "stopReason": stop_reason(written.ending) })));
    let metadata = json!({ "metrics": { "latencyMs": latency_ms }, "usage": usage(question, written) });
    frames.push(event(3, "metadata", metadata));
    frames
}

/// The pieces of text that a streamed answer comes in.
pub fn deltas(text: &str) -> Vec<String> {
    pieces(text).chunks(2).map(<[&str]>::concat).collect()
}

/// Bedrock pads events with a member `p` that no shape defines, so that their length tells nothing: a reader that
/// refuses unknown members fails.
fn event(turn: usize, event_type: &str, mut payload: Value) -> Bytes {
    const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";
    payload["p"] = Value::from(&PADDING[..1 + (turn * 11) % PADDING.len()]);
    eventstream::event(event_type, &payload)
}

fn stop_reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "end_turn",
        Ending::Stop => "stop_sequence",
        Ending::Length => "max_tokens",
    }
}

fn usage(question: &Question, written: &Written) -> Value {
    let (input, output) = (question.tokens(), tokens(&written.text));
    json!({ "inputTokens": input, "outputTokens": output, "totalTokens": input + output })
}
