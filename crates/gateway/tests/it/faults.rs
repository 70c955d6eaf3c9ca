//! Model servers whose answers are broken in transport or form: each fault on every endpoint. What a fault leads to is
//! settled by its row: a status with a `detail` that names model and cause, or a stream that is visibly broken off.

use duo_sim::bedrock::eventstream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::raw::{begin, chunk, end, whole};
use crate::support::{Endpoint, Model, Raw, Script, Step, World, config_folder, endpoints};

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// What the client sees.
enum Seen {
    /// The status, and words of the cause.
    Status(u16, &'static str),
    /// A 200 whose body is broken off, or ends with the chat's error line.
    Broken,
    /// All of it.
    Text(&'static str),
}
use Seen::{Broken, Status, Text};

/// Each fault is seen as it is: no call is made again, none is held back.
const OPENAI: &str = "
models:
- name: vllm
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM/v1
  retries: {attempts: 0}
  circuitBreaker: {consecutiveFailures: 0}
";

struct Row {
    name: &'static str,
    /// For endpoints that ask for a stream (true), for the others (false), or for all.
    stream: Option<bool>,
    steps: Vec<Step>,
    seen: Seen,
}

fn row(name: &'static str, stream: Option<bool>, steps: Vec<Step>, seen: Seen) -> Row {
    Row { name, stream, steps, seen }
}

/// A world whose model server is made of bytes; every call may take so many seconds.
async fn world(seconds: u32, models: &str) -> (World, Raw, TempDir) {
    let raw = Raw::start().await;
    let config =
        format!("gitlab: {{url: $ISSUER}}\nundeclaredModels: Allow\nrequestTimeoutSeconds: {seconds}\n{models}");
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Silent, |settings, issuer, _| {
        let files = [
            ("AWS_ACCESS_KEY_ID", duo_sim::bedrock::EXAMPLE_ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", duo_sim::bedrock::EXAMPLE_SECRET_ACCESS_KEY),
        ];
        let folder = config_folder(&config, issuer, &raw.url, &files);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    (world, raw, slot.into_inner().unwrap().unwrap())
}

async fn run(world: &World, raw: &Raw, model: &Model, rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for row in rows {
        raw.script(row.steps);
        let asked =
            endpoints(world, model).into_iter().filter(|one| row.stream.is_none_or(|stream| one.stream == stream));
        let checks = asked.map(|endpoint| {
            let (name, seen) = (row.name, &row.seen);
            async move { check(world, model, &endpoint, seen).await.err().map(|why| (name, endpoint, why)) }
        });
        for (name, endpoint, why) in futures::future::join_all(checks).await.into_iter().flatten() {
            wrong.push(format!("{name}, {} (stream {}): {why}", endpoint.path, endpoint.stream));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check(world: &World, model: &Model, endpoint: &Endpoint, expected: &Seen) -> Result<(), String> {
    let mut answer = world.post(endpoint.path, &endpoint.body).await;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let ok = match expected {
        Status(expected, part) => {
            let detail = serde_json::from_str::<Value>(&text).unwrap_or_default()["detail"].clone();
            let detail = detail.as_str().unwrap_or_default();
            status == *expected && detail.contains(model.identifier) && detail.contains(part) && !broken
        }
        Broken if endpoint.tells_errors() => {
            let last = text.lines().last().unwrap_or_default();
            let line = serde_json::from_str::<Value>(last).unwrap_or_default();
            let message = line["data"]["message"].as_str().unwrap_or_default();
            status == 200 && line["type"] == "error" && message.contains(model.identifier)
        }
        Broken => status == 200 && broken && !text.contains("stream_end"),
        Text(part) => status == 200 && !broken && text.contains(part),
    };
    if ok { Ok(()) } else { Err(format!("{status} (broken off: {broken}) {}", &text[..text.len().min(300)])) }
}

/// Steps that make each of these a chunk that comes for itself.
fn chunks<'a>(kind: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
    std::iter::once(begin(kind)).chain(pieces.into_iter().map(|piece| Step::Later(chunk(piece)))).collect()
}

fn with(mut steps: Vec<Step>, more: impl IntoIterator<Item = Step>) -> Vec<Step> {
    steps.extend(more);
    steps
}

/// Time for a call where the fault is that it takes too long, and where it is not.
const SOON: u32 = 3;
const LATE: u32 = 600;

/// Faults that only time brings to light: before the first piece and after it.
fn stalls(begun: Vec<Step>, word: &[u8]) -> Vec<Row> {
    vec![
        row("silent", None, vec![Step::Hang], Status(504, "Request Timeout")),
        row("a head and then silence", None, vec![begin(JSON), Step::Hang], Status(504, "Request Timeout")),
        row("stalled", Some(true), with(begun.clone(), [Step::Hang]), Broken),
        row("never at its end", Some(true), with(begun, [Step::Drip(chunk(word))]), Broken),
    ]
}

/// Faults of any server on HTTP's own level.
fn transport(part: &'static str) -> Vec<Row> {
    vec![
        row("closed without a word", None, vec![], Status(503, part)),
        row("reset", None, vec![Step::Reset], Status(503, part)),
        row("half a head", None, vec![Step::Say("HTTP/1.1 200 OK\r\ncont".into())], Status(503, part)),
        row("not HTTP", None, vec![Step::Say("SSH-2.0-OpenSSH_9.6\r\n".into())], Status(503, part)),
        row(
            "a head without end",
            None,
            vec![Step::Say("HTTP/1.1 200 OK\r\n".into()), Step::Endless("x: y\r\n".repeat(1000).into())],
            Status(503, part),
        ),
        row(
            "a page",
            Some(false),
            vec![whole("text/html", b"<!doctype html><title>Sign in</title>")],
            Status(502, "not a model's answer"),
        ),
        row("nothing", Some(false), vec![whole(JSON, b"")], Status(502, "not a model's answer")),
        row("a list", Some(false), vec![whole(JSON, b"[1]")], Status(502, "not a model's answer")),
        row("an empty object", Some(false), vec![whole(JSON, b"{}")], Status(502, "not a model's answer")),
        row(
            "not UTF-8",
            Some(false),
            vec![whole(JSON, b"{\"choices\": \"\xff\xfe\"}")],
            Status(502, "not a model's answer"),
        ),
        row(
            "an answer without end",
            Some(false),
            vec![begin(JSON), Step::Endless(chunk(&[b' '; 1 << 16]))],
            Status(502, "not a model's answer"),
        ),
    ]
}

fn event(text: &str) -> Vec<u8> {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]})).into_bytes()
}

fn stop() -> Vec<u8> {
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    format!("data: {last}\n\ndata: [DONE]\n\n").into_bytes()
}

#[tokio::test]
async fn openai_servers() {
    let (world, raw, _folder) = world(LATE, OPENAI).await;
    let model = Model { family: "mistral", identifier: "custom_openai/the-model", endpoint: format!("{}/v1", raw.url) };
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Final Answer: zwölf"}, "finish_reason": "stop"}]})
        .to_string();
    let first = event("Final Answer: one two three ");
    let begun = || chunks(SSE, [&first[..]]);
    let error = &b"data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n"[..];
    let half = &b"data: {\"choices\": [{\"del"[..];
    let long = Step::Endless(chunk(&[b'x'; 1 << 16]));
    let split = event("Final Answer: zwölf");
    let at = split.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let done = stop();

    let mut rows = transport("unavailable");
    rows.extend([
        row(
            "half a JSON",
            Some(false),
            vec![whole(JSON, &answer.as_bytes()[..30])],
            Status(502, "not a model's answer"),
        ),
        row(
            "shorter than it says",
            Some(false),
            vec![Step::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{answer}").into())],
            Status(503, "unavailable"),
        ),
        row("no choices", Some(false), vec![whole(JSON, br#"{"choices": []}"#)], Status(502, "not a model's answer")),
        row(
            "a number for text",
            Some(false),
            vec![whole(JSON, br#"{"choices": [{"message": {"content": 5}}]}"#)],
            Status(502, "not a model's answer"),
        ),
        row(
            "an error under a 200",
            Some(false),
            vec![whole(JSON, br#"{"error": {"message": "CUDA out of memory", "code": 500}}"#)],
            Status(503, "CUDA out of memory"),
        ),
        row("whole, in pieces", Some(false), with(chunks(JSON, answer.as_bytes().chunks(7)), [end()]), Text("zw")),
        // streams that never begin
        row("an empty stream", Some(true), with(chunks(SSE, []), [end()]), Status(502, "an empty body")),
        row("half an event", Some(true), with(chunks(SSE, [half]), [end()]), Status(502, "")),
        row("not JSON", Some(true), with(chunks(SSE, [&b"data: <html>\n\n"[..]]), [end()]), Status(502, "")),
        row("an error first", Some(true), with(chunks(SSE, [error]), [end()]), Status(503, "CUDA out of memory")),
        row(
            "a line without end",
            Some(true),
            vec![begin(SSE), Step::Say(chunk(b"data: ")), long.clone()],
            Status(502, ""),
        ),
        // and such as break off
        row("cut", Some(true), begun(), Broken),
        row("reset inside", Some(true), with(begun(), [Step::Reset]), Broken),
        row("ended early", Some(true), with(begun(), [end()]), Broken),
        row("a wrong chunk", Some(true), with(begun(), [Step::Later("zz\r\n".into())]), Broken),
        row("half an event inside", Some(true), with(begun(), [Step::Later(chunk(half)), end()]), Broken),
        row("an error inside", Some(true), with(begun(), [Step::Later(chunk(error)), end()]), Broken),
        row("a line without end inside", Some(true), with(begun(), [Step::Say(chunk(b"data: ")), long]), Broken),
        // and one that is only slow
        row(
            "a letter in two pieces",
            Some(true),
            with(chunks(SSE, [&split[..at], &split[at..], &done[..]]), [end()]),
            Text("zwölf"),
        ),
    ]);
    run(&world, &raw, &model, rows).await;

    let (world, raw, _folder) = self::world(SOON, OPENAI).await;
    let model = Model { endpoint: format!("{}/v1", raw.url), ..model };
    let mut rows = stalls(begun(), &event("word "));
    let pings = with(chunks(SSE, []), [Step::Drip(chunk(b": ping\n\n"))]);
    rows.push(row("only pings", Some(true), pings, Status(504, "Request Timeout")));
    run(&world, &raw, &model, rows).await;
}

#[tokio::test]
async fn bedrock() {
    let models = "
providers: {bedrock: {region: us-east-1, endpoint: $UPSTREAM, credentials: true}}
models:
- name: sonnet
  family: claude_3
  identifier: bedrock/anthropic.claude-3-sonnet-20240229-v1:0
  retries: {attempts: 0}
  circuitBreaker: {consecutiveFailures: 0}
";
    let (world, raw, _folder) = world(LATE, models).await;
    let model = Model {
        family: "claude_3",
        identifier: "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
        endpoint: "http://bedrockselfhostedmodel.com".into(),
    };
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
    let throttled = eventstream::exception("throttlingException", &json!({"message": "slow down"}));
    let begun = || chunks(FRAMES, [&start[..], &piece[..]]);
    let inside = |bytes: &[u8]| Step::Later(chunk(bytes));
    let split = delta("Final Answer: zwölf");
    let at = split.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let answer = json!({
        "metrics": {"latencyMs": 1}, "output": {"message": {"role": "assistant", "content": [{"text": "x"}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    })
    .to_string();

    let mut rows = transport("");
    rows.extend([
        row("half a JSON", Some(false), vec![whole(JSON, &answer.as_bytes()[..30])], Status(502, "")),
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
    run(&world, &raw, &model, rows).await;

    let (world, raw, _folder) = self::world(SOON, models).await;
    run(&world, &raw, &model, stalls(begun(), &delta("word "))).await;
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    }) ^ !0
}
