//! The simulated OpenAI-compatible server over the wire: vLLM's and Azure's forms, streams, refusals, faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

use std::time::Duration;

use duo_sim::{
    answers::digest,
    openai::{self, Config, FaultKind},
    upstream::{Credential, Fault, Outcome, Secret},
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// Far above what anything here takes: a bound for a hang, not for speed.
const HANG: Duration = Duration::from_secs(30);

async fn vllm() -> openai::Handle {
    openai::start(Config { served_model_names: vec!["qwen".into()], ..Config::default() }).await.unwrap()
}

async fn azure() -> openai::Handle {
    let config = Config {
        azure: true,
        served_model_names: vec!["gpt-4o".into()],
        api_keys: vec![Secret::from("azure-key")],
        ..Config::default()
    };
    openai::start(config).await.unwrap()
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(HANG).build().unwrap()
}

fn question(text: &str) -> Value {
    json!({"model": "qwen", "messages": [{"role": "user", "content": text}]})
}

async fn ask(sim: &openai::Handle, body: &Value) -> Response {
    client().post(format!("{}/chat/completions", sim.base_url())).json(body).send().await.unwrap()
}

async fn status_and_body(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The `data:` of each event, read with the rules of server-sent events.
fn data(text: &str) -> Vec<&str> {
    text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
}

fn streamed_text(events: &[&str]) -> String {
    let pieces = events.iter().filter_map(|event| {
        let event: Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    });
    pieces.collect()
}

#[tokio::test]
async fn a_whole_answer_names_model_and_question_and_counts_tokens() {
    let sim = vllm().await;
    let (status, body) = status_and_body(ask(&sim, &question("What is GitLab?")).await).await;
    assert_eq!(status, 200);
    let text = format!("This is qwen — you asked [{}]: What is GitLab?", digest("What is GitLab?"));
    assert_eq!(
        body["choices"][0]["message"],
        json!({"role": "assistant", "content": text, "refusal": null, "tool_calls": []})
    );
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["object"], "chat.completion");
    let usage = &body["usage"];
    assert_eq!(usage["prompt_tokens"], 4);
    assert_eq!(usage["total_tokens"].as_u64(), usage["completion_tokens"].as_u64().map(|tokens| tokens + 4));
}

#[tokio::test]
async fn a_stream_has_the_same_text_and_ends_with_usage_on_request_and_done() {
    let sim = vllm().await;
    let whole: Value = ask(&sim, &question("Hello?")).await.json().await.unwrap();
    for include_usage in [false, true] {
        let mut body = question("Hello?");
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": include_usage });
        let response = ask(&sim, &body).await;
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        let text = response.text().await.unwrap();
        let events = data(&text);
        assert_eq!(streamed_text(&events), whole["choices"][0]["message"]["content"].as_str().unwrap());
        assert_eq!(events.last(), Some(&"[DONE]"));
        let before_done: Value = serde_json::from_str(events[events.len() - 2]).unwrap();
        if include_usage {
            assert_eq!((&before_done["choices"], &before_done["usage"]), (&json!([]), &whole["usage"]));
        } else {
            assert_eq!(before_done["choices"][0]["finish_reason"], "stop");
        }
        let first: Value = serde_json::from_str(events[0]).unwrap();
        assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    }
}

#[tokio::test]
async fn events_arrive_cut_inside_of_them() {
    let sim = vllm().await;
    let mut body = question("Hello?");
    body["stream"] = true.into();
    let mut response = ask(&sim, &body).await;
    let mut torn = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        torn += usize::from(!chunk.ends_with(b"\n\n"));
    }
    assert!(torn > 0, "a reader that takes a network read for an event must fail");
}

#[tokio::test]
async fn completions_answer_a_prompt() {
    let sim = vllm().await;
    let body = json!({"model": "qwen", "prompt": "<|fim_prefix|>def hello_world():\n<|fim_suffix|><|fim_middle|>"});
    let post = |body: Value| client().post(format!("{}/completions", sim.base_url())).json(&body).send();
    let answer: Value = post(body.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"], "    print(\"Hello, World! (qwen)\")");
    let mut streamed = body;
    streamed["stream"] = true.into();
    let text = post(streamed).await.unwrap().text().await.unwrap();
    assert!(data(&text).iter().any(|event| event.contains("\"text\":\"    print")), "{text}");
}

#[tokio::test]
async fn models_lists_the_served_names() {
    let sim = vllm().await;
    let body: Value = client().get(format!("{}/models", sim.base_url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(body["data"][0]["id"], "qwen");
}

#[tokio::test]
async fn a_base_url_without_v1_gets_the_frameworks_404() {
    let sim = vllm().await;
    let url = format!("{}/chat/completions", sim.url());
    let response = client().post(url).json(&question("hi")).send().await.unwrap();
    assert_eq!(status_and_body(response).await, (404, json!({"detail": "Not Found"})));
}

#[tokio::test]
async fn vllm_checks_its_key_and_its_model() {
    let sim = vllm().await;
    sim.reconfigure(|config| config.api_keys = vec![Secret::from("vllm-key")]);
    let unauthorized = (401, json!({"error": "Unauthorized"}));
    assert_eq!(status_and_body(ask(&sim, &question("hi")).await).await, unauthorized);
    let url = format!("{}/chat/completions", sim.base_url());
    let post = |key: &str, body: Value| client().post(&url).bearer_auth(key).json(&body).send();
    assert_eq!(status_and_body(post("other", question("hi")).await.unwrap()).await, unauthorized);
    assert_eq!(post("vllm-key", question("hi")).await.unwrap().status(), StatusCode::OK);
    let mut unknown = question("hi");
    unknown["model"] = "llama".into();
    let (status, body) = status_and_body(post("vllm-key", unknown).await.unwrap()).await;
    assert_eq!((status, &body["error"]["type"]), (404, &json!("NotFoundError")));
    let journal = sim.journal().calls();
    assert_eq!(journal[0].credential, Credential::None);
    assert_eq!(journal[2].credential, Credential::Bearer);
    assert!(!serde_json::to_string(&journal).unwrap().contains("vllm-key"));
}

#[tokio::test]
async fn azure_has_two_doors_a_header_of_its_own_and_events_without_a_choice() {
    let sim = azure().await;
    let old = format!("{}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", sim.base_url());
    let new = format!("{}/openai/v1/chat/completions", sim.base_url());
    let post = |url: &str, key: &str, body: Value| client().post(url).header("api-key", key).json(&body).send();
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let answer: Value = post(&old, "azure-key", body.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(answer["model"], "gpt-4o");
    assert_eq!(post(&new, "azure-key", body.clone()).await.unwrap().status(), 400, "the v1 door needs a model");
    body["model"] = "gpt-4o".into();
    assert_eq!(post(&new, "azure-key", body.clone()).await.unwrap().status(), 200);
    let (status, denied) = status_and_body(post(&old, "other", body.clone()).await.unwrap()).await;
    assert_eq!((status, &denied["error"]["code"]), (401, &json!("401")));
    let elsewhere = old.replace("gpt-4o", "gpt-4");
    let (status, missing) = status_and_body(post(&elsewhere, "azure-key", body.clone()).await.unwrap()).await;
    assert_eq!((status, &missing["error"]["code"]), (404, &json!("DeploymentNotFound")));
    body["stream"] = true.into();
    let text = post(&old, "azure-key", body).await.unwrap().text().await.unwrap();
    let first: Value = serde_json::from_str(data(&text)[0]).unwrap();
    assert_eq!(first["choices"], json!([]));
    assert!(sim.journal().calls().iter().all(|call| call.credential == Credential::ApiKey));
}

#[tokio::test]
async fn http_faults_have_the_servers_own_bodies() {
    let (vllm, azure) = (vllm().await, azure().await);
    for (fault, status, code) in [
        (FaultKind::RateLimit { retry_after: Some(3), retry_after_ms: None }, 429, json!(429)),
        (FaultKind::Internal, 500, json!(500)),
        (FaultKind::Unavailable, 503, json!(503)),
        (FaultKind::ContextLength, 400, json!(400)),
        (FaultKind::StreamError { after: 2 }, 500, json!(500)),
    ] {
        vllm.faults().add(Fault::once(fault.clone()));
        let response = ask(&vllm, &question("hi")).await;
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry_after.as_deref(), (status == 429).then_some("3"));
        let (got, body) = status_and_body(response).await;
        assert_eq!((got, &body["error"]["code"]), (status, &code), "{fault:?}");
        assert_eq!(vllm.journal().calls().last().unwrap().outcome, Outcome::Faulted);
    }
    let url = format!("{}/openai/v1/chat/completions", azure.url());
    for (fault, status, code) in [
        (FaultKind::ContentFilter, 400, "content_filter"),
        (FaultKind::ContextLength, 400, "context_length_exceeded"),
        (FaultKind::RateLimit { retry_after: None, retry_after_ms: Some(250) }, 429, "429"),
    ] {
        azure.faults().add(Fault::once(fault.clone()));
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        let response = client().post(&url).header("api-key", "azure-key").json(&body).send().await.unwrap();
        let millis = response.headers().get("retry-after-ms").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(millis.as_deref(), (status == 429).then_some("250"));
        let (got, body) = status_and_body(response).await;
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{fault:?}");
    }
}

#[tokio::test]
async fn streams_break_as_told() {
    let sim = vllm().await;
    let mut body = question("hi");
    body["stream"] = true.into();
    for (fault, complete, last) in [
        (FaultKind::StreamError { after: 2 }, true, "[DONE]"),
        (FaultKind::Garbage { after: 2 }, true, "{\"id\": nonsense"),
        (FaultKind::EndEarly { after: 2 }, true, ""),
        (FaultKind::Cut { after: 2 }, false, ""),
    ] {
        sim.faults().add(Fault::once(fault.clone()));
        let response = ask(&sim, &body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.text().await;
        assert_eq!(text.is_ok(), complete, "{fault:?}");
        let text = text.unwrap_or_default();
        assert!(last.is_empty() || data(&text).last() == Some(&last), "{fault:?}: {text}");
        assert_eq!(text.contains("\"error\""), matches!(fault, FaultKind::StreamError { .. }));
        assert_eq!(text.contains("[DONE]"), matches!(fault, FaultKind::StreamError { .. }), "{text}");
    }
    sim.faults().add(Fault::once(FaultKind::Stall { after: 1 }));
    let mut stalled = ask(&sim, &body).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n\n") {
        seen.extend(stalled.chunk().await.unwrap().unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(200), stalled.chunk()).await;
    assert!(more.is_err(), "nothing more comes, the connection stays");
}

#[tokio::test]
async fn whole_answers_break_as_told() {
    let sim = vllm().await;
    sim.faults().add(Fault::once(FaultKind::Html { status: 502 }));
    let page = ask(&sim, &question("hi")).await;
    assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
    assert!(page.text().await.unwrap().starts_with("<html>"));
    sim.faults().add(Fault::once(FaultKind::Cut { after: 0 }));
    assert!(ask(&sim, &question("hi")).await.text().await.is_err());
    sim.faults().add(Fault::once(FaultKind::EndEarly { after: 0 }));
    assert!(ask(&sim, &question("hi")).await.json::<Value>().await.is_err());
    sim.faults().add(Fault::once(FaultKind::Garbage { after: 0 }));
    assert!(ask(&sim, &question("hi")).await.json::<Value>().await.is_err());
}

#[tokio::test]
async fn the_journal_tells_when_the_caller_leaves() {
    let sim = vllm().await;
    sim.reconfigure(|config| config.chunk_delay_ms = 600_000);
    for stream in [true, false] {
        let mut body = question("hi");
        body["stream"] = stream.into();
        let request = client().post(format!("{}/chat/completions", sim.base_url())).json(&body);
        let asking = tokio::spawn(async move {
            let mut response = request.send().await.unwrap();
            response.chunk().await
        });
        assert!(sim.journal().wait_until(HANG, |calls| calls.iter().any(|call| call.stream == stream)).await.is_some());
        asking.abort();
        let left = sim.journal().wait_until(HANG, |calls| {
            calls.iter().any(|call| call.stream == stream && call.outcome == Outcome::Abandoned)
        });
        assert!(left.await.is_some(), "stream: {stream}");
    }
}

#[tokio::test]
async fn the_control_plane_answers_on_the_same_port() {
    let sim = vllm().await;
    let at = |path: &str| format!("{}/_sim/{path}", sim.url());
    let http = client();
    assert_eq!(http.get(at("healthz")).send().await.unwrap().status(), StatusCode::OK);
    let fault = json!({"kind": "rate_limit", "times": 1});
    assert_eq!(http.post(at("faults")).json(&fault).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let listed: Value = http.get(at("faults")).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed[0]["kind"], "rate_limit");
    http.post(at("answers")).json(&json!([{"text": "as told"}])).send().await.unwrap();
    assert_eq!(ask(&sim, &question("hi")).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let (_, body) = status_and_body(ask(&sim, &question("hi")).await).await;
    assert_eq!(body["choices"][0]["message"]["content"], "as told");
    let journal: Value = http.get(at("journal")).send().await.unwrap().json().await.unwrap();
    assert_eq!(journal.as_array().unwrap().len(), 2, "the control plane itself is not in the journal");
    assert_eq!((&journal[0]["status"], &journal[1]["outcome"]), (&json!(429), &json!("answered")));
    http.delete(at("journal")).send().await.unwrap();
    assert!(sim.journal().calls().is_empty());
    let keys = json!({"api_keys": ["rotated"]});
    assert_eq!(http.patch(at("config")).json(&keys).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(&sim, &question("hi")).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(http.patch(at("config")).json(&json!({"apikeys": []})).send().await.unwrap().status(), 422);
    assert_eq!(http.post(at("faults")).json(&json!({"kind": "typo"})).send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn a_dropped_server_cuts_its_connections_and_frees_its_port() {
    let sim = vllm().await;
    let listen = sim.addr();
    sim.reconfigure(|config| config.chunk_delay_ms = 600_000);
    let mut body = question("hi");
    body["stream"] = true.into();
    let mut open = ask(&sim, &body).await;
    drop(sim);
    assert!(open.chunk().await.is_err());
    let again = openai::start(Config { listen, ..Config::default() }).await.unwrap();
    assert_eq!(again.addr(), listen);
}
