//! Bedrock: Converse and ConverseStream, with the faults that only an event stream can have.

use duo_sim::bedrock::eventstream;
use serde_json::json;

use super::rows::{JSON, chunks, stalls, statuses, transport, with};
use super::{Broken, KEY, LATE, RULES, SOON, Stage, Status, Text, row};
use crate::support::raw::{chunk, end, whole};
use crate::support::{Model, Step};

const FRAMES: &str = "application/vnd.amazon.eventstream";

#[tokio::test]
async fn converse() {
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: $UPSTREAM, credentials: true}}}}\n\
         models: [{{name: m, family: claude_3, identifier: 'bedrock/anthropic.claude-3-sonnet-20240229-v1:0', {RULES}}}]"
    );
    let model = Model {
        family: "claude_3",
        identifier: "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
        endpoint: "http://bedrockselfhostedmodel.com".into(),
    };
    let files = [("AWS_BEARER_TOKEN_BEDROCK", KEY)];
    let start = eventstream::event("messageStart", &json!({"role": "assistant"}));
    let delta =
        |text: &str| eventstream::event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": text}}));
    let piece = delta("<message>Final Answer: one two three ");
    let last = eventstream::event("messageStop", &json!({"stopReason": "end_turn"}));
    let broken = eventstream::with_wrong_checksum(&piece);
    // says that it is 4 GiB long, under a good checksum of the prelude
    let mut absurd = vec![0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0];
    absurd.extend_from_slice(&crc32(&absurd).to_be_bytes());
    let tiny = {
        let mut tiny = vec![0, 0, 0, 1, 0, 0, 0, 0];
        tiny.extend_from_slice(&crc32(&tiny).to_be_bytes());
        tiny
    };
    let throttled = eventstream::exception("throttlingException", &json!({"message": format!("slow down {KEY}")}));
    let begun = || chunks(FRAMES, [&start[..], &piece[..]]);
    let inside = |bytes: &[u8]| Step::Later(chunk(bytes));
    let split = delta("Final Answer: zwölf");
    let at = split.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let answer = json!({
        "metrics": {"latencyMs": 1}, "output": {"message": {"role": "assistant", "content": [{"text": "x"}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    })
    .to_string();

    let short = format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: 9999\r\n\r\n{answer}");
    let words = json!({"message": format!("The token {KEY} is of another region")}).to_string();
    let refusal = format!(
        "HTTP/1.1 400 Bad Request\r\nx-amzn-errortype: ValidationException\r\ncontent-type: {JSON}\r\n\
         content-length: {}\r\n\r\n{words}",
        words.len()
    );

    let mut rows = transport("", "not a model's answer");
    rows.extend(statuses());
    rows.extend([
        row("half a JSON", Some(false), vec![whole(JSON, &answer.as_bytes()[..30])], Status(502, "")),
        row("shorter than it says", Some(false), vec![Step::Say(short.into())], Status(503, "unavailable")),
        row("a refusal by name", None, vec![Step::Say(refusal.into())], Status(421, "ValidationException")),
        row("an empty stream", Some(true), with(chunks(FRAMES, []), [end()]), Status(502, "the stream broke off")),
        row("a page for a stream", Some(true), vec![whole("text/html", b"<html>Sign in</html>")], Status(502, "")),
        row("a wrong checksum first", Some(true), with(chunks(FRAMES, [&broken[..]]), [end()]), Status(502, "")),
        row("an absurd length first", Some(true), with(chunks(FRAMES, [&absurd[..]]), [Step::Hang]), Status(502, "")),
        row(
            "a frame shorter than a frame",
            Some(true),
            with(chunks(FRAMES, [&tiny[..]]), [Step::Hang]),
            Status(502, ""),
        ),
        row("throttled in the stream", Some(true), with(chunks(FRAMES, [&throttled[..]]), [end()]), Status(429, "")),
        row("a wrong checksum", Some(true), with(begun(), [inside(&broken), end()]), Broken),
        row(
            "an absurd length",
            Some(true),
            with(begun(), [inside(&absurd), Step::Endless(chunk(&[0; 1 << 16]))]),
            Broken,
        ),
        row("half a frame", Some(true), with(begun(), [inside(&piece[..20]), end()]), Broken),
        row("cut", Some(true), begun(), Broken),
        row("reset inside", Some(true), with(begun(), [Step::Reset]), Broken),
        row("ended early", Some(true), with(begun(), [end()]), Broken),
        row("an exception inside", Some(true), with(begun(), [inside(&throttled), end()]), Broken),
        row(
            "a letter in two pieces",
            Some(true),
            with(chunks(FRAMES, [&start[..], &split[..at], &split[at..], &last[..]]), [end()]),
            Text("zwölf"),
        ),
    ]);
    let stage = Stage::new(LATE, &config, &files, &model).await;
    stage.run(rows).await;
    stage.checked().await;
    stage.refused().await;
    let stage = Stage::new(SOON, &config, &files, &model).await;
    stage.run(stalls(begun(), &delta("word "))).await;
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    }) ^ !0
}
