//! Code completion and generation, in every form GitLab has used.

use crate::support::{Script, World, claims};
use reqwest::Method;
use serde_json::{Value, json};

fn say(text: &str) -> Script {
    Script::Say(text.into())
}

#[tokio::test]
async fn the_end_to_end_probe_of_gitlab_gets_its_choice() {
    let world = World::new(say("\n  puts 'hi'\nend")).await;
    for path in ["/v2/code/completions", "/v2/completions"] {
        let answer = world.post(path, &world.completion()).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["x-process-time"].to_str().unwrap().parse::<f64>().is_ok());
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["choices"][0]["text"], "\n  puts 'hi'\nend");
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!((&body["id"], &body["object"]), (&json!("id"), &json!("text_completion")));
        assert_eq!(body["model"]["name"], "mistral");
        assert_eq!(body["model"]["lang"], "ruby");
        assert_eq!(body["model"]["tokens_consumption_metadata"]["output_tokens"], 7);
    }
    let sent = world.upstream.last();
    assert_eq!(sent.path, "/v1/chat/completions");
    assert_eq!(sent.headers["authorization"], "Bearer request-key");
    assert_eq!(sent.body["model"], "the-model");
    assert!(sent.body["messages"].to_string().contains("def hello_world"));
}

#[tokio::test]
async fn without_a_key_the_model_server_gets_the_dummy_key() {
    let world = World::new(say("x")).await;
    let mut body = world.completion();
    body["model_api_key"] = Value::Null;
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    assert_eq!(world.upstream.last().headers["authorization"], "Bearer dummy_key");
}

#[tokio::test]
async fn an_empty_answer_gives_no_choices() {
    let world = World::new(say("")).await;
    let body: Value = world.post("/v2/code/completions", &world.completion()).await.json().await.unwrap();
    assert_eq!(body["choices"], json!([]));
    assert_eq!(body["model"]["tokens_consumption_metadata"], Value::Null);
}

#[tokio::test]
async fn a_file_without_language_and_extension_asks_no_model() {
    let world = World::new(say("x")).await;
    let mut body = world.completion();
    body["current_file"]["file_name"] = "notes".into();
    let body: Value = world.post("/v2/code/completions", &body).await.json().await.unwrap();
    assert_eq!(body["choices"], json!([]));
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn v2_and_v3_streams_are_raw_text() {
    let world = World::new(say("puts 'hello there'")).await;
    let mut completion = world.completion();
    completion["stream"] = true.into();
    for (path, body) in [
        ("/v2/code/completions", completion.clone()),
        ("/v2/code/generations", {
            completion["prompt"] = "write hello".into();
            completion
        }),
        ("/v3/code/completions", world.generation(true)),
    ] {
        let answer = world.post(path, &body).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8", "{path}");
        let text = answer.text().await.unwrap();
        assert_eq!(text.trim_start(), "puts 'hello there'", "{path}");
        assert_eq!(world.upstream.last().body["stream"], true);
    }
}

#[tokio::test]
async fn v4_streams_server_sent_events_in_the_order_clients_rely_on() {
    let world = World::new(say("puts 'hello there'")).await;
    let answer = world.post("/v4/code/suggestions", &world.generation(true)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-streaming-format"], "sse");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    let events: Vec<(&str, Value)> = text
        .split("\r\n\r\n")
        .filter(|event| !event.is_empty())
        .map(|event| {
            let (name, data) = event.split_once("\r\n").unwrap();
            let name = name.strip_prefix("event: ").expect("event before data");
            (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.first(), Some(&"stream_start"));
    assert_eq!(names.last(), Some(&"stream_end"));
    assert!(names[1..names.len() - 1].iter().all(|name| *name == "content_chunk"), "{names:?}");
    assert_eq!(events[0].1["metadata"]["model"]["name"], "mistral");
    assert_eq!(events.last().unwrap().1, Value::Null);
    let joined: String = events
        .iter()
        .filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(joined, "puts 'hello there'");
}

#[tokio::test]
async fn v3_and_v4_answer_whole_when_no_stream_is_asked_for() {
    let world = World::new(say("```ruby\nputs 1\n```")).await;
    for path in ["/v3/code/completions", "/v4/code/suggestions"] {
        let body: Value = world.post(path, &world.generation(false)).await.json().await.unwrap();
        assert_eq!(body["choices"][0]["text"], "puts 1\n", "{path}");
        assert_eq!(body["metadata"]["model"]["lang"], "ruby");
    }
    let mut completion = world.generation(false);
    completion["prompt_components"][0]["type"] = "code_editor_completion".into();
    assert_eq!(world.post("/v3/code/completions", &completion).await.status(), 200);
}

#[tokio::test]
async fn generations_of_older_gitlabs_are_served() {
    let world = World::new(say("puts 1")).await;
    let mut body = world.completion();
    body["prompt"] = "print one".into();
    let answer: Value = world.post("/v2/code/generations", &body).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"].as_str().unwrap().trim(), "puts 1");
    assert!(world.upstream.last().body["messages"].to_string().contains("print one"));
    body["prompt"] = Value::Null;
    assert_eq!(world.post("/v2/code/generations", &body).await.status(), 422);
}

#[tokio::test]
async fn each_endpoint_wants_its_unit_primitive() {
    let world = World::new(say("x")).await;
    let mut nothing = claims();
    nothing["scopes"] = json!([]);
    let mut completion = world.generation(false);
    completion["prompt_components"][0]["type"] = "code_editor_completion".into();
    for (path, body, text) in [
        ("/v2/code/completions", world.completion(), "Unauthorized to access code completions"),
        ("/v2/code/generations", world.completion(), "Unauthorized to access code generations"),
        ("/v3/code/completions", world.generation(false), "Unauthorized to access code suggestions"),
        ("/v4/code/suggestions", completion, "Unauthorized to access code suggestions"),
    ] {
        let answer = world.signed(Method::POST, path, &nothing).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "detail": text }));
    }
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn azure_gets_its_deployment_as_model_and_its_key_in_its_own_header() {
    let world = World::new(say("x")).await;
    let mut body = world.completion();
    body["model_identifier"] = "azure/my-deployment".into();
    body["model_name"] = "gpt".into();
    body["model_endpoint"] = world.upstream.url.trim_end_matches("/v1").into();
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    let sent = world.upstream.last();
    assert_eq!(sent.path, "/openai/v1/chat/completions");
    assert_eq!(sent.headers["api-key"], "request-key");
    assert!(!sent.headers.contains_key("authorization"));
    assert_eq!(sent.body["model"], "my-deployment");
}

#[tokio::test]
async fn a_generation_ends_at_its_closing_tag_and_does_not_wait_for_what_follows() {
    let world = World::new(Script::SayAndStall(vec!["puts 1\n</new_", "code>\nThis code"])).await;
    let text = world.post("/v4/code/suggestions", &world.generation(true)).await.text().await.unwrap();
    assert!(text.contains("puts 1") && text.contains("event: stream_end"), "{text}");
    assert!(!text.contains("This code"), "{text}");
    world.upstream.cancelled().await;
}

/// A completion inside of a function whose end stands behind the cursor.
fn inside_a_function(world: &World, stream: bool) -> Value {
    let mut body = world.completion();
    body["current_file"] =
        json!({"file_name": "a.go", "content_above_cursor": "func a() {\n\t", "content_below_cursor": "\n}\n"});
    body["stream"] = stream.into();
    body
}

#[tokio::test]
async fn a_completion_ends_with_the_block_around_the_cursor() {
    let world = World::new(say("```go\nx()\n\ty()\n}\n\nfunc b() {\n}\n```")).await;
    let answer = world.post("/v2/code/completions", &inside_a_function(&world, false)).await;
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["choices"][0]["text"], "x()\n\ty()");
    let mut v3 = world.generation(false);
    v3["prompt_components"][0]["type"] = "code_editor_completion".into();
    for (name, value) in inside_a_function(&world, false)["current_file"].as_object().unwrap() {
        v3["prompt_components"][0]["payload"][name] = value.clone();
    }
    let body: Value = world.post("/v3/code/completions", &v3).await.json().await.unwrap();
    assert_eq!(body["choices"][0]["text"], "x()\n\ty()");
}

#[tokio::test]
async fn a_streamed_completion_stops_the_model_when_its_block_ends() {
    let world = World::new(Script::SayAndStall(vec!["x()\n", "\ty()\n}", "\n\nfunc b() {\n"])).await;
    let text = world.post("/v2/code/completions", &inside_a_function(&world, true)).await.text().await.unwrap();
    assert_eq!(text, "x()\n\ty()");
    world.upstream.cancelled().await;
}

#[tokio::test]
async fn a_completion_that_only_talks_gives_no_choice() {
    let world = World::new(say("// Nothing is missing here.\n// The function is complete.")).await;
    let answer = world.post("/v2/code/completions", &inside_a_function(&world, false)).await;
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["choices"], json!([]));
}
