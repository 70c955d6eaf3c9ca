//! Named prompts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

fn explain(world: &World, stream: bool) -> Value {
    json!({
        "inputs": {"input": "explain", "selected_text": "puts 1", "language_info": "ruby", "file_content": ""},
        "prompt_version": "^1.0.0", "stream": stream, "model_metadata": world.metadata("mistral"),
    })
}

#[tokio::test]
async fn the_connection_check_passes_under_both_spellings_of_its_path() {
    let world = World::new(Script::Say("ok".into())).await;
    let body = json!({"inputs": {}, "stream": false, "model_metadata": world.metadata("mistral")});
    for path in ["/v1/prompts/model_configuration%2Fcheck", "/v1/prompts/model_configuration/check"] {
        let answer = world.post(path, &body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!("ok"));
    }
    assert!(world.upstream.last().body["max_tokens"].as_u64().unwrap() <= 16, "GitLab up to 18.9 waits 3 s");
}

#[tokio::test]
async fn v1_answers_a_bare_string_and_v2_an_object_with_counts() {
    let world = World::new(Script::Say("It prints one.".into())).await;
    let v1: Value = world.post("/v1/prompts/chat/explain_code", &explain(&world, false)).await.json().await.unwrap();
    assert_eq!(v1, json!("It prints one."));
    let v2: Value = world.post("/v2/prompts/chat/explain_code", &explain(&world, false)).await.json().await.unwrap();
    let usage = json!({"mistral": {"input_tokens": 11, "output_tokens": 7}});
    assert_eq!(v2, json!({"content": "It prints one.", "usage": usage}));
    assert!(world.upstream.last().body["messages"].to_string().contains("puts 1"));
}

#[tokio::test]
async fn streams_are_raw_text_in_v1_and_lines_in_v2_with_counts_in_the_last() {
    let world = World::new(Script::Say("It prints one.".into())).await;
    let v1 = world.post("/v1/prompts/chat/explain_code", &explain(&world, true)).await;
    assert_eq!(v1.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(v1.text().await.unwrap(), "It prints one.");
    let v2 = world.post("/v2/prompts/chat/explain_code", &explain(&world, true)).await.text().await.unwrap();
    let lines: Vec<Value> = v2.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let joined: String = lines.iter().map(|line| line["content"].as_str().unwrap()).collect();
    assert_eq!(joined, "It prints one.");
    let (last, rest) = lines.split_last().unwrap();
    assert!(rest.iter().all(|line| line.get("usage").is_none()));
    assert_eq!(last["usage"], json!({"the-model": {"input_tokens": 11, "output_tokens": 7}}));
}

#[tokio::test]
async fn refusals_of_prompts() {
    let world = World::new(Script::Say("x".into())).await;
    let unknown = world.post("/v1/prompts/no/such", &explain(&world, false)).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json::<Value>().await.unwrap(), json!({"detail": "Prompt 'no/such' not found"}));

    let mut version = explain(&world, false);
    version["prompt_version"] = "^9.0.0".into();
    assert_eq!(world.post("/v1/prompts/chat/explain_code", &version).await.status(), 400);
    version["prompt_version"] = "newest".into();
    assert_eq!(world.post("/v1/prompts/chat/explain_code", &version).await.status(), 400);

    let mut less = claims();
    less["scopes"] = json!(["duo_chat"]);
    let request = world.signed(Method::POST, "/v1/prompts/chat%2Fexplain_code", &less).json(&explain(&world, false));
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"detail": "Unauthorized to access 'chat/explain_code'"}));
}

#[tokio::test]
async fn a_reasoning_models_thoughts_and_the_blank_lines_behind_them_are_not_the_answer() {
    let world = World::new(Script::Say("<think>what does it do</think>\n\nIt prints one.".into())).await;
    for (path, stream, expected) in [
        ("/v1/prompts/chat/explain_code", false, "\"It prints one.\""),
        ("/v1/prompts/chat/explain_code", true, "It prints one."),
    ] {
        let answer = world.post(path, &explain(&world, stream)).await.text().await.unwrap();
        assert_eq!(answer, expected);
    }
}
