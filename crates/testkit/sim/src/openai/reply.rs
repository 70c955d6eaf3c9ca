//! The form of an answer: OpenAI's JSON objects and server-sent events. It must not know how they are sent.

use bytes::Bytes;
use serde_json::{Value, json};

use super::request::Request;
use crate::answers::{Ending, Written, digest, pieces, tokens};

/// Which of the two operations answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `chat/completions`.
    Chat,
    /// `completions`.
    Text,
}

/// A whole answer. `created` is in seconds since 1970.
pub fn whole(form: Form, request: &Request, written: &Written, created: i64) -> Value {
    let finish = finish_reason(written.ending);
    let choice = match form {
        Form::Chat => json!({
            "index": 0,
            "message": { "role": "assistant", "content": written.text, "refusal": null, "tool_calls": [] },
            "logprobs": null, "finish_reason": finish,
        }),
        Form::Text => json!({ "index": 0, "text": written.text, "logprobs": null, "finish_reason": finish }),
    };
    json!({
        "id": id(form, request),
        "object": match form { Form::Chat => "chat.completion", Form::Text => "text_completion" },
        "created": created,
        "model": request.question.model,
        "choices": [choice],
        "usage": usage(request, written),
    })
}

/// The events of a streamed answer, `[DONE]` included.
pub fn events(form: Form, request: &Request, written: &Written, created: i64, azure: bool) -> Vec<Bytes> {
    let chunk = |choices: Value| {
        json!({
            "id": id(form, request),
            "object": match form { Form::Chat => "chat.completion.chunk", Form::Text => "text_completion" },
            "created": created,
            "model": request.question.model,
            "choices": choices,
        })
    };
    let choice = |text: &str, finish: Option<&str>| match form {
        Form::Chat => json!([{ "index": 0, "delta": { "content": text }, "logprobs": null, "finish_reason": finish }]),
        Form::Text => json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": finish }]),
    };
    let mut events = Vec::new();
    if azure {
        // Azure begins with an event that has no choice: a reader that takes choices[0] for granted fails
        let filters = json!([{ "prompt_index": 0, "content_filter_results": {} }]);
        events.push(event(&json!({
            "id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filters,
        })));
    }
    if form == Form::Chat {
        let delta = json!({ "role": "assistant", "content": "" });
        events.push(event(&chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": null }]))));
    }
    for text in deltas(&written.text) {
        events.push(event(&chunk(choice(&text, None))));
    }
    events.push(event(&chunk(choice("", Some(finish_reason(written.ending))))));
    if request.include_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(request, written);
        events.push(event(&last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// The pieces of text that a streamed answer comes in.
pub fn deltas(text: &str) -> Vec<String> {
    pieces(text).chunks(2).map(<[&str]>::concat).collect()
}

/// One server-sent event.
pub fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

fn id(form: Form, request: &Request) -> String {
    let prefix = if form == Form::Chat { "chatcmpl" } else { "cmpl" };
    format!("{prefix}-{}", digest(request.question.last_user_text()))
}

fn finish_reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Done | Ending::Stop => "stop",
        Ending::Length => "length",
    }
}

fn usage(request: &Request, written: &Written) -> Value {
    let (prompt, completion) = (request.question.tokens(), tokens(&written.text));
    json!({ "prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion })
}
