//! What the model server writes, made once: whole answers, and streams with a pause between their pieces.

use std::net::SocketAddr;
use std::time::Duration;

use duo_sim::bedrock::eventstream;
use serde_json::{Value, json};

use crate::asks::{Pace, Wire};

/// The text of streams, as a model's tokens.
const TOKENS: [&str; 8] = ["    total", " +=", " line", ".price", " *", " line", ".count", "\n"];
const WHOLE: &str = "lines.sum { |line| line.price * line.count }\n  end\n";

/// The vector of one text.
const VECTORS: &str = "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.1,0.2]}],\
                       \"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}";

/// How many pieces of text a stream has.
pub fn pieces(pace: Pace) -> usize {
    match pace {
        Pace::Quick => 8,
        Pace::Brisk => 40,
        Pace::Paced => 400,
        Pace::Long => 40,
    }
}

/// What lies between two of them.
pub fn pause(pace: Pace) -> Duration {
    match pace {
        Pace::Quick => Duration::ZERO,
        Pace::Brisk | Pace::Paced => Duration::from_millis(10),
        Pace::Long => Duration::from_millis(400),
    }
}

/// All of them.
pub(super) struct Answers {
    openai: Vec<u8>,
    bedrock: Vec<u8>,
    streams: Vec<(Wire, Pace, Vec<Vec<u8>>)>,
    vectors: Vec<u8>,
    discovery: Vec<u8>,
    jwks: Vec<u8>,
}

impl Answers {
    pub(super) fn new(jwks: &str, address: SocketAddr) -> Self {
        let base = format!("http://{address}");
        let discovery = json!({ "issuer": base, "jwks_uri": format!("{base}/oauth/discovery/keys") });
        let both = |wire| Pace::ALL.into_iter().map(move |pace| (wire, pace, stream(wire, pace)));
        Self {
            openai: whole("application/json", &openai_whole().to_string()),
            bedrock: whole("application/json", &bedrock_whole().to_string()),
            streams: both(Wire::OpenAi).chain(both(Wire::Bedrock)).collect(),
            vectors: whole("application/json", VECTORS),
            discovery: whole("application/json", &discovery.to_string()),
            jwks: whole("application/json", jwks),
        }
    }

    pub(super) fn document(&self, path: &str) -> Vec<u8> {
        match path {
            "/.well-known/openid-configuration" => self.discovery.clone(),
            "/oauth/discovery/keys" => self.jwks.clone(),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        }
    }

    pub(super) fn vectors(&self) -> &[u8] {
        &self.vectors
    }

    pub(super) fn whole(&self, wire: Wire) -> &[u8] {
        match wire {
            Wire::OpenAi => &self.openai,
            Wire::Bedrock => &self.bedrock,
        }
    }

    /// What to write, piece by piece: the first begins with the head, the last ends the body.
    pub(super) fn stream(&self, wire: Wire, pace: Pace) -> &[Vec<u8>] {
        let found = self.streams.iter().find(|(its, at, _)| (*its, *at) == (wire, pace));
        found.map_or(&[], |(_, _, pieces)| pieces)
    }
}

pub(super) fn whole(kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
    framed.extend_from_slice(data);
    framed.extend_from_slice(b"\r\n");
    framed
}

fn stream(wire: Wire, pace: Pace) -> Vec<Vec<u8>> {
    let texts = (0..pieces(pace)).map(|number| TOKENS[number % TOKENS.len()]);
    let (kind, mut pieces, last): (_, Vec<Vec<u8>>, Vec<Vec<u8>>) = match wire {
        Wire::OpenAi => {
            let event = |choice: Value| chunk(format!("data: {}\n\n", openai_chunk(&choice)).as_bytes());
            let delta = |text| json!({"index": 0, "delta": {"content": text}, "logprobs": null, "finish_reason": null});
            let end = event(json!({"index": 0, "delta": {"content": ""}, "logprobs": null, "finish_reason": "stop"}));
            let mut last = openai_chunk(&Value::Null);
            last["choices"] = json!([]);
            last["usage"] = json!({"prompt_tokens": 700, "total_tokens": 1100, "completion_tokens": 400});
            let usage = chunk(format!("data: {last}\n\ndata: [DONE]\n\n").as_bytes());
            ("text/event-stream; charset=utf-8", texts.map(|text| event(delta(text))).collect(), vec![end, usage])
        }
        Wire::Bedrock => {
            let event = |kind: &str, payload: Value| chunk(&eventstream::event(kind, &payload));
            let delta = |text| json!({"contentBlockIndex": 0, "delta": {"text": text}, "p": "abcdefghijkl"});
            let pieces = texts.map(|text| event("contentBlockDelta", delta(text))).collect();
            let last = vec![
                event("contentBlockStop", json!({"contentBlockIndex": 0})),
                event("messageStop", json!({"stopReason": "end_turn"})),
                event("metadata", json!({"metrics": {"latencyMs": 4000}, "usage": bedrock_usage()})),
            ];
            ("application/vnd.amazon.eventstream", pieces, last)
        }
    };
    let head =
        format!("HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
    if let Some(first) = pieces.first_mut() {
        first.splice(0..0, head.into_bytes());
    }
    // the end goes out with one write, as servers do that have nothing left to think about
    let mut end = last.concat();
    end.extend_from_slice(b"0\r\n\r\n");
    pieces.push(end);
    pieces
}

fn openai_chunk(choice: &Value) -> Value {
    json!({
        "id": "chatcmpl-1f1e6a7b2c3d4e5f8a9b0c1d2e3f4a5b", "object": "chat.completion.chunk", "created": 1_790_000_000,
        "model": "codestral-22b", "choices": [choice],
    })
}

fn openai_whole() -> Value {
    json!({
        "id": "chatcmpl-1f1e6a7b2c3d4e5f8a9b0c1d2e3f4a5b", "object": "chat.completion", "created": 1_790_000_000,
        "model": "codestral-22b",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": WHOLE, "refusal": null, "tool_calls": []},
            "logprobs": null, "finish_reason": "stop", "stop_reason": null,
        }],
        "usage": {"prompt_tokens": 700, "total_tokens": 718, "completion_tokens": 18, "prompt_tokens_details": null},
        "prompt_logprobs": null,
    })
}

fn bedrock_usage() -> Value {
    json!({"inputTokens": 700, "outputTokens": 18, "totalTokens": 718})
}

fn bedrock_whole() -> Value {
    json!({
        "metrics": {"latencyMs": 900},
        "output": {"message": {"content": [{"text": WHOLE}], "role": "assistant"}},
        "stopReason": "end_turn", "usage": bedrock_usage(),
    })
}
