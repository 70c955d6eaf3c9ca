//! Servers that make vectors.

use serde_json::{Value, json};

use super::rows::{JSON, silences, statuses, transport};
use super::{LATE, RULES, Row, SOON, Stage, Status, Text, row};
use crate::support::raw::whole;
use crate::support::{Endpoint, Model, Step};

const NO_VECTORS: &str = "not one vector per text";

fn endpoints(model: &Model) -> Vec<Endpoint> {
    let body = json!({
        "model_metadata": {
            "provider": "litellm", "name": model.family, "endpoint": model.endpoint, "identifier": model.identifier,
        },
        "contents": ["puts 1"],
    });
    ["", "/index", "/search"]
        .map(|part| match part {
            "" => "/v1/embeddings/code_embeddings",
            "/index" => "/v1/embeddings/code_embeddings/index",
            _ => "/v1/embeddings/code_embeddings/search",
        })
        .map(|path| Endpoint { path, body: body.clone(), stream: false })
        .into()
}

/// `vectors` is an answer's body with these vectors.
fn rows(part: &'static str, vectors: fn(Value) -> Value) -> Vec<Row> {
    let say = |value: Value| vec![whole(JSON, value.to_string().as_bytes())];
    let good = vectors(json!([[0.5, 1.0]])).to_string();
    let mut rows = transport(part, "");
    rows.extend(statuses());
    rows.extend([
        row("one vector", None, say(vectors(json!([[0.5, 1.0]]))), Text("predictions")),
        row("of another type", None, vec![whole("text/plain", good.as_bytes())], Text("predictions")),
        row("half a JSON", None, vec![whole(JSON, &good.as_bytes()[..good.len() / 2])], Status(502, "")),
        row("an empty vector", None, say(vectors(json!([[]]))), Status(502, NO_VECTORS)),
        row("words for numbers", None, say(vectors(json!([["a", "b"]]))), Status(502, NO_VECTORS)),
        row(
            "shorter than it says",
            None,
            vec![Step::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{good}").into())],
            Status(503, part),
        ),
    ]);
    rows
}

async fn fail(config: &str, files: &[(&str, &str)], model: Model, rows: Vec<Row>) {
    let mut stage = Stage::new(LATE, config, files, &model).await;
    stage.endpoints = endpoints(&stage.model);
    stage.run(rows).await;
    stage.refused().await;
    let mut stage = Stage::new(SOON, config, files, &model).await;
    stage.endpoints = endpoints(&stage.model);
    stage.run(silences()).await;
}

fn openai(vectors: Value) -> Value {
    let data: Vec<Value> =
        vectors.as_array().unwrap().iter().map(|one| json!({"object": "embedding", "embedding": one})).collect();
    json!({"object": "list", "data": data, "usage": {"prompt_tokens": 5}})
}

#[tokio::test]
async fn openai_compatible_servers() {
    let config = format!(
        "models: [{{name: m, family: embedding, identifier: custom_openai/bge-m3, endpoint: '$UPSTREAM/v1', \
         apiKeyFile: key, {RULES}}}]"
    );
    let model = Model { family: "embedding", identifier: "custom_openai/bge-m3", endpoint: "$UPSTREAM/v1".into() };
    fail(&config, &[], model, rows("unavailable", openai)).await;
}

#[tokio::test]
async fn azure() {
    let config = format!(
        "models: [{{name: m, family: embedding, identifier: azure/text-embedding-3-small, endpoint: $UPSTREAM, \
         apiKeyFile: key, connection: {{apiVersion: '2024-10-21'}}, {RULES}}}]"
    );
    let model = Model { family: "embedding", identifier: "azure/text-embedding-3-small", endpoint: "$UPSTREAM".into() };
    fail(&config, &[], model, rows("unavailable", openai)).await;
}

#[tokio::test]
async fn bedrock() {
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: $UPSTREAM, credentials: true}}}}\n\
         models: [{{name: m, family: embedding, identifier: 'bedrock/amazon.titan-embed-text-v2:0', {RULES}}}]"
    );
    let model = Model {
        family: "embedding",
        identifier: "bedrock/amazon.titan-embed-text-v2:0",
        endpoint: "http://bedrockselfhostedmodel.com".into(),
    };
    let vectors = |vectors: Value| json!({"embedding": vectors[0], "inputTextTokenCount": 1});
    fail(&config, &[("AWS_BEARER_TOKEN_BEDROCK", super::KEY)], model, rows("", vectors)).await;
}
