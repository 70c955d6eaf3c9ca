//! AWS Bedrock: the real SDK against the simulated Bedrock, which checks signatures and requests and writes real event
//! streams.

use duo_sim::bedrock::{self, EXAMPLE_ACCESS_KEY_ID, EXAMPLE_SECRET_ACCESS_KEY, FaultKind, StreamException};
use duo_sim::upstream::Fault;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Script, World, config_folder};

const MIXTRAL: &str = "bedrock/mistral.mixtral-8x7b-instruct-v0:1";
const SONNET: &str = "bedrock/anthropic.claude-3-sonnet-20240229-v1:0";

const CONFIG: &str = "
gitlab: {url: $ISSUER}
providers: {bedrock: {region: us-east-1, endpoint: $BEDROCK, credentials: true}}
models:
- name: mixtral
  family: mixtral
  identifier: bedrock/mistral.mixtral-8x7b-instruct-v0:1
  retries: {attempts: 0}
  circuitBreaker: {consecutiveFailures: 0}
- {name: sonnet, family: claude_3, identifier: 'bedrock/anthropic.claude-3-sonnet-20240229-v1:0'}
- {name: opus, family: claude_3, identifier: 'bedrock/us.anthropic.claude-opus-4-6-v1'}
";

struct Aws {
    world: World,
    bedrock: bedrock::Handle,
    folder: TempDir,
}

async fn aws(files: &[(&str, &str)]) -> Aws {
    let bedrock = bedrock::start(bedrock::Config {
        bearer_tokens: vec![duo_sim::upstream::Secret::new("bedrock-key")],
        ..bedrock::Config::default()
    })
    .await
    .unwrap();
    let config = CONFIG.replace("$BEDROCK", &bedrock.url());
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("not asked".into()), |settings, issuer, upstream| {
        let folder = config_folder(&config, issuer, upstream, files);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    Aws { world, bedrock, folder: slot.into_inner().unwrap().unwrap() }
}

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", EXAMPLE_ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", EXAMPLE_SECRET_ACCESS_KEY)];

fn metadata(family: &str, identifier: &str) -> Value {
    json!({
        "provider": "openai", "name": family, "endpoint": "http://bedrockselfhostedmodel.com", "api_key": null,
        "identifier": identifier,
    })
}

fn chat(family: &str, identifier: &str) -> Value {
    json!({
        "messages": [{"role": "user", "content": "What is a merge request?"}],
        "model_metadata": metadata(family, identifier),
    })
}

fn generation(world: &World, stream: bool) -> Value {
    let mut body = world.generation(stream);
    body["model_metadata"] = metadata("mixtral", MIXTRAL);
    body
}

fn check(family: &str, identifier: &str) -> Value {
    json!({"inputs": {}, "stream": false, "model_metadata": metadata(family, identifier)})
}

/// The status and text of the connection check.
async fn checked(world: &World, family: &str, identifier: &str) -> (u16, String) {
    let answer = world.post("/v1/prompts/model_configuration%2Fcheck", &check(family, identifier)).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_articles_scenario_is_served_whole_and_streamed() {
    let aws = aws(&KEYS).await;
    for (family, identifier) in [("mixtral", MIXTRAL), ("claude_3", SONNET)] {
        assert_eq!(checked(&aws.world, family, identifier).await.0, 200, "{family}");
        let answer = aws.world.post("/v2/chat/agent", &chat(family, identifier)).await;
        assert_eq!(answer.status(), 200, "{family}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("final_answer_delta"), "{family}: {text}");
    }
    for path in ["/v3/code/completions", "/v4/code/suggestions"] {
        let whole: Value = aws.world.post(path, &generation(&aws.world, false)).await.json().await.unwrap();
        assert!(!whole["choices"][0]["text"].as_str().unwrap().is_empty(), "{whole}");
        let stream = aws.world.post(path, &generation(&aws.world, true)).await;
        assert_eq!(stream.status(), 200);
        assert!(!stream.text().await.unwrap().is_empty());
    }
    let mut completion = aws.world.completion();
    completion["model_name"] = "mixtral".into();
    completion["model_identifier"] = MIXTRAL.into();
    completion["model_endpoint"] = "http://bedrockselfhostedmodel.com".into();
    let answer: Value = aws.world.post("/v2/code/completions", &completion).await.json().await.unwrap();
    assert!(!answer["choices"][0]["text"].as_str().unwrap().is_empty(), "{answer}");
    assert!(answer["model"]["tokens_consumption_metadata"]["input_tokens"].as_u64().unwrap() > 0);

    let line = aws.world.access(9).await.pop().unwrap();
    assert_eq!((&line["model_engine"], &line["model"]), (&json!("bedrock"), &json!("mixtral")), "{line}");
    assert!(line["input_tokens"].as_u64().unwrap() > 0);
    let calls = aws.bedrock.journal().calls();
    assert!(calls.iter().any(|call| call.operation == "Converse"));
    assert!(calls.iter().any(|call| call.operation == "ConverseStream"));
}

#[tokio::test]
async fn trap_mixtral_refuses_system_messages_so_they_are_folded_into_the_first_turn() {
    let aws = aws(&KEYS).await;
    assert_eq!(aws.world.post("/v2/chat/agent", &chat("mixtral", MIXTRAL)).await.status(), 200);
    let request = aws.bedrock.journal().calls().pop().unwrap().request;
    assert!(request.get("system").is_none(), "{request}");
    assert!(request["messages"][0]["content"][0]["text"].as_str().unwrap().contains("merge request"));

    assert_eq!(aws.world.post("/v2/chat/agent", &chat("claude_3", SONNET)).await.status(), 200);
    let request = aws.bedrock.journal().calls().pop().unwrap().request;
    assert!(request["system"][0]["text"].is_string(), "{request}");
}

#[tokio::test]
async fn trap_newer_claude_models_refuse_prefills_and_need_a_profile() {
    let aws = aws(&KEYS).await;
    let answer = aws.world.post("/v2/chat/agent", &chat("claude_3", "bedrock/us.anthropic.claude-opus-4-6-v1")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn refusals_of_bedrock_are_told_with_its_words() {
    let aws = aws(&KEYS).await;
    let cases = [
        (FaultKind::AccessDenied, 421, "403: Forbidden: AccessDeniedException"),
        (FaultKind::ExpiredToken, 421, "403: Forbidden: ExpiredTokenException"),
        (FaultKind::InternalServer, 503, "InternalServerException"),
        (FaultKind::ServiceUnavailable, 503, "ServiceUnavailableException"),
        (FaultKind::ModelError, 503, "ModelErrorException"),
        (FaultKind::ModelTimeout, 504, ""),
        (FaultKind::Html { status: 502 }, 503, "Bad Gateway"),
        (FaultKind::Html { status: 200 }, 502, ""),
    ];
    for (fault, status, part) in cases {
        for stream in [false, true] {
            aws.bedrock.faults().add(Fault::once(fault.clone()));
            let calls = aws.bedrock.journal().calls().len();
            let answer = aws.world.post("/v3/code/completions", &generation(&aws.world, stream)).await;
            let got = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            assert_eq!(got, status, "{fault:?} {stream}: {text}");
            assert!(text.contains(part) && text.contains(MIXTRAL), "{fault:?}: {text}");
            assert_eq!(aws.bedrock.journal().calls().len(), calls + 1, "{fault:?}: asked once");
        }
    }
}

#[tokio::test]
async fn trap_throttling_answers_at_once_with_retry_after_and_without_the_sdks_own_retries() {
    let aws = aws(&KEYS).await;
    for (fault, seconds) in [
        (FaultKind::Throttling { retry_after: Some(3) }, Some("3")),
        (FaultKind::Throttling { retry_after: None }, None),
        (FaultKind::ModelNotReady, None),
    ] {
        for stream in [false, true] {
            aws.bedrock.faults().add(Fault::once(fault.clone()));
            let calls = aws.bedrock.journal().calls().len();
            let answer = aws.world.post("/v4/code/suggestions", &generation(&aws.world, stream)).await;
            assert_eq!(answer.status(), 429, "{fault:?}");
            let wait = answer.headers()["retry-after"].to_str().unwrap();
            assert!(seconds.is_none_or(|seconds| seconds == wait), "{wait}");
            assert_eq!(aws.bedrock.journal().calls().len(), calls + 1, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn trap_an_exception_inside_the_stream_is_not_swallowed() {
    use StreamException::{
        InternalServerException, ModelStreamErrorException, ServiceUnavailableException, ThrottlingException,
        ValidationException,
    };
    let aws = aws(&KEYS).await;
    // before the first text it is still a status
    for (exception, status) in [
        (ValidationException, 421),
        (ThrottlingException, 429),
        (InternalServerException, 503),
        (ServiceUnavailableException, 503),
        (ModelStreamErrorException, 503),
    ] {
        for after in [0, 1] {
            aws.bedrock.faults().add(Fault::once(FaultKind::StreamException { exception, after }));
            let answer = aws.world.post("/v4/code/suggestions", &generation(&aws.world, true)).await;
            assert_eq!(answer.status(), status, "{exception:?} after {after}");
        }
    }
    // after it, the client's stream breaks off
    for fault in [
        FaultKind::StreamException { exception: ThrottlingException, after: 2 },
        FaultKind::WrongChecksum { after: 2 },
        FaultKind::Cut { after: 2 },
    ] {
        aws.bedrock.faults().add(Fault::once(fault.clone()));
        let answer = aws.world.post("/v4/code/suggestions", &generation(&aws.world, true)).await;
        assert_eq!(answer.status(), 200, "{fault:?}");
        assert!(answer.text().await.is_err(), "{fault:?} must be seen by the client");

        aws.bedrock.faults().add(Fault::once(fault.clone()));
        let text = aws.world.post("/v2/chat/agent", &chat("claude_3", SONNET)).await.text().await.unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["type"], "error", "{fault:?}: {text}");
    }
}

#[tokio::test]
async fn a_bearer_key_is_taken_from_the_folder_too() {
    let aws = aws(&[("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")]).await;
    assert_eq!(checked(&aws.world, "mixtral", MIXTRAL).await.0, 200);
}

#[tokio::test]
async fn rotated_credentials_in_the_folder_are_used_without_a_restart() {
    let aws = aws(&[("AWS_ACCESS_KEY_ID", "AKIAWRONG"), ("AWS_SECRET_ACCESS_KEY", "wrong")]).await;
    let (status, text) = checked(&aws.world, "mixtral", MIXTRAL).await;
    assert_eq!(status, 421, "{text}");
    assert!(text.contains("403"), "{text}");
    for (name, value) in KEYS {
        std::fs::write(aws.folder.path().join(name), value).unwrap();
    }
    loop {
        if checked(&aws.world, "mixtral", MIXTRAL).await.0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_model_that_nobody_granted_is_421_in_the_connection_check() {
    let aws = aws(&KEYS).await;
    aws.bedrock.reconfigure(|config| config.granted_models = vec!["anthropic.claude-3-sonnet-20240229-v1:0".into()]);
    let (status, text) = checked(&aws.world, "mixtral", MIXTRAL).await;
    assert_eq!(status, 421);
    assert!(text.contains("\"403"), "{text}");
    assert_eq!(checked(&aws.world, "claude_3", SONNET).await.0, 200);
}
