//! Bodies that are not what they should be.

use duo_gateway::MAX_BODY;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

async fn world() -> World {
    World::new(Script::Say("x".into())).await
}

#[tokio::test]
async fn what_is_not_json_is_422_with_a_list_that_gitlab_reads() {
    let world = world().await;
    let text = world.completion().to_string();
    for (name, kind, body) in [
        ("text/plain", Some("text/plain"), text.clone()),
        ("no content type", None, text.clone()),
        ("half a JSON", Some("application/json"), text[..40].to_owned()),
        ("a list", Some("application/json"), "[]".to_owned()),
        ("nothing", Some("application/json"), String::new()),
    ] {
        for path in ["/v2/code/completions", "/v3/code/completions", "/v2/chat/agent", "/v1/prompts/chat/explain_code"]
        {
            let mut request = world.signed(Method::POST, path, &claims()).body(body.clone());
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 422, "{name} {path}");
            let body: Value = answer.json().await.unwrap();
            assert!(body["detail"][0]["msg"].is_string(), "{name} {path}: {body}");
        }
    }
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn trap_a_422_repeats_neither_the_body_nor_the_key() {
    let world = world().await;
    let mut body = world.completion();
    body["prompt_version"] = 9.into();
    body["current_file"]["file_name"] = json!({"secret": "swordfish"});
    let request = world
        .signed(Method::POST, "/v2/code/completions", &claims())
        .header("x-gitlab-enabled-instance-verbose-ai-logs", "true");
    let text = request.json(&body).send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("swordfish") && !text.contains("request-key") && !text.contains("def hello"), "{text}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_declared_or_not() {
    let world = world().await;
    let big = vec![b' '; MAX_BODY + 1];
    let request =
        || world.signed(Method::POST, "/v2/code/completions", &claims()).header("content-type", "application/json");
    let declared = request().body(big.clone()).send().await.unwrap();
    assert_eq!(declared.status(), 413);
    let stream = futures::stream::iter(
        big.chunks(1 << 16).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    );
    let undeclared = request().body(reqwest::Body::wrap_stream(stream)).send().await;
    // the server may answer and close before the client has sent all
    if let Ok(answer) = undeclared {
        assert_eq!(answer.status(), 413);
    }
    let fits = request().body(vec![b' '; MAX_BODY]).send().await.unwrap();
    assert_eq!(fits.status(), 422);
}

#[tokio::test]
async fn trap_an_unknown_family_is_refused_instead_of_going_to_another_model() {
    let world = world().await;
    for change in [
        json!({"name": "nonsense"}),
        json!({"name": null}),
        json!({"identifier": ""}),
        json!({"identifier": "bedrock/"}),
        json!({"endpoint": "not a url"}),
        json!({"endpoint": "x".repeat(300)}),
        json!({"provider": "gitlab"}),
    ] {
        let mut body = world.generation(false);
        for (field, value) in change.as_object().unwrap() {
            body["model_metadata"][field] = value.clone();
        }
        let answer = world.post("/v3/code/completions", &body).await;
        assert_eq!(answer.status(), 422, "{change}");
        assert!(answer.json::<Value>().await.unwrap()["detail"][0]["msg"].is_string(), "{change}");
    }
    let mut none = world.generation(false);
    none.as_object_mut().unwrap().remove("model_metadata");
    assert_eq!(world.post("/v3/code/completions", &none).await.status(), 422);
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn a_kind_of_server_that_is_not_served_is_421_by_name() {
    let world = world().await;
    let mut body = world.completion();
    body["model_identifier"] = "vertex_ai/gemini-2".into();
    let answer = world.post("/v2/code/completions", &body).await;
    assert_eq!(answer.status(), 421);
    assert!(answer.text().await.unwrap().contains("vertex_ai"));
}

#[tokio::test]
async fn trap_an_empty_conversation_is_422_and_not_500() {
    let world = world().await;
    let body = json!({"messages": [], "model_metadata": world.metadata("mistral")});
    assert_eq!(world.post("/v2/chat/agent", &body).await.status(), 422);
    let body = json!({"inputs": [], "model_metadata": world.metadata("mistral")});
    assert_eq!(world.post("/v1/prompts/chat/explain_code", &body).await.status(), 422);
}
