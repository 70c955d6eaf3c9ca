//! Servers that stream server-sent events, each by its own words: OpenAI-compatible ones by their chat and by their
//! completions, Azure, Anthropic, and Vertex AI by the doors of its publishers.

use serde_json::{Value, json};

use super::rows::{JSON, SSE, chunks, stalls, statuses, transport, with};
use super::{Broken, KEY, LATE, RULES, Row, SOON, Stage, Status, Text, row};
use crate::providers::vertex::key_file;
use crate::support::raw::{begin, chunk, end, whole};
use crate::support::recorder::{Recorder, Reply};
use crate::support::{Endpoint, Model, Step};

/// How a kind of server speaks.
struct Words {
    /// A whole answer with the text `… zwölf`.
    answer: Value,
    /// A whole answer whose text is of the wrong type.
    wrong: Value,
    /// A whole answer without any text's place; what it is called.
    none: Value,
    /// What stands before a stream's first piece of text.
    lead: Vec<u8>,
    piece: fn(&str) -> Vec<u8>,
    last: Vec<u8>,
    /// An error object: under a 200, and as an event.
    error: Value,
}

fn data(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

const FIRST: &str = "Final Answer: one two three ";

fn error() -> Value {
    json!({"error": {"message": format!("CUDA out of memory {KEY}"), "code": 500, "type": "api_error"}})
}

fn openai() -> Words {
    let message = |content: Value| json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]});
    let last = data(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    Words {
        answer: message("Final Answer: zwölf".into()),
        wrong: message(5.into()),
        none: json!({"choices": []}),
        lead: Vec::new(),
        piece: |text| data(&json!({"choices": [{"index": 0, "delta": {"content": text}}]})),
        last: [&last[..], b"data: [DONE]\n\n"].concat(),
        error: error(),
    }
}

/// `/completions`, which fills gaps.
fn completions() -> Words {
    let choice = |text: Value| json!({"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]});
    Words {
        answer: choice("Final Answer: zwölf".into()),
        wrong: choice(5.into()),
        none: json!({"choices": []}),
        lead: Vec::new(),
        piece: |text| data(&json!({"choices": [{"index": 0, "text": text, "finish_reason": null}]})),
        last: [&data(&choice("".into()))[..], b"data: [DONE]\n\n"].concat(),
        error: error(),
    }
}

fn anthropic() -> Words {
    let message =
        |content: Value| json!({"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"});
    let event =
        |value: Value| [format!("event: {}\n", value["type"].as_str().unwrap()).as_bytes(), &data(&value)].concat();
    Words {
        answer: message(json!([{"type": "text", "text": "Final Answer: zwölf"}])),
        wrong: message(json!([{"type": "text", "text": 5}])),
        none: json!({"type": "message", "role": "assistant"}),
        lead: event(json!({"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 2}}})),
        piece: |text| {
            data(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
        },
        last: [
            event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})),
            event(json!({"type": "message_stop"})),
        ]
        .concat(),
        error: json!({"type": "error", "error": {"type": "api_error", "message": format!("CUDA out of memory {KEY}")}}),
    }
}

impl Words {
    fn begun(&self) -> Vec<Step> {
        // what families' readers need to see that the answer has begun
        let first = (self.piece)(&format!("<message>{FIRST}"));
        chunks(SSE, [&self.lead[..], &first[..]].into_iter().filter(|piece| !piece.is_empty()))
    }

    fn rows(&self) -> Vec<Row> {
        let not = "not a model's answer";
        let answer = self.answer.to_string();
        let error = [&b"event: error\n"[..], &data(&self.error)].concat();
        let error = &error[..];
        let half = &b"data: {\"choices\": [{\"del"[..];
        let long = Step::Endless(chunk(&[b'x'; 1 << 16]));
        let large = (self.piece)(&"x".repeat(10 << 20));
        let (split, lead, done) = ((self.piece)("Final Answer: zwölf"), &self.lead[..], &self.last[..]);
        let at = split.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
        let all = [&split[..], done].concat();
        let mut rows = transport("unavailable", not);
        rows.extend(statuses());
        rows.extend([
            row("half a JSON", Some(false), vec![whole(JSON, &answer.as_bytes()[..30])], Status(502, not)),
            row(
                "shorter than it says",
                Some(false),
                vec![Step::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{answer}").into())],
                Status(503, "unavailable"),
            ),
            row("no text", Some(false), vec![whole(JSON, self.none.to_string().as_bytes())], Status(502, not)),
            row("a number", Some(false), vec![whole(JSON, self.wrong.to_string().as_bytes())], Status(502, not)),
            row(
                "an error under a 200",
                Some(false),
                vec![whole(JSON, self.error.to_string().as_bytes())],
                Status(503, "CUDA out of memory"),
            ),
            row("whole, in pieces", Some(false), with(chunks(JSON, answer.as_bytes().chunks(7)), [end()]), Text("zw")),
            row("of another type", Some(false), vec![whole("text/plain", answer.as_bytes())], Text("zwölf")),
            row(
                "a stream of another type",
                Some(true),
                with(chunks("text/plain", [lead, &all[..]].into_iter().filter(|piece| !piece.is_empty())), [end()]),
                Text("zwölf"),
            ),
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
            row("10 MB in an event", Some(true), with(chunks(SSE, [&large[..]]), [end()]), Status(502, "")),
            // and such as break off
            row("cut", Some(true), self.begun(), Broken),
            row("reset inside", Some(true), with(self.begun(), [Step::Reset]), Broken),
            row("ended early", Some(true), with(self.begun(), [end()]), Broken),
            row("a wrong chunk", Some(true), with(self.begun(), [Step::Later("zz\r\n".into())]), Broken),
            row("half an event inside", Some(true), with(self.begun(), [Step::Later(chunk(half)), end()]), Broken),
            row("an error inside", Some(true), with(self.begun(), [Step::Later(chunk(error)), end()]), Broken),
            row(
                "a line without end inside",
                Some(true),
                with(self.begun(), [Step::Say(chunk(b"data: ")), long]),
                Broken,
            ),
            // and one that is only slow
            row(
                "a letter in two pieces",
                Some(true),
                with(
                    chunks(SSE, [lead, &split[..at], &split[at..], done].into_iter().filter(|piece| !piece.is_empty())),
                    [end()],
                ),
                Text("zwölf"),
            ),
        ]);
        rows
    }

    /// Every fault of this kind of server on the endpoints that are `asked`.
    async fn fail(&self, config: &str, files: &[(&str, &str)], model: Model, asked: fn(&Endpoint) -> bool) {
        let mut stage = Stage::new(LATE, config, files, &model).await;
        stage.endpoints.retain(asked);
        stage.run(self.rows()).await;
        if stage.endpoints.len() > 20 {
            stage.checked().await;
        }
        stage.refused().await;

        let mut stage = Stage::new(SOON, config, files, &model).await;
        stage.endpoints.retain(asked);
        let mut rows = stalls(self.begun(), &(self.piece)("word "));
        let pings = with(chunks(SSE, []), [Step::Drip(chunk(b": ping\n\n"))]);
        rows.push(row("only pings", Some(true), pings, Status(504, "Request Timeout")));
        stage.run(rows).await;
    }
}

fn all(_: &Endpoint) -> bool {
    true
}

fn completes(endpoint: &Endpoint) -> bool {
    let kind = &endpoint.body["prompt_components"][0]["type"];
    matches!(endpoint.path, "/v2/code/completions" | "/v2/completions") || kind == "code_editor_completion"
}

#[tokio::test]
async fn openai_compatible_servers() {
    let config = format!(
        "models: [{{name: m, family: mistral, identifier: custom_openai/the-model, endpoint: '$UPSTREAM/v1', \
         apiKeyFile: key, {RULES}}}]"
    );
    let model = Model { family: "mistral", identifier: "custom_openai/the-model", endpoint: "$UPSTREAM/v1".into() };
    openai().fail(&config, &[], model, all).await;
}

#[tokio::test]
async fn servers_that_fill_gaps() {
    let config = format!(
        "models: [{{name: m, family: codestral, identifier: custom_openai/the-model, endpoint: '$UPSTREAM/v1', \
         apiKeyFile: key, connection: {{completionApi: Completions}}, {RULES}}}]"
    );
    let model = Model { family: "codestral", identifier: "custom_openai/the-model", endpoint: "$UPSTREAM/v1".into() };
    completions().fail(&config, &[], model, completes).await;
}

#[tokio::test]
async fn azure() {
    let config = format!(
        "models: [{{name: m, family: gpt, identifier: azure/gpt-4o, endpoint: $UPSTREAM, apiKeyFile: key, \
         connection: {{apiVersion: '2024-10-21'}}, {RULES}}}]"
    );
    let model = Model { family: "gpt", identifier: "azure/gpt-4o", endpoint: "$UPSTREAM".into() };
    openai().fail(&config, &[], model, all).await;
}

#[tokio::test]
async fn anthropics_own_door() {
    let config = format!(
        "models: [{{name: m, family: claude_3, identifier: anthropic/claude-sonnet-4, endpoint: $UPSTREAM, \
         apiKeyFile: key, {RULES}}}]"
    );
    let model = Model { family: "claude_3", identifier: "anthropic/claude-sonnet-4", endpoint: "$UPSTREAM".into() };
    anthropic().fail(&config, &[], model, all).await;
}

/// Vertex AI, whose access token is the key that servers repeat.
async fn vertex(words: Words, family: &'static str, identifier: &'static str) {
    let google = Recorder::start(|_| Reply::json(json!({"access_token": KEY, "expires_in": 3599}))).await;
    let file = key_file(&format!("{}/token", google.url));
    let config = format!(
        "providers: {{vertexAi: {{project: p-1, location: europe-west1, endpoint: $UPSTREAM, credentialsFile: g.json}}}}\n\
         models: [{{name: m, family: {family}, identifier: {identifier}, {RULES}}}]"
    );
    let model = Model { family, identifier, endpoint: "http://bedrockselfhostedmodel.com".into() };
    words.fail(&config, &[("g.json", &file)], model, all).await;
}

#[tokio::test]
async fn claude_on_vertex_ai() {
    vertex(anthropic(), "claude_3", "vertex_ai/claude-sonnet-4").await;
}

#[tokio::test]
async fn gemini_on_vertex_ai() {
    vertex(openai(), "gemini", "vertex_ai/gemini-2.5-pro").await;
}
