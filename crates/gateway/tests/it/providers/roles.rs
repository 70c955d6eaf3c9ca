//! Whose credentials Bedrock is called with: assumed roles, and what is said when they are refused.

use duo_protocol::model::UpstreamFailure;

use super::{Stand, complete, conversation, stream};
use crate::support::recorder::{Noted, Recorder, Reply};

const CONVERSE: &str = include_str!("answers/converse.json");
pub const ASSUMED: &str = include_str!("answers/assume_role.xml");
pub const DENIED: &str = include_str!("answers/assume_role_denied.xml");

fn is_sts(noted: &Noted) -> bool {
    !noted.target.starts_with("/model/")
}

async fn aws(denied: bool) -> Recorder {
    Recorder::start(move |noted| {
        let xml = |text: &'static str| Reply::new("text/xml", text);
        match (is_sts(noted), denied) {
            (true, true) => xml(DENIED).status(403),
            (true, false) => xml(ASSUMED),
            _ => Reply::json(CONVERSE),
        }
    })
    .await
}

fn config(url: &str) -> String {
    let role = |name: &str, more: &str| {
        format!(
            "- {{name: {name}, family: claude_3, identifier: bedrock/anthropic.claude-{name}, connection: {{assumeRole: \
             {{roleArn: 'arn:aws:iam::123456789012:role/duo', stsEndpoint: '{url}'{more}}}}}}}\n"
        )
    };
    format!(
        "providers: {{bedrock: {{region: eu-west-3, endpoint: '{url}', credentials: true}}}}\nmodels:\n{}{}\
         - {{name: plain, family: claude_3, identifier: bedrock/anthropic.claude-plain}}",
        role("role", ", externalId: instance-5cb5"),
        role("again", ", externalId: instance-5cb5"),
    )
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "base-secret")];

#[tokio::test]
async fn a_models_role_is_assumed_once_with_the_folders_keys_and_its_credentials_sign_the_calls() {
    let aws = aws(false).await;
    let stand = Stand::new(&config(&aws.url), &KEYS);
    for place in [0, 0, 1] {
        complete(&stand.places[place], conversation()).await.unwrap();
    }
    let (sts, calls): (Vec<_>, Vec<_>) = aws.noted().into_iter().partition(is_sts);
    assert_eq!((sts.len(), calls.len()), (1, 3), "one role, asked for once, shared by two models");
    let form = sts[0].form();
    assert_eq!(
        (form["Action"].as_str(), form["RoleArn"].as_str()),
        ("AssumeRole", "arn:aws:iam::123456789012:role/duo")
    );
    assert_eq!((form["ExternalId"].as_str(), form["RoleSessionName"].as_str()), ("instance-5cb5", "duo-gateway"));
    assert!(sts[0].header("authorization").contains("Credential=AKIABASE/"));
    for call in &calls {
        assert!(call.header("authorization").contains("Credential=ASIAROLE/"), "{}", call.header("authorization"));
        assert!(call.header("authorization").contains("/eu-west-3/bedrock/"));
        assert_eq!(call.header("x-amz-security-token"), "session-of-the-role");
    }
    complete(&stand.places[2], conversation()).await.unwrap();
    assert!(aws.last().header("authorization").contains("Credential=AKIABASE/"), "without a role: the folder's keys");
}

#[tokio::test]
async fn a_refused_role_is_told_as_such_and_the_model_is_not_asked() {
    let aws = aws(true).await;
    let stand = Stand::new(&config(&aws.url), &KEYS);
    let failure = complete(&stand.places[0], conversation()).await.unwrap_err();
    assert!(matches!(failure, UpstreamFailure::Status { code: 403, .. }), "{failure}");
    let text = failure.to_string();
    assert!(text.contains("role cannot be assumed: AccessDenied") && text.contains("sts:AssumeRole"), "{text}");
    assert!(aws.noted().iter().all(is_sts));
}

#[tokio::test]
async fn an_api_key_cannot_assume_a_role() {
    let stand = Stand::new(&config("http://127.0.0.1:9"), &[("AWS_BEARER_TOKEN_BEDROCK", "k")]);
    let failure = complete(&stand.places[0], conversation()).await.unwrap_err().to_string();
    assert!(failure.contains("a role cannot be assumed with a Bedrock API key"), "{failure}");
}

#[tokio::test]
async fn a_region_of_its_own_is_signed_for_and_has_the_regions_endpoint_or_its_own() {
    let aws = aws(false).await;
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: 'http://127.0.0.1:9', credentials: true}}}}\nmodels:\n\
         - {{name: here, family: claude_3, identifier: bedrock/eu.anthropic.claude-x, connection: {{region: eu-west-3, endpoint: '{}'}}}}",
        aws.url
    );
    let stand = Stand::new(&config, &[KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "temporary")]);
    complete(stand.place(), conversation()).await.unwrap();
    let call = aws.last();
    assert!(call.header("authorization").contains("/eu-west-3/bedrock/aws4_request"));
    assert_eq!(call.header("x-amz-security-token"), "temporary");
    assert_eq!(call.target, "/model/eu.anthropic.claude-x/converse");
}

#[tokio::test]
async fn where_streaming_is_denied_the_answer_comes_in_one_piece_and_is_not_asked_for_in_vain_again() {
    let aws = Recorder::start(|noted| {
        if noted.target.ends_with("converse-stream") {
            let message = "User: arn:aws:sts::1:assumed-role/duo/i is not authorized to perform: \
                           bedrock:InvokeModelWithResponseStream on resource: arn:aws:bedrock:us-east-1::foundation-model/m";
            let refused = Reply::json(serde_json::json!({"__type": "AccessDeniedException", "message": message}));
            return refused.status(403);
        }
        Reply::json(CONVERSE)
    })
    .await;
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: '{}', credentials: true}}}}\n\
         models: [{{name: m, family: claude_3, identifier: bedrock/anthropic.claude-3-haiku-20240307-v1:0}}]",
        aws.url
    );
    let stand = Stand::new(&config, &KEYS);
    for _ in 0..2 {
        let events = stream(stand.place(), conversation()).await.unwrap();
        assert_eq!(events.len(), 3, "{events:?}");
    }
    let verbs: Vec<String> = aws.noted().iter().map(|n| n.target.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["converse-stream", "converse", "converse"]);
}

#[tokio::test]
async fn trap_a_model_that_needs_a_profile_is_refused_with_the_prefix_to_write() {
    let aws = Recorder::start(|_| {
        let message = "Invocation of model ID anthropic.claude-x with on-demand throughput isn’t supported. Retry your \
                       request with the ID or ARN of an inference profile that contains this model.";
        Reply::json(serde_json::json!({"__type": "ValidationException", "message": message})).status(400)
    })
    .await;
    for (region, prefix) in [
        ("us-east-1", "us"),
        ("eu-west-3", "eu"),
        ("ap-south-1", "apac"),
        ("us-gov-west-1", "us-gov"),
        ("ap-southeast-2", "au"),
    ] {
        let config = format!(
            "providers: {{bedrock: {{region: {region}, endpoint: '{}', credentials: true}}}}\n\
             models: [{{name: m, family: claude_3, identifier: bedrock/anthropic.claude-x}}]",
            aws.url
        );
        let failure = complete(Stand::new(&config, &KEYS).place(), conversation()).await.unwrap_err().to_string();
        assert!(failure.contains(&format!("`bedrock/{prefix}.`")), "{region}: {failure}");
    }
}
