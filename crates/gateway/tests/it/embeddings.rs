//! Vectors for GitLab's code search.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims, config_folder};

fn may() -> Value {
    let mut claims = claims();
    claims["scopes"] = json!(["generate_embeddings_codebase"]);
    claims
}

fn body(endpoint: &str, identifier: &str) -> Value {
    json!({
        "model_metadata": {
            "provider": "litellm", "name": "embedding", "endpoint": endpoint, "api_key": "request-key",
            "identifier": identifier,
        },
        "contents": ["puts 1", "puts 2"],
    })
}

async fn ask(world: &World, path: &str, body: &Value) -> (u16, Value) {
    let answer = world.signed(Method::POST, path, &may()).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const PATHS: [&str; 3] =
    ["/v1/embeddings/code_embeddings", "/v1/embeddings/code_embeddings/index", "/v1/embeddings/code_embeddings/search"];

#[tokio::test]
async fn trap_vectors_come_from_an_openai_compatible_server_in_the_order_of_the_texts() {
    let world = World::new(Script::Say("x".into())).await;
    for path in PATHS {
        let mut request = body(&world.upstream.url, "custom_openai/bge-m3");
        request["dimensions"] = 2.into();
        let (status, answer) = ask(&world, path, &request).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            answer,
            json!({
                "model": {"engine": "custom_openai", "name": "embedding", "identifier": "custom_openai/bge-m3"},
                "predictions": [{"embedding": [0.0, 0.5], "index": 0}, {"embedding": [1.0, 0.5], "index": 1}],
            })
        );
        let sent = world.upstream.last();
        assert_eq!(sent.path, "/v1/embeddings");
        assert_eq!(sent.headers["authorization"], "Bearer request-key");
        assert_eq!(sent.body, json!({"model": "bge-m3", "input": ["puts 1", "puts 2"], "dimensions": 2}));
    }
    let line = world.access(3).await.remove(0);
    assert_eq!(line["meta.unit_primitive"], "generate_embeddings_codebase", "{line}");
    assert_eq!(line["input_tokens"], 5, "{line}");
    let metrics = world.metrics().await;
    assert!(metrics.contains("gen_ai_operation_name=\"embeddings\""), "{metrics}");
    assert!(metrics.contains("unit_primitive=\"generate_embeddings_codebase\""), "{metrics}");
}

#[tokio::test]
async fn azure_is_asked_at_its_own_address() {
    let world = World::new(Script::Say("x".into())).await;
    let endpoint = world.upstream.url.trim_end_matches("/v1").to_owned();
    let (status, answer) = ask(&world, PATHS[0], &body(&endpoint, "azure/text-embedding-3-small")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.upstream.last().path, "/openai/v1/embeddings");
    assert_eq!(world.upstream.last().headers["api-key"], "request-key");
}

#[tokio::test]
async fn only_the_family_embedding_makes_vectors_and_only_with_its_unit_primitive() {
    let world = World::new(Script::Say("x".into())).await;
    let mut other = body(&world.upstream.url, "custom_openai/m");
    other["model_metadata"]["name"] = "mistral".into();
    let (status, answer) = ask(&world, PATHS[0], &other).await;
    assert_eq!(status, 422);
    assert!(answer["detail"][0]["msg"].as_str().unwrap().contains("'embedding'"), "{answer}");
    let request = body(&world.upstream.url, "custom_openai/m");
    let refused = world.post(PATHS[0], &request).await;
    assert_eq!(refused.status(), 403);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused, json!({"detail": "Unauthorized to access generate_embeddings_codebase"}));
    let (status, answer) = ask(&world, PATHS[0], &body(&world.upstream.url, "anthropic/claude")).await;
    assert_eq!(status, 421, "{answer}");
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn a_server_that_repeats_key_or_code_in_its_refusal_is_not_passed_on() {
    let refusal = json!({"error": {"message": "no: request-key, def a_long_and_secret_function_name"}});
    let world = World::new(Script::Status(400, vec![], refusal.to_string())).await;
    let mut request = body(&world.upstream.url, "custom_openai/m");
    request["contents"] = json!(["def a_long_and_secret_function_name"]);
    let (status, answer) = ask(&world, PATHS[1], &request).await;
    assert_eq!(status, 421, "{answer}");
    let text = answer.to_string();
    assert!(!text.contains("request-key") && !text.contains("secret_function"), "{text}");
}

type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// InvokeModel of the models that make vectors.
async fn bedrock() -> (String, Asked) {
    async fn invoke(State(asked): State<Asked>, uri: Uri, body: Bytes) -> axum::Json<Value> {
        let body: Value = serde_json::from_slice(&body).unwrap();
        asked.lock().unwrap().push((uri.path().to_owned(), body.clone()));
        axum::Json(match body["texts"].as_array() {
            Some(texts) => json!({"embeddings": vec![[0.25, 1.0]; texts.len()], "id": "x", "texts": texts}),
            None => json!({"embedding": [body["inputText"].as_str().unwrap().len(), 1], "inputTextTokenCount": 3}),
        })
    }
    let asked = Asked::default();
    let app = axum::Router::new().fallback(invoke).with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, asked)
}

#[tokio::test]
async fn bedrocks_models_are_invoked_as_each_of_them_wants() {
    let (url, asked) = bedrock().await;
    let config = format!(
        "gitlab: {{url: $ISSUER}}\nproviders: {{bedrock: {{region: us-east-1, endpoint: '{url}', credentials: true}}}}\n\
         models:\n- {{name: titan, family: embedding, identifier: 'bedrock/amazon.titan-embed-text-v2:0'}}\n\
         - {{name: cohere, family: embedding, identifier: bedrock/cohere.embed-english-v3}}\n\
         - {{name: claude, family: embedding, identifier: bedrock/anthropic.claude}}\n"
    );
    let slot = Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let made = config_folder(&config, issuer, upstream, &[("AWS_BEARER_TOKEN_BEDROCK", "bearer")]);
        settings.config_file = Some(made.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(made);
    })
    .await;
    let placeholder = "http://bedrockselfhostedmodel.com";
    let mut titan = body(placeholder, "bedrock/amazon.titan-embed-text-v2:0");
    titan["contents"] = json!(["a", "bb", "ccc"]);
    let (status, answer) = ask(&world, PATHS[0], &titan).await;
    assert_eq!(status, 200, "{answer}");
    let lengths: Vec<_> = answer["predictions"].as_array().unwrap().iter().map(|one| &one["embedding"][0]).collect();
    assert_eq!(lengths, [&json!(1.0), &json!(2.0), &json!(3.0)], "in order, although called at the same time");
    assert_eq!(asked.lock().unwrap().len(), 3);

    let cohere = body(placeholder, "bedrock/cohere.embed-english-v3");
    for (path, purpose) in PATHS.into_iter().zip(["search_document", "search_document", "search_query"]) {
        let (status, answer) = ask(&world, path, &cohere).await;
        assert_eq!(status, 200, "{answer}");
        let (path, sent) = asked.lock().unwrap().pop().unwrap();
        assert!(path.ends_with("/model/cohere.embed-english-v3/invoke"), "{path}");
        assert_eq!((&sent["texts"], &sent["input_type"]), (&json!(["puts 1", "puts 2"]), &json!(purpose)));
    }

    let (status, answer) = ask(&world, PATHS[0], &body(placeholder, "bedrock/anthropic.claude")).await;
    assert_eq!(status, 421, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("titan"), "the cure: {answer}");
}
