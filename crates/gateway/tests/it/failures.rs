//! Model servers that fail, on every endpoint.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{self, Model, Script, World, claims};

/// Every endpoint with a body that asks a model, with and without a stream.
fn endpoints(world: &World) -> Vec<(&'static str, Value)> {
    let endpoint = world.upstream.url.clone();
    let model = Model { family: "mistral", identifier: "custom_openai/the-model", endpoint };
    support::endpoints(world, &model).into_iter().map(|one| (one.path, one.body)).collect()
}

fn refused(status: u16, message: &str) -> Script {
    Script::Status(status, vec![], json!({"error": {"message": message}}).to_string())
}

/// Every call is made, once.
const ONE_CALL: &str = "
gitlab: {url: $ISSUER}
models:
- name: vllm
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM
  retries: {attempts: 0}
  circuitBreaker: {consecutiveFailures: 0}
";

#[tokio::test]
async fn trap_a_failing_model_is_told_with_model_and_cause_and_never_as_a_bare_500() {
    let (world, _folder) = World::configured(ONE_CALL, &[], Script::Silent).await;
    for (script, status, part) in [
        (refused(400, "bad stop"), 421, "400: Bad Request"),
        (refused(401, "who?"), 421, "401: Unauthorized"),
        (refused(403, "no"), 421, "403: Forbidden"),
        (refused(404, "no such model"), 421, "404: Not Found"),
        (refused(500, "boom"), 503, "boom"),
        (refused(503, "later"), 503, "later"),
        (refused(504, ""), 504, ""),
        (Script::Status(200, vec![("content-type", "text/html")], "<html>login</html>".into()), 502, "HTML"),
        (Script::Status(302, vec![("location", "http://169.254.169.254/")], String::new()), 421, "302"),
    ] {
        world.upstream.script(script);
        for (path, body) in endpoints(&world) {
            let calls = world.upstream.received().len();
            let answer = world.post(path, &body).await;
            assert_eq!(answer.status(), status, "{path} {part}");
            let detail = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(part), "{path}: {detail}");
            assert!(detail.contains("custom_openai/the-model"), "{path}: {detail}");
            assert_eq!(world.upstream.received().len(), calls + 1, "{path}: one call and no storm of them");
        }
    }
}

#[tokio::test]
async fn trap_retry_after_reaches_the_caller() {
    let (world, _folder) =
        World::configured(ONE_CALL, &[], Script::Status(429, vec![("retry-after", "7")], String::new())).await;
    for (path, body) in endpoints(&world) {
        let answer = world.post(path, &body).await;
        assert_eq!(answer.status(), 429, "{path}");
        assert_eq!(answer.headers()["retry-after"], "7", "{path}");
    }
    world.upstream.script(Script::Status(429, vec![("retry-after-ms", "1200")], String::new()));
    let answer = world.post("/v2/code/completions", &world.completion()).await;
    assert_eq!(answer.headers()["retry-after"], "2", "Azure's milliseconds, rounded up");
    world.upstream.script(Script::Status(429, vec![], String::new()));
    let answer = world.post("/v2/code/completions", &world.completion()).await;
    assert!(answer.headers().contains_key("retry-after"), "a time is named even where the server names none");
}

#[tokio::test]
async fn the_connection_check_is_always_421() {
    let world = World::new(Script::Silent).await;
    for (script, start) in [
        (refused(404, "no such model"), "404"),
        (refused(500, "boom"), "500"),
        (Script::Status(429, vec![], String::new()), "429"),
        (Script::Status(200, vec![], "<html>".into()), "502"),
    ] {
        world.upstream.script(script);
        let body = json!({"inputs": {}, "stream": false, "model_metadata": world.metadata("mistral")});
        let answer = world.post("/v1/prompts/model_configuration%2Fcheck", &body).await;
        assert_eq!(answer.status(), 421);
        let detail = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(start), "{detail}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_503_at_once_and_one_that_is_silent_504_in_time() {
    let world = World::new(Script::Silent).await;
    let mut body = world.completion();
    // a port that was free a moment ago
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    body["model_endpoint"] = format!("http://{free}/v1").into();
    let answer = world.post("/v2/code/completions", &body).await;
    assert_eq!(answer.status(), 503);
    let detail = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("efused") && !detail.contains(&free.to_string()), "{detail}");
    // nobody is asked at what is no address, so no server has failed
    body["model_endpoint"] = "http://[/v1".into();
    let answer = world.post("/v2/code/completions", &body).await;
    assert_eq!(answer.status(), 421, "{}", answer.text().await.unwrap());

    let config = "gitlab: {url: $ISSUER}\nundeclaredModels: Allow\nrequestTimeoutSeconds: 1";
    let folder = std::sync::Mutex::new(None);
    let world = World::with(Script::Silent, |settings, issuer, upstream| {
        let made = crate::support::config_folder(config, issuer, upstream, &[]);
        settings.config_file = Some(made.path().join("config.yaml"));
        *folder.lock().unwrap() = Some(made);
    })
    .await;
    let world = &world;
    let calls = endpoints(world).into_iter().map(|(path, body)| async move {
        assert_eq!(world.post(path, &body).await.status(), 504, "{path}");
    });
    futures::future::join_all(calls).await;
}

#[tokio::test]
async fn a_stream_must_begin_within_the_time_to_first_byte() {
    let config =
        "gitlab: {url: $ISSUER}\nundeclaredModels: Allow\nrequestTimeoutSeconds: 3600\nfirstByteTimeoutSeconds: 1";
    let folder = std::sync::Mutex::new(None);
    let world = World::with(Script::Silent, |settings, issuer, upstream| {
        let made = crate::support::config_folder(config, issuer, upstream, &[]);
        settings.config_file = Some(made.path().join("config.yaml"));
        *folder.lock().unwrap() = Some(made);
    })
    .await;
    assert_eq!(world.post("/v4/code/suggestions", &world.generation(true)).await.status(), 504);
    world.upstream.cancelled().await;
}

#[tokio::test]
async fn trap_a_stream_that_breaks_off_is_never_passed_on_as_complete() {
    let (world, _folder) = World::configured(ONE_CALL, &[], Script::Silent).await;
    for script in [
        Script::BreakOff(vec!["one ", "two "]),
        Script::EndEarly(vec!["one ", "two "]),
        Script::ErrorInside(vec!["one ", "two "]),
    ] {
        world.upstream.script(script);
        let mut raw = world.completion();
        raw["stream"] = true.into();
        for (path, body) in [
            ("/v2/code/completions", raw),
            ("/v3/code/completions", world.generation(true)),
            ("/v4/code/suggestions", world.generation(true)),
            (
                "/v1/prompts/chat/explain_code",
                json!({
                    "inputs": {}, "stream": true, "model_metadata": world.metadata("mistral"),
                }),
            ),
        ] {
            let mut answer = world.post(path, &body).await;
            assert_eq!(answer.status(), 200, "{path}");
            let mut text = Vec::new();
            let end = loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                    end => break end,
                }
            };
            assert!(end.is_err(), "{path}: the client must see that it broke off");
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains("stream_end"), "{path}: {text}");
        }
    }
    let line = world.access(1).await.remove(0);
    assert_eq!(line["status_code"], 200);
    assert!(line["exception_message"].as_str().unwrap().contains("broke off"), "{line}");
    let logged: Vec<Value> = world.logs.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(logged.iter().any(|line| line["message"] == "Model call failed" && line["level"] == "warning"));
}

#[tokio::test]
async fn a_chat_whose_stream_breaks_off_ends_with_an_error_line() {
    let world = World::new(Script::EndEarly(vec!["Final Answer: ", "one "])).await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    let text = world.post("/v2/chat/agent", &body).await.text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "error", "{text}");
    assert!(last["data"]["message"].as_str().unwrap().contains("custom_openai/the-model"), "{text}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_model_call_with_it() {
    // while the answer streams
    let world = World::new(Script::Stall).await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    let mut answer = world.post("/v2/chat/agent", &body).await;
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    world.upstream.cancelled().await;
    let line = world.access(1).await.remove(0);
    assert_eq!((&line["client_disconnected"], &line["finish_reason"]), (&json!(true), &json!("cancelled")), "{line}");

    // before it has begun
    let world = World::new(Script::Silent).await;
    let request = world.signed(Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
    let given_up = request.timeout(Duration::from_millis(300)).send().await;
    assert!(given_up.unwrap_err().is_timeout());
    world.upstream.cancelled().await;
    assert_eq!(world.access(1).await.remove(0)["status_code"], 499);
}

#[tokio::test]
async fn failures_are_counted_by_class() {
    let world = World::new(Script::Status(429, vec![], String::new())).await;
    world.post("/v2/code/completions", &world.completion()).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("error=\"yes\",error_type=\"overloaded\""), "{metrics}");
}

#[tokio::test]
async fn streaming_can_be_switched_off_towards_the_model_server() {
    let world = World::with(Script::Say("puts 'hello'".into()), |settings, _, _| {
        settings.custom_models.disable_streaming = true;
        settings.custom_models.extra_headers = vec![("x-tenant".parse().unwrap(), "blue".parse().unwrap())];
    })
    .await;
    let text = world.post("/v4/code/suggestions", &world.generation(true)).await.text().await.unwrap();
    assert!(text.contains("puts 'hello'") && text.contains("stream_end"), "{text}");
    let sent = world.upstream.last();
    assert!(sent.body.get("stream").is_none());
    assert_eq!(sent.headers["x-tenant"], "blue");
}
