//! Answers in the forms of the contract, and what GitLab is told of a failed model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

use std::time::Duration;

use duo_protocol::contract::{
    CodeAnswer, ModelInfo, code_answer_v2, code_answer_v3, prompt_answer_v1, prompt_answer_v2, prompt_line_v2,
    sse_content_chunk, sse_stream_end, sse_stream_start,
};
use duo_protocol::failure::{Surface, answer_for, chat_message, is_retryable, scrub};
use duo_protocol::model::{ChatMessage, UpstreamFailure, Usage};
use serde_json::json;

const MODEL: ModelInfo<'static> = ModelInfo { engine: "litellm", name: "mixtral", lang: "ruby" };
const USAGE: Usage = Usage { input_tokens: 3, output_tokens: 2, cache_read_tokens: 0, cache_write_tokens: 0 };

fn answer(text: &str) -> CodeAnswer<'_> {
    CodeAnswer {
        text,
        model: MODEL,
        created: 7,
        usage: Some(USAGE),
        max_output_tokens_used: false,
        feature_flags: &["a"],
    }
}

#[test]
fn v2_code_answers() {
    let body = serde_json::to_value(code_answer_v2(&answer("puts"))).unwrap();
    assert_eq!(body["id"], "id");
    assert_eq!(body["choices"], json!([{"text": "puts", "index": 0, "finish_reason": "length"}]));
    assert_eq!(body["model"]["tokens_consumption_metadata"]["input_tokens"], 3);
    let empty = serde_json::to_value(code_answer_v2(&answer(""))).unwrap();
    assert_eq!((&empty["choices"], &empty["model"]["tokens_consumption_metadata"]), (&json!([]), &json!(null)));
    assert_eq!(empty["experiments"], json!([]));
}

#[test]
fn v3_code_answers_and_v4_events() {
    let body = serde_json::to_value(code_answer_v3(&answer("puts"))).unwrap();
    assert_eq!(body["metadata"]["model"], body["model"]);
    assert_eq!(body["metadata"]["timestamp"], 7);
    assert_eq!(
        sse_stream_start(MODEL, 7, &[]),
        "event: stream_start\r\ndata: {\"metadata\":{\"model\":{\"engine\":\"litellm\",\"name\":\"mixtral\"},\"timestamp\":7,\"enabled_feature_flags\":[]}}\r\n\r\n"
    );
    assert_eq!(
        sse_content_chunk("a\nb"),
        "event: content_chunk\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\\nb\"},\"index\":0}]}\r\n\r\n"
    );
    assert_eq!(sse_stream_end(), "event: stream_end\r\ndata: null\r\n\r\n");
}

#[test]
fn prompt_answers() {
    assert_eq!(prompt_answer_v1("a\"b").to_string(), "\"a\\\"b\"");
    assert_eq!(prompt_answer_v2("x", "m", None), json!({"content": "x"}));
    assert_eq!(
        prompt_line_v2("x", "m", Some(USAGE)),
        "{\"content\":\"x\",\"usage\":{\"m\":{\"input_tokens\":3,\"output_tokens\":2}}}\n"
    );
}

fn status(code: u16, reason: &str) -> UpstreamFailure {
    UpstreamFailure::Status { code, reason: reason.into(), retry_after: None }
}

#[test]
fn failed_models_have_the_decided_statuses() {
    let wait = Some(Duration::from_millis(6500));
    let throttled = UpstreamFailure::Throttled { retry_after: wait };
    let reason = String::from("x");
    let table = [
        (status(400, "Bad Request"), 421, "400: Bad Request (model 'm')"),
        (status(401, "Unauthorized"), 421, "401: Unauthorized (model 'm')"),
        (status(403, "Forbidden"), 421, "403: Forbidden (model 'm')"),
        (status(404, "Not Found"), 421, "404: Not Found (model 'm')"),
        (status(301, "Redirect"), 421, "301: Redirect (model 'm')"),
        (throttled.clone(), 429, "Too many requests. Please try again later. Model 'm' limits the rate."),
        (status(424, "Failed Dependency"), 503, "Model 'm' failed: Failed Dependency"),
        (status(500, "boom"), 503, "Model 'm' failed: boom"),
        (
            UpstreamFailure::Unavailable { reason: "connection refused".into() },
            503,
            "Model 'm' failed: unavailable: connection refused",
        ),
        (UpstreamFailure::Timeout, 504, "Model 'm' failed: Request Timeout"),
        (UpstreamFailure::Protocol { reason: reason.clone() }, 502, "Model 'm' failed: not a model's answer: x"),
        (UpstreamFailure::StreamBroken { reason }, 502, "Model 'm' failed: the stream broke off: x"),
    ];
    for (failure, code, detail) in table {
        let answer = answer_for(&failure, "m", Surface::Feature);
        assert_eq!((answer.status, answer.detail.as_str()), (code, detail), "{failure}");
        let check = answer_for(&failure, "m", Surface::ConnectionCheck);
        assert_eq!(check.status, 421, "trap: only 421 shows the cause to the administrator; {failure}");
        assert!(check.detail.as_bytes()[..3].iter().all(u8::is_ascii_digit) && &check.detail[3..5] == ": ");
    }
    assert_eq!(
        answer_for(&throttled, "m", Surface::Feature).retry_after_seconds(),
        Some(7),
        "trap: Retry-After is kept"
    );
    assert!(!is_retryable(&throttled) && is_retryable(&status(503, "")));
}

#[test]
fn a_prompt_that_is_too_long_is_named_as_gitlab_looks_for_it() {
    let failure = status(400, "Bad Request: This model's maximum context length is 8192 tokens");
    assert!(chat_message(&failure, "m").starts_with("prompt is too long"));
    assert!(!chat_message(&UpstreamFailure::Timeout, "m").contains("too long"));
}

#[test]
fn reasons_are_scrubbed() {
    let asked = [ChatMessage::user("class  Payment\n  def charge(card, amount)\n  end")];
    let table = [
        ("Incorrect key sk-abc123.", "Incorrect key [redacted]"),
        ("key=sk-abc123 a task-based risk", "[redacted] a task-based risk"),
        ("token eyJhbGciOiJIUzI1NiJ9 bad", "token [redacted] bad"),
        ("key Zm9vYmFyYmF6MTIzNDU2Nzg5 bad", "key [redacted] bad"),
        ("see https://user:pw@internal/x now", "see [address] now"),
        ("in /srv/models/llama.py line 3", "in [path] line 3"),
        ("cannot parse class Payment def charge(card, amount) end", "cannot parse […]"),
        (
            "model anthropic.claude-3-sonnet-20240229-v1:0 is fine",
            "model anthropic.claude-3-sonnet-20240229-v1:0 is fine",
        ),
        ("a\r\nb\u{0}c", "a b c"),
    ];
    for (reason, wanted) in table {
        assert_eq!(scrub(reason, &asked), wanted, "{reason:?}");
    }
    assert!(scrub(&"word ".repeat(1000), &[]).chars().count() <= 301);
}
