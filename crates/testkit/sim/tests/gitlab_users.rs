//! Users who ask: which model GitLab picks, what it sends, and what the user sees of every failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use std::time::Duration;

use duo_sim::gitlab::{Ask, Config, Handle, Pace, Version, What, start};
use gitlab_support::*;
use serde_json::json;

async fn ready(version: Version) -> (Handle, Gateway) {
    patient(version, Duration::from_secs(60)).await
}

async fn patient(version: Version, timeout: Duration) -> (Handle, Gateway) {
    let pace = Pace { retry_base: Duration::from_millis(1), timeout: Some(timeout), ..Pace::default() };
    let gitlab = start(Config { pace, ..config(version) }).await.unwrap();
    let gateway = Gateway::start().await;
    use_gateway(&gitlab, &gateway);
    let mut input = bedrock("claude");
    if !version.has_model_provider() {
        input = json!({"name": "claude", "model": "CLAUDE_3", "endpoint": "http://bedrockselfhostedmodel.com",
                       "identifier": "bedrock/anthropic.claude-3"});
    }
    let id = create(&gitlab, input).await;
    for feature in ["DUO_CHAT", "CODE_COMPLETIONS", "CODE_GENERATIONS", "GENERATE_COMMIT_MESSAGE"] {
        assign(&gitlab, feature, &id).await;
    }
    (gitlab, gateway)
}

fn delta(text: &str) -> String {
    format!("{}\n", json!({"type": "final_answer_delta", "data": {"text": text, "finish_reason": null}}))
}

fn action(tool: &str) -> String {
    let data = json!({"tool": tool, "tool_input": "#1", "thought": "look"});
    format!("{}\n", json!({"type": "action", "data": data}))
}

const NDJSON: &str = "application/x-ndjson; charset=utf-8";

#[tokio::test]
async fn a_completion_carries_the_model_flat_as_litellm() {
    for version in [OLD, NEW] {
        let (gitlab, gateway) = ready(version).await;
        let body = json!({"choices": [{"text": "puts 1", "index": 0, "finish_reason": "length"}]});
        gateway.then(200, "application/json", body);
        let outcome = gitlab.ask(What::CodeCompletion, &Ask::default()).await;
        assert_eq!((outcome.ok, outcome.text.as_str()), (true, "puts 1"), "{outcome:?}");
        let seen = gateway.last();
        assert_eq!(seen.path, "/v2/code/completions");
        assert_eq!((&seen.body["model_provider"], &seen.body["model_name"]), (&json!("litellm"), &json!("claude_3")));
        assert_eq!(seen.body["model_identifier"], "bedrock/anthropic.claude-3");
        assert_eq!(seen.body["prompt_version"], 2);
        assert!(seen.body.get("model_api_key").is_none(), "blank ones are absent");
        assert_eq!(seen.body.get("model_endpoint").is_some(), version == OLD);
        assert_eq!(seen.body["intent"], "completion", "the editor's own parameters are merged in");
    }
}

#[tokio::test]
async fn a_generation_is_v4_sse_or_v3() {
    let (gitlab, gateway) = ready(NEW).await;
    let stream = "event: stream_start\r\ndata: {\"metadata\":{}}\r\n\r\n: ping\r\n\r\nevent: content_chunk\r\n\
                  data: {\"choices\":[{\"delta\":{\"content\":\"def a\"},\"index\":0}]}\r\n\r\n\
                  event: stream_end\r\ndata: null\r\n\r\n";
    gateway.then(200, "text/event-stream", stream);
    let outcome = gitlab.ask(What::CodeGeneration, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.text.as_str()), (true, "def a"), "{outcome:?}");
    let seen = gateway.last();
    assert_eq!(seen.path, "/v4/code/suggestions");
    let component = &seen.body["prompt_components"][0];
    assert_eq!(
        (&component["type"], &component["payload"]["language_identifier"]),
        (&json!("code_editor_generation"), &json!("Ruby"))
    );
    assert_eq!(seen.body["model_metadata"]["provider"], "openai");

    gateway.then(200, "application/json", json!({"choices": [{"text": "def b"}]}));
    let outcome = gitlab.ask(What::CodeGeneration, &Ask { sse: false, ..Ask::default() }).await;
    assert_eq!((outcome.text.as_str(), gateway.last().path.as_str()), ("def b", "/v3/code/completions"));
}

#[tokio::test]
async fn a_stream_without_its_end_is_no_answer() {
    let (gitlab, gateway) = ready(NEW).await;
    let stream = "event: stream_start\ndata: {}\n\nevent: content_chunk\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    gateway.then(200, "text/event-stream", stream);
    let outcome = gitlab.ask(What::CodeGeneration, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.error.as_deref()), (false, Some("the stream ended without stream_end")));
}

#[tokio::test]
async fn chat_runs_tools_until_there_is_an_answer() {
    let (gitlab, gateway) = ready(NEW).await;
    gitlab.edit(|state| {
        state.resources.entry("issue_reader".to_owned()).or_default().insert("#1".to_owned(), "It is slow.".to_owned());
    });
    gateway.then(200, NDJSON, action("issue_reader")).then(200, NDJSON, delta("Hel") + &delta("lo"));
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.text.as_str()), (true, "Hello"), "{outcome:?}");
    assert_eq!(outcome.tools, [("issue_reader".to_owned(), "#1".to_owned(), "It is slow.".to_owned())]);
    let seen = gateway.last();
    assert_eq!(seen.path, "/v2/chat/agent");
    assert_eq!(seen.body["unavailable_resources"], json!(["Pipelines", "Vulnerabilities"]));
    let last = seen.body["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        last,
        json!({"role": "assistant", "agent_scratchpad": [{"action": {"thought": "look",
        "tool": "issue_reader", "tool_input": "#1"}, "observation": "It is slow."}]})
    );
}

#[tokio::test]
async fn chat_gives_up_after_ten_turns() {
    let (gitlab, gateway) = ready(NEW).await;
    for _ in 0..20 {
        gateway.then(200, NDJSON, action("issue_reader"));
    }
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.calls.len()), (false, 10));
}

#[tokio::test]
async fn chat_failures_have_gitlabs_codes() {
    let error = |message: &str, retryable: bool| {
        format!("{}\n", json!({"type": "error", "data": {"message": message, "retryable": retryable}}))
    };
    let (gitlab, gateway) = ready(NEW).await;
    let cases = [
        (200, String::new(), "A1002", 1),
        (403, json!({"detail": "Unauthorized to access duo chat"}).to_string(), "M3006", 1),
        (401, json!({"error": "Forbidden by auth provider"}).to_string(), "A1001", 1),
        (200, error("prompt is too long", false), "A1005", 1),
        (200, action("shell"), "A1006", 1),
    ];
    for (status, body, code, calls) in cases {
        gateway.then(status, NDJSON, body.clone());
        let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
        assert_eq!((outcome.error_code.as_deref(), outcome.calls.len()), (Some(code), calls), "{body}");
    }
    gateway.then(200, NDJSON, error("busy", true)).then(200, NDJSON, error("busy", true)).then(
        200,
        NDJSON,
        delta("ok"),
    );
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.calls.len()), (true, 3), "a retryable error is tried twice more");
}

#[tokio::test]
async fn no_bytes_in_time_is_a1000_and_a_refused_connection_is_not() {
    let (gitlab, _gateway) = patient(NEW, Duration::from_millis(500)).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    gitlab.edit(|state| state.settings.ai_gateway_url = Some(url));
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!(outcome.error_code.as_deref(), Some("A1000"), "{outcome:?}");
    drop(silent);
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!(outcome.error_code.as_deref(), Some("A1001"), "{outcome:?}");
    assert!(outcome.error.unwrap().contains("Connection refused"));
}

#[tokio::test]
async fn explain_streams_raw_text_from_its_prompt() {
    let (gitlab, gateway) = ready(NEW).await;
    gateway.then(200, "text/event-stream", "It prints hello.");
    let outcome = gitlab.ask(What::ExplainCode, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.text.as_str()), (true, "It prints hello."));
    let seen = gateway.last();
    assert_eq!(seen.path, "/v1/prompts/chat/explain_code");
    assert_eq!((&seen.body["stream"], &seen.body["prompt_version"]), (&json!(true), &json!("^1.0.0")));
    assert_eq!(seen.body["inputs"]["selected_text"], "puts 'hello'");
}

#[tokio::test]
async fn trap_an_explicit_unassigned_row_stops_the_fall_back_to_duo_chat() {
    let (gitlab, gateway) = ready(NEW).await;
    gateway.then(200, "text/event-stream", "explained");
    let outcome = gitlab.ask(What::ExplainCode, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.model.as_deref()), (true, Some("claude")), "no row: Duo Chat's model");
    let input = json!({"features": ["DUO_CHAT_EXPLAIN_CODE"], "provider": "UNASSIGNED", "aiSelfHostedModelId": null});
    admin(&gitlab, ASSIGN, json!({"input": input})).await;
    let outcome = gitlab.ask(What::ExplainCode, &Ask::default()).await;
    assert_eq!(outcome.error.as_deref(), Some("Code Explanation has no model assigned"));
}

#[tokio::test]
async fn a_disabled_feature_and_a_user_without_a_seat_are_refused_before_any_call() {
    let (gitlab, gateway) = ready(NEW).await;
    let input = json!({"features": ["DUO_CHAT"], "provider": "DISABLED"});
    admin(&gitlab, ASSIGN, json!({"input": input})).await;
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    assert_eq!(outcome.error.as_deref(), Some("General Chat is disabled for this instance"));
    let ask = Ask { user: "duo-operator".to_owned(), ..Ask::default() };
    assert!(!gitlab.ask(What::CodeCompletion, &ask).await.ok, "no seat");
    assert_eq!(gateway.count(), 0);
}

#[tokio::test]
async fn a_429_is_tried_again_and_5xx_opens_the_circuit_breaker_for_calls_that_are_not_streamed() {
    let (gitlab, gateway) = ready(NEW).await;
    gateway.then(429, "application/json", "{}").then(429, "application/json", "{}");
    gateway.then(200, "application/json", "\"Fix the greeting\"");
    let outcome = gitlab.ask(What::CommitMessage, &Ask::default()).await;
    assert_eq!((outcome.text.as_str(), outcome.calls.len()), ("Fix the greeting", 3), "{outcome:?}");
    for _ in 0..8 {
        gateway.then(503, "application/json", "{}");
    }
    let mut last = outcome;
    for _ in 0..8 {
        last = gitlab.ask(What::CommitMessage, &Ask::default()).await;
    }
    assert_eq!(last.error.as_deref(), Some("the circuit breaker of the AI gateway is open"), "{last:?}");
}

#[tokio::test]
async fn every_call_carries_the_headers_of_rails_and_a_token_of_the_instance() {
    let (gitlab, gateway) = ready(OLD).await;
    gateway.then(200, NDJSON, delta("hi"));
    let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
    let headers = gateway.last().headers;
    for name in [
        "x-gitlab-instance-id",
        "x-gitlab-realm",
        "x-gitlab-host-name",
        "x-gitlab-version",
        "x-gitlab-global-user-id",
        "x-gitlab-rails-send-start",
        "x-gitlab-enabled-instance-verbose-ai-logs",
        "x-gitlab-deployment-type",
    ] {
        assert!(headers.contains_key(name), "{name}");
    }
    assert_eq!(headers["x-request-id"].to_str().unwrap(), outcome.calls[0].request_id);
    let token = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
    assert_eq!(token.split('.').count(), 3);
    let journal = serde_json::to_string(&gitlab.journal().since(0)).unwrap();
    assert!(journal.contains("/v2/chat/agent") && !journal.contains(token));
}

#[tokio::test]
async fn a_direct_connection_uses_the_token_that_the_gateway_minted() {
    let (gitlab, gateway) = ready(NEW).await;
    gateway.then(200, "application/json", json!({"token": "minted.by.gateway", "expires_at": 4_000_000_000_u64}));
    gateway.then(200, "application/json", json!({"choices": [{"text": "puts 2"}]}));
    let outcome = gitlab.ask(What::DirectCompletion, &Ask::default()).await;
    assert_eq!((outcome.ok, outcome.text.as_str()), (true, "puts 2"), "{outcome:?}");
    let seen = gateway.seen.lock().unwrap().clone();
    assert_eq!((seen[0].path.as_str(), &seen[0].body), ("/v1/code/user_access_token", &json!(null)));
    assert_eq!(
        (seen[1].path.as_str(), seen[1].headers["authorization"].to_str().unwrap()),
        ("/v2/completions", "Bearer minted.by.gateway")
    );
    gateway.then(403, "application/json", json!({"detail": "Unauthorized to create user access token"}));
    assert!(!gitlab.ask(What::DirectCompletion, &Ask::default()).await.ok);
}
