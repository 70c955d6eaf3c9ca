//! `POST /v1/chat/…`: what GitLab's documentation tells administrators to test a model with.

use serde_json::{Value, json};

use crate::support::{Script, World, claims};

fn body(world: &World, content: Value) -> Value {
    json!({"prompt_components": [{
        "type": "string", "metadata": {"source": "string", "version": "string"},
        "payload": {
            "content": content, "provider": "litellm", "model": "mistral", "model_endpoint": world.upstream.url,
            "model_api_key": "request-key", "model_identifier": "custom_openai/the-model",
        },
    }]})
}

#[tokio::test]
async fn trap_the_documentations_test_call_is_answered_whole_and_in_pieces() {
    let world = World::new(Script::Say("four and more".into())).await;
    let mut request = body(&world, "two and two?".into());
    let answer = world.post("/v1/chat/agent", &request).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["response"], "four and more");
    assert_eq!((&answer["metadata"]["provider"], &answer["metadata"]["model"]), (&json!("litellm"), &json!("mistral")));
    assert!(answer["metadata"]["timestamp"].is_i64());
    let sent = world.upstream.last();
    assert_eq!(sent.body["messages"], json!([{"role": "user", "content": "two and two?"}]));
    assert_eq!(sent.body["model"], "the-model");

    request["stream"] = true.into();
    let answer = world.post("/v1/chat/agent", &request).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(answer.text().await.unwrap(), "four and more");
}

#[tokio::test]
async fn messages_and_parameters_reach_the_model() {
    let world = World::new(Script::Say("x".into())).await;
    let mut request =
        body(&world, json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "explain"}]));
    request["prompt_components"][0]["payload"]["params"] =
        json!({"stop_sequences": ["END"], "temperature": 0.7, "max_tokens_to_sample": 99});
    assert_eq!(world.post("/v1/chat/explain_code", &request).await.status(), 200);
    let sent = world.upstream.last().body;
    assert_eq!((&sent["max_tokens"], &sent["stop"]), (&json!(99), &json!(["END"])));
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn each_needs_its_own_unit_primitive_and_an_unknown_one_is_not_found() {
    let world = World::new(Script::Say("x".into())).await;
    let request = body(&world, "x".into());
    for name in [
        "explain_code",
        "write_tests",
        "refactor_code",
        "explain_vulnerability",
        "summarize_comments",
        "troubleshoot_job",
    ] {
        let mut may = claims();
        for (scopes, status) in [(json!(["duo_chat"]), 403), (json!([name]), 200)] {
            may["scopes"] = scopes;
            let path = format!("/v1/chat/{name}");
            let answer = world.signed(reqwest::Method::POST, &path, &may).json(&request).send().await.unwrap();
            assert_eq!(answer.status(), status, "{name}");
        }
    }
    let answer = world.post("/v1/chat/fix_code", &request).await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"detail": "Not found"}));
}
