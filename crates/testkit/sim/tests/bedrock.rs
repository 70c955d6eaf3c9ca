//! The simulated Bedrock as AWS's own SDK for Rust sees it: whole and streamed answers, refusals, faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod common;

use std::time::Duration;

use aws_sdk_bedrockruntime::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        ConverseStreamOutput, InferenceConfiguration, StopReason, SystemContentBlock,
        error::ConverseStreamOutputError as Exception,
    },
};
use common::{MIXTRAL, client, client_in, client_with_token, start, user};
use duo_sim::{
    answers::digest,
    bedrock::{self, AccessKey, Config, FaultKind, StreamException},
    upstream::{Credential, Fault, Outcome, Secret},
};

const CLAUDE_3: &str = "anthropic.claude-3-sonnet-20240229-v1:0";
/// Far above what anything here takes: a bound for a hang, not for speed.
const HANG: Duration = Duration::from_secs(30);

async fn ask(client: &Client, model: &str, text: &str) -> Result<String, (String, u16)> {
    match client.converse().model_id(model).messages(user(text)).send().await {
        Ok(output) => {
            let message = output.output.unwrap().as_message().unwrap().clone();
            Ok(message.content.iter().map(|block| block.as_text().unwrap().clone()).collect())
        }
        Err(error) => Err(code_and_status(&error)),
    }
}

fn code_and_status<E: ProvideErrorMetadata + std::fmt::Debug>(
    error: &SdkError<E, aws_sdk_bedrockruntime::config::http::HttpResponse>,
) -> (String, u16) {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (error.code().unwrap_or_default().to_owned(), status)
}

struct Streamed {
    text: String,
    events: Vec<&'static str>,
    stop: Option<StopReason>,
    tokens: Option<(i32, i32, i32)>,
    error: Option<String>,
}

async fn stream(client: &Client, model: &str, text: &str) -> Streamed {
    let output = client.converse_stream().model_id(model).messages(user(text)).send().await.unwrap();
    let mut events = output.stream;
    let mut seen = Streamed { text: String::new(), events: Vec::new(), stop: None, tokens: None, error: None };
    loop {
        match tokio::time::timeout(HANG, events.recv()).await.unwrap() {
            Ok(Some(event)) => seen.events.push(match event {
                ConverseStreamOutput::MessageStart(_) => "messageStart",
                ConverseStreamOutput::ContentBlockDelta(delta) => {
                    seen.text.push_str(delta.delta.unwrap().as_text().unwrap());
                    "contentBlockDelta"
                }
                ConverseStreamOutput::ContentBlockStop(_) => "contentBlockStop",
                ConverseStreamOutput::MessageStop(stop) => {
                    seen.stop = Some(stop.stop_reason);
                    "messageStop"
                }
                ConverseStreamOutput::Metadata(metadata) => {
                    let usage = metadata.usage.unwrap();
                    seen.tokens = Some((usage.input_tokens, usage.output_tokens, usage.total_tokens));
                    "metadata"
                }
                other => panic!("unexpected event {other:?}"),
            }),
            Ok(None) => return seen,
            Err(error) => {
                // for exceptions inside a stream the SDK fills no code: the variant is all there is
                seen.error = Some(match error.as_service_error() {
                    Some(Exception::InternalServerException(_)) => "InternalServerException".to_owned(),
                    Some(Exception::ModelStreamErrorException(inner)) => {
                        assert_eq!(inner.original_status_code, Some(500));
                        "ModelStreamErrorException".to_owned()
                    }
                    Some(Exception::ValidationException(_)) => "ValidationException".to_owned(),
                    Some(Exception::ThrottlingException(_)) => "ThrottlingException".to_owned(),
                    Some(Exception::ServiceUnavailableException(_)) => "ServiceUnavailableException".to_owned(),
                    _ => "transport".to_owned(),
                });
                return seen;
            }
        }
    }
}

#[tokio::test]
async fn a_whole_answer_names_model_and_question_and_counts_tokens() {
    let sim = start().await;
    let output = client(&sim, &AccessKey::example())
        .converse()
        .model_id(CLAUDE_3)
        .system(SystemContentBlock::Text("Be brief.".to_owned()))
        .messages(user("What is GitLab?"))
        .send()
        .await
        .unwrap();
    let text = output.output.unwrap().as_message().unwrap().content[0].as_text().unwrap().clone();
    assert_eq!(text, format!("This is {CLAUDE_3} — you asked [{}]: What is GitLab?", digest("What is GitLab?")));
    assert_eq!(output.stop_reason, StopReason::EndTurn);
    let usage = output.usage.unwrap();
    assert_eq!(usage.input_tokens, 6, "four pieces of the question, two of the system text");
    assert_eq!(usage.total_tokens, usage.input_tokens + usage.output_tokens);
    assert!(output.metrics.unwrap().latency_ms > 0);
}

#[tokio::test]
async fn a_streamed_answer_has_the_same_text_and_the_documented_order() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    let seen = stream(&client, MIXTRAL, "What is GitLab?").await;
    assert_eq!(seen.text, ask(&client, MIXTRAL, "What is GitLab?").await.unwrap());
    assert_eq!(seen.events[0], "messageStart");
    let deltas = seen.events.iter().filter(|event| **event == "contentBlockDelta").count();
    assert!(deltas > 3, "{deltas}");
    assert_eq!(seen.events[1 + deltas..], ["contentBlockStop", "messageStop", "metadata"]);
    assert_eq!(seen.stop, Some(StopReason::EndTurn));
    let (input, output, total) = seen.tokens.unwrap();
    assert!(input > 0 && output > 0 && total == input + output);
}

#[tokio::test]
async fn the_token_limit_and_stop_sequences_end_an_answer() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    for (config, text, reason) in [
        (InferenceConfiguration::builder().max_tokens(2).build(), "This is", StopReason::MaxTokens),
        (InferenceConfiguration::builder().stop_sequences(" mistral").build(), "This is", StopReason::StopSequence),
    ] {
        let request = client.converse().model_id(MIXTRAL).messages(user("hi")).inference_config(config);
        let output = request.send().await.unwrap();
        assert_eq!(output.output.unwrap().as_message().unwrap().content[0].as_text().unwrap(), text);
        assert_eq!(output.stop_reason, reason);
    }
}

#[tokio::test]
async fn an_empty_answer_has_no_content_block() {
    let sim = start().await;
    sim.script().next_answer("");
    sim.script().next_answer("");
    let client = client(&sim, &AccessKey::example());
    assert_eq!(ask(&client, CLAUDE_3, "hi").await, Ok(String::new()));
    let seen = stream(&client, CLAUDE_3, "hi").await;
    assert_eq!(seen.events, ["messageStart", "messageStop", "metadata"]);
}

#[tokio::test]
async fn arns_and_inference_profiles_reach_their_model_through_the_doubly_encoded_path() {
    let mut config = Config::default();
    config.application_profiles.push(("team1".to_owned(), CLAUDE_3.to_owned()));
    let sim = bedrock::start(config).await.unwrap();
    let client = client(&sim, &AccessKey::example());
    for id in [
        "us.anthropic.claude-sonnet-4-20250514-v1:0".to_owned(),
        format!("arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE_3}"),
        format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{CLAUDE_3}"),
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/team1".to_owned(),
    ] {
        assert!(ask(&client, &id, "hi").await.unwrap().contains(&id), "{id}");
        assert_eq!(sim.journal().calls().last().unwrap().model, id);
    }
}

#[tokio::test]
async fn newer_claude_models_need_an_inference_profile() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    let model = "anthropic.claude-sonnet-4-20250514-v1:0";
    let error = client.converse().model_id(model).messages(user("hi")).send().await.unwrap_err();
    assert_eq!(code_and_status(&error), ("ValidationException".to_owned(), 400));
    assert!(error.message().unwrap().contains("with on-demand throughput isn’t supported"));
}

#[tokio::test]
async fn a_system_message_is_refused_by_mixtral_in_aws_words() {
    let sim = start().await;
    let error = client(&sim, &AccessKey::example())
        .converse_stream()
        .model_id(MIXTRAL)
        .system(SystemContentBlock::Text("Be brief.".to_owned()))
        .messages(user("hi"))
        .send()
        .await
        .unwrap_err();
    assert!(error.as_service_error().unwrap().is_validation_exception());
    assert!(error.message().unwrap().starts_with("This model doesn't support system messages"));
}

#[tokio::test]
async fn models_that_are_unknown_or_not_granted_are_refused() {
    let mut config = Config::default();
    config.granted_models.push(MIXTRAL.to_owned());
    let sim = bedrock::start(config).await.unwrap();
    let client = client(&sim, &AccessKey::example());
    assert!(ask(&client, MIXTRAL, "hi").await.is_ok());
    assert_eq!(ask(&client, CLAUDE_3, "hi").await, Err(("AccessDeniedException".to_owned(), 403)));
    assert_eq!(ask(&client, "acme.model-1", "hi").await, Err(("ValidationException".to_owned(), 400)));
    sim.reconfigure(|config| config.granted_models.push(CLAUDE_3.to_owned()));
    assert!(ask(&client, CLAUDE_3, "hi").await.is_ok());
}

#[tokio::test]
async fn keys_are_verified() {
    let mut config = Config::default();
    let temporary = AccessKey::temporary("ASIATEMPORARY", "temporary/secret", "token+/=");
    config.access_keys.push(temporary.clone());
    let sim = bedrock::start(config).await.unwrap();
    assert!(ask(&client(&sim, &temporary), MIXTRAL, "hi").await.is_ok());
    let example = AccessKey::example();
    let unrecognized = Err(("UnrecognizedClientException".to_owned(), 403));
    let bad_signature = Err(("InvalidSignatureException".to_owned(), 403));
    for (key, region, wanted) in [
        (AccessKey::new(&example.id, "wrong"), "us-east-1", &bad_signature),
        (AccessKey::new("AKIAUNKNOWN", "wrong"), "us-east-1", &unrecognized),
        (AccessKey::new(&temporary.id, temporary.secret.reveal()), "us-east-1", &unrecognized),
        (AccessKey::temporary(&temporary.id, temporary.secret.reveal(), "other"), "us-east-1", &unrecognized),
        (AccessKey::temporary(&example.id, example.secret.reveal(), "token"), "us-east-1", &unrecognized),
        (example.clone(), "eu-west-1", &bad_signature),
    ] {
        assert_eq!(&ask(&client_in(&sim, &key, region), MIXTRAL, "hi").await, wanted, "{} {region}", key.id);
    }
    sim.reconfigure(|config| config.access_keys = vec![temporary.clone()]);
    assert_eq!(ask(&client(&sim, &example), MIXTRAL, "hi").await, unrecognized, "a revoked key");
    sim.reconfigure(|config| config.access_keys = vec![example.clone()]);
    assert!(ask(&client(&sim, &example), MIXTRAL, "hi").await.is_ok());
    let journal = serde_json::to_string(&sim.journal().calls()).unwrap();
    for secret in [example.secret.reveal(), "temporary/secret", "token+/="] {
        assert!(!journal.contains(secret));
    }
}

#[tokio::test]
async fn bedrock_api_keys_are_bearer_tokens() {
    let config = Config { bearer_tokens: vec![Secret::from("bedrock-api-key")], ..Config::default() };
    let sim = bedrock::start(config).await.unwrap();
    assert!(ask(&client_with_token(&sim, "bedrock-api-key"), MIXTRAL, "hi").await.is_ok());
    let refused = ask(&client_with_token(&sim, "other"), MIXTRAL, "hi").await;
    assert_eq!(refused, Err(("AccessDeniedException".to_owned(), 403)));
    let calls = sim.journal().calls();
    assert!(calls.iter().all(|call| call.credential == Credential::Bearer));
    assert!(!serde_json::to_string(&calls).unwrap().contains("bedrock-api-key"));
}

#[tokio::test]
async fn http_faults_are_the_exceptions_that_the_sdk_knows() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    for (fault, code, status) in [
        (FaultKind::Throttling { retry_after: None }, "ThrottlingException", 429),
        (FaultKind::Throttling { retry_after: Some(7) }, "ThrottlingException", 429),
        (FaultKind::ModelNotReady, "ModelNotReadyException", 429),
        (FaultKind::ModelTimeout, "ModelTimeoutException", 408),
        (FaultKind::ModelError, "ModelErrorException", 424),
        (FaultKind::InternalServer, "InternalServerException", 500),
        (FaultKind::ServiceUnavailable, "ServiceUnavailableException", 503),
        (FaultKind::AccessDenied, "AccessDeniedException", 403),
        (FaultKind::ExpiredToken, "ExpiredTokenException", 403),
    ] {
        sim.faults().add(Fault::once(fault.clone()));
        let error = client.converse_stream().model_id(MIXTRAL).messages(user("hi")).send().await.unwrap_err();
        assert_eq!(code_and_status(&error), (code.to_owned(), status));
        let retry_after = error.raw_response().unwrap().headers().get("retry-after");
        assert_eq!(retry_after, matches!(fault, FaultKind::Throttling { retry_after: Some(7) }).then_some("7"));
        let call = sim.journal().calls().pop().unwrap();
        assert_eq!((call.status, call.error.as_deref(), call.outcome), (status, Some(code), Outcome::Faulted));
    }
    assert!(ask(&client, MIXTRAL, "hi").await.is_ok(), "faults are used up");
}

#[tokio::test]
async fn exceptions_inside_a_stream_come_after_the_200() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    for (exception, code) in [
        (StreamException::InternalServerException, "InternalServerException"),
        (StreamException::ModelStreamErrorException, "ModelStreamErrorException"),
        (StreamException::ValidationException, "ValidationException"),
        (StreamException::ThrottlingException, "ThrottlingException"),
        (StreamException::ServiceUnavailableException, "ServiceUnavailableException"),
    ] {
        sim.faults().add(Fault::once(FaultKind::StreamException { exception, after: 3 }));
        let seen = stream(&client, MIXTRAL, "hi").await;
        assert_eq!(seen.events, ["messageStart", "contentBlockDelta", "contentBlockDelta"]);
        assert_eq!(seen.error.as_deref(), Some(code));
        assert_eq!(sim.journal().calls().pop().unwrap().status, 200);
    }
}

#[tokio::test]
async fn broken_frames_and_cut_connections_are_errors_for_the_reader() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    for fault in [FaultKind::WrongChecksum { after: 2 }, FaultKind::Cut { after: 2 }] {
        sim.faults().add(Fault::once(fault.clone()));
        let seen = stream(&client, MIXTRAL, "hi").await;
        assert_eq!(seen.events, ["messageStart", "contentBlockDelta"], "{fault:?}");
        assert_eq!(seen.error.as_deref(), Some("transport"), "{fault:?}");
    }
    sim.faults().add(Fault::once(FaultKind::Cut { after: 0 }));
    assert!(ask(&client, MIXTRAL, "hi").await.is_err(), "a whole answer can be cut, too");
}

#[tokio::test]
async fn a_page_of_html_is_not_an_answer() {
    let sim = start().await;
    sim.faults().add(Fault::once(FaultKind::Html { status: 502 }));
    let (_, status) = ask(&client(&sim, &AccessKey::example()), MIXTRAL, "hi").await.unwrap_err();
    assert_eq!(status, 502);
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_the_journal_tells_when_the_caller_leaves() {
    let sim = start().await;
    sim.faults().add(Fault::once(FaultKind::Stall { after: 2 }));
    let client = client(&sim, &AccessKey::example());
    let mut stalled = client.converse_stream().model_id(MIXTRAL).messages(user("hi")).send().await.unwrap().stream;
    assert!(stalled.recv().await.unwrap().is_some());
    assert!(stalled.recv().await.unwrap().is_some());
    assert!(tokio::time::timeout(Duration::from_millis(200), stalled.recv()).await.is_err(), "nothing more comes");
    drop(stalled);

    sim.reconfigure(|config| config.chunk_delay_ms = 600_000);
    let slow = client.converse_stream().model_id(MIXTRAL).messages(user("hi")).send().await.unwrap();
    drop(slow);
    let left =
        sim.journal().wait_until(HANG, |calls| calls.iter().any(|call| call.outcome == Outcome::Abandoned)).await;
    assert!(left.is_some(), "a caller that leaves is seen");
}

#[tokio::test]
async fn the_journal_holds_request_key_and_region() {
    let sim = start().await;
    ask(&client(&sim, &AccessKey::example()), MIXTRAL, "hi").await.unwrap();
    let call = sim.journal().calls().pop().unwrap();
    assert_eq!(call.operation, "Converse");
    assert_eq!(call.path, "/model/mistral.mixtral-8x7b-instruct-v0%3A1/converse");
    assert_eq!(call.request["messages"][0]["content"][0]["text"], "hi");
    let id = AccessKey::example().id;
    assert_eq!(
        call.credential,
        Credential::SigV4 { access_key_id: id, region: "us-east-1".to_owned(), session: false }
    );
    assert_eq!((call.status, call.outcome), (200, Outcome::Answered));
}

#[tokio::test]
async fn keys_can_be_rotated_over_the_control_plane() {
    let sim = start().await;
    let patch = async |body: serde_json::Value| {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.patch(format!("{}/_sim/config", sim.url())).json(&body).send().await.unwrap()
    };
    assert_eq!(patch(serde_json::json!({"access_keys": ["AKIANEW:new/secret"]})).await.status(), 204);
    assert!(ask(&client(&sim, &AccessKey::example()), MIXTRAL, "hi").await.is_err());
    assert!(ask(&client(&sim, &AccessKey::new("AKIANEW", "new/secret")), MIXTRAL, "hi").await.is_ok());
    let refused = patch(serde_json::json!({"access_keys": ["topsecret"], "granted_models": ["other"]})).await;
    assert_eq!(refused.status(), 422);
    assert!(!refused.text().await.unwrap().contains("topsecret"));
    assert!(ask(&client(&sim, &AccessKey::new("AKIANEW", "new/secret")), MIXTRAL, "hi").await.is_ok());
}
