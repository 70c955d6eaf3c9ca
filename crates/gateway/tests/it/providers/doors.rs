//! How servers are spoken to beyond a good day: keys, addresses, refusals, the prompt cache's switch.

use duo_protocol::capability::adapt;
use duo_protocol::family::Family;
use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure};
use serde_json::json;

use super::{Stand, complete, completion, conversation, golden, patient, stream};
use crate::support::recorder::{Recorder, Reply};

fn model(line: &str) -> String {
    format!("models: [{{name: m, {line}}}]")
}

#[tokio::test]
async fn a_place_that_cannot_be_called_says_so_and_leaves_the_others_alone() {
    let server = Recorder::start(golden::answer).await;
    let config = format!(
        "models:\n\
         - {{name: a, family: mistral, identifier: custom_openai/a, endpoint: '{0}/v1', apiKeyFile: bad}}\n\
         - {{name: b, family: mistral, identifier: custom_openai/b, endpoint: 'http://[half/v1'}}\n\
         - {{name: c, family: gpt, identifier: custom_openai/c, endpoint: '{0}/v1', connection: {{completionApi: Completions}}}}\n\
         - {{name: d, family: gemini, identifier: vertex_ai/gemini-2.5-pro}}\n\
         - {{name: e, family: general, identifier: bedrock_mantle/e}}\n\
         - {{name: f, family: mistral, identifier: custom_openai/f, endpoint: '{0}/v1'}}",
        server.url
    );
    let stand = Stand::new(&config, &[("bad", "key\u{7}of the place")]);
    for (at, code, words) in [
        (0, 401, "characters that HTTP cannot carry"),
        (1, 400, "not a URL"),
        (2, 400, "completionApi"),
        (3, 400, "providers.vertexAi"),
        (4, 401, "Bedrock API key"),
    ] {
        for failure in [
            complete(&stand.places[at], conversation()).await.unwrap_err(),
            stream(&stand.places[at], conversation()).await.unwrap_err(),
        ] {
            let text = failure.to_string();
            assert!(text.starts_with(&code.to_string()) && text.contains(words), "{at}: {text}");
            assert!(!text.contains("of the place"), "{text}");
        }
    }
    complete(&stand.places[5], conversation()).await.unwrap();
    assert_eq!(server.noted().len(), 1);
}

#[tokio::test]
async fn trap_the_accounts_api_key_is_not_sent_to_an_address_that_the_model_names() {
    let server = Recorder::start(golden::answer).await;
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, credentials: true}}}}\n\
         models: [{{name: m, family: general, identifier: bedrock_mantle/m, endpoint: '{}/v1'}}]",
        server.url
    );
    let stand = Stand::new(&config, &[("AWS_BEARER_TOKEN_BEDROCK", "account-key")]);
    assert!(complete(stand.place(), conversation()).await.is_err());
    assert!(server.noted().is_empty());
}

#[tokio::test]
async fn old_servers_are_asked_for_token_counts_once_only() {
    let server = Recorder::start(|noted| {
        if noted.json().get("stream_options").is_some() {
            return Reply::json(json!({"detail": "Unrecognized field: stream_options"})).status(422);
        }
        golden::answer(noted)
    })
    .await;
    let config = model(&format!("family: mistral, identifier: custom_openai/m, endpoint: '{}/v1'", server.url));
    let stand = Stand::new(&config, &[]);
    for calls in [2, 3] {
        stream(stand.place(), conversation()).await.unwrap();
        assert_eq!(server.noted().len(), calls);
    }
}

#[tokio::test]
async fn anthropics_refusals_keep_their_status_and_lose_the_key() {
    let table = [
        (400, "invalid_request_error", "max_tokens: too large", Some(400)),
        (401, "authentication_error", "invalid x-api-key: sk-swordfish-1", Some(401)),
        (404, "not_found_error", "model: claude-x", Some(404)),
        (529, "overloaded_error", "Overloaded", Some(529)),
        (429, "rate_limit_error", "slow down", None),
    ];
    for (status, kind, message, wanted) in table {
        let error = json!({"type": "error", "error": {"type": kind, "message": message}});
        let server = Recorder::start(move |_| Reply::json(&error).status(status)).await;
        let config = model(&format!(
            "family: claude_3, identifier: anthropic/claude-x, endpoint: '{}', apiKeyFile: key",
            server.url
        ));
        let stand = Stand::new(&config, &[("key", "sk-swordfish-1")]);
        let failure = complete(stand.place(), conversation()).await.unwrap_err();
        let code = match &failure {
            UpstreamFailure::Status { code, .. } => Some(*code),
            UpstreamFailure::Throttled { .. } => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, wanted, "{failure}");
        assert!(!failure.to_string().contains("swordfish"), "{failure}");
    }
}

#[tokio::test]
async fn the_prompt_cache_can_be_switched_off_for_a_model_and_for_a_call() {
    let server = Recorder::start(golden::answer).await;
    let config = format!(
        "models:\n\
         - {{name: on, family: claude_3, identifier: anthropic/claude-sonnet-4-5, endpoint: '{0}'}}\n\
         - {{name: off, family: claude_3, identifier: anthropic/claude-sonnet-4-5, endpoint: '{0}/', promptCaching: false, connection: {{}}}}",
        server.url
    );
    let config = config.replace(&format!("{}/'", server.url), &format!("{}/off'", server.url));
    let stand = Stand::new(&config, &[]);
    let marked = || server.last().json().to_string().contains("cache_control");
    complete(&stand.places[0], conversation()).await.unwrap();
    assert!(marked());
    complete(&stand.places[1], conversation()).await.unwrap();
    assert!(!marked(), "the model's switch");
    let request = adapt(conversation(), &stand.places[0].capability);
    let without = duo_gateway::upstream::CallOptions { prompt_cache: false, ..patient() };
    stand.places[0].complete(&request, &without).await.unwrap();
    assert!(!marked(), "the request's header");
}

#[tokio::test]
async fn a_chat_goes_to_the_chat_also_where_completions_have_an_api_of_their_own() {
    let server = Recorder::start(golden::answer).await;
    let config = model(&format!(
        "family: codestral, identifier: custom_openai/m, endpoint: '{}/v1', connection: {{completionApi: Completions}}",
        server.url
    ));
    let stand = Stand::new(&config, &[]);
    complete(stand.place(), conversation()).await.unwrap();
    assert_eq!(server.last().target, "/v1/chat/completions");
    complete(stand.place(), completion(Family::Codestral)).await.unwrap();
    assert_eq!(server.last().target, "/v1/completions");
    assert!(
        server.last().json()["prompt"].as_str().unwrap().starts_with("[SUFFIX]"),
        "the tokenizer writes <s> itself"
    );
}

#[tokio::test]
async fn a_guardrails_words_are_the_answer_and_its_end_is_told() {
    let server = Recorder::start(|noted| {
        if noted.target.ends_with("/converse") {
            return Reply::json(json!({
                "output": {"message": {"role": "assistant", "content": [{"text": "This topic is blocked."}]}},
                "stopReason": "guardrail_intervened", "metrics": {"latencyMs": 1},
                "usage": {"inputTokens": 1, "outputTokens": 0, "totalTokens": 1},
            }));
        }
        golden::answer(noted)
    })
    .await;
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: '{}', credentials: true}}}}\n\
         models: [{{name: m, family: claude_3, identifier: bedrock/anthropic.claude-3-haiku-20240307-v1:0}}]",
        server.url
    );
    let guardrail = duo_gateway_config::Guardrail {
        identifier: "gr".into(),
        version: "DRAFT".into(),
        trace: None,
        stream_processing: None,
    };
    let stand = Stand::with(&config, &[("AWS_BEARER_TOKEN_BEDROCK", "k")], None, |settings| {
        settings.providers.guardrail = Some(guardrail);
    });
    let answer = complete(stand.place(), conversation()).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("This topic is blocked.", StopReason::ContentFiltered));
    let sent = &server.last().json()["guardrailConfig"];
    assert_eq!(*sent, json!({"guardrailIdentifier": "gr", "guardrailVersion": "DRAFT", "trace": "disabled"}));
    let events = stream(stand.place(), conversation()).await.unwrap();
    assert!(events.contains(&ModelEvent::Stop(StopReason::ContentFiltered)), "{events:?}");
}
