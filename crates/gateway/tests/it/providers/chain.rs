//! Who the gateway is to AWS without any key: workload identities, each in a process of its own with the variables that
//! Kubernetes sets, and the public addresses of regions.

use duo_protocol::model::UpstreamFailure;
use serde_json::json;

use super::{Stand, complete, conversation, roles};
use crate::process::Started;
use crate::support::recorder::{Noted, Recorder, Reply};

const CONVERSE: &str = include_str!("answers/converse.json");
const POD: &str = r#"{"AccessKeyId":"ASIAPOD","SecretAccessKey":"pod-secret","Token":"pod-session","Expiration":"2099-01-01T00:00:00Z","AccountId":"1"}"#;

/// Bedrock, STS and the node's agent in one.
async fn aws() -> Recorder {
    Recorder::start(|noted| match noted.target.as_str() {
        "/v1/credentials" => Reply::json(POD),
        target if target.starts_with("/model/") => Reply::json(CONVERSE),
        _ => {
            let xml = roles::ASSUMED.replace("AssumeRole", "AssumeRoleWithWebIdentity");
            Reply::new("text/xml", xml)
        }
    })
    .await
}

/// The call of Bedrock that a connection check brings about.
async fn called(aws: &Recorder, more: &[(&str, &str)]) -> Noted {
    let variables = [
        ("AIGW_AUTH__BYPASS_EXTERNAL", "true"),
        ("AWS_REGION", "eu-west-3"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_BEDROCK_RUNTIME_ENDPOINT", aws.url.as_str()),
    ];
    let gateway = Started::new(&[variables.as_slice(), more].concat());
    let check = json!({"inputs": {}, "model_metadata": {
        "name": "claude_3", "identifier": "bedrock/anthropic.claude-x", "provider": "openai", "endpoint": "http://x",
    }});
    let url = format!("http://{}/v1/prompts/model_configuration%2Fcheck", gateway.api);
    let answer = reqwest::Client::new().post(url).json(&check).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    aws.last()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_accounts_token_is_exchanged_for_the_roles_credentials() {
    let aws = aws().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-service-accounts-token").unwrap();
    let call = called(
        &aws,
        &[
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/duo"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", &aws.url),
        ],
    )
    .await;
    let form = aws.noted()[0].form();
    assert_eq!(form["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!(form["WebIdentityToken"], "the-service-accounts-token");
    assert!(call.header("authorization").contains("Credential=ASIAROLE/"), "{}", call.header("authorization"));
    assert_eq!(call.header("x-amz-security-token"), "session-of-the-role");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_agent_gives_the_pods_credentials() {
    let aws = aws().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-pods-token").unwrap();
    let uri = format!("{}/v1/credentials", aws.url);
    let call = called(
        &aws,
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
        ],
    )
    .await;
    assert_eq!(aws.noted()[0].header("authorization"), "the-pods-token");
    assert!(call.header("authorization").contains("Credential=ASIAPOD/"));
    assert_eq!(call.header("x-amz-security-token"), "pod-session");
}

/// The instance metadata service, second version: a token first, then the role's name, then its credentials.
fn metadata(noted: &Noted) -> Reply {
    const ROLE: &str = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIANODE","SecretAccessKey":"node-secret","Token":"node-session","LastUpdated":"2026-01-01T00:00:00Z","Expiration":"2099-01-01T00:00:00Z"}"#;
    let known = noted.header("x-aws-ec2-metadata-token") == "metadata-token";
    match noted.target.trim_end_matches('/') {
        "/latest/api/token" if noted.method == "PUT" => Reply {
            headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600")],
            ..Reply::new("text/plain", "metadata-token")
        },
        "/latest/meta-data/iam/security-credentials" if known => Reply::new("text/plain", "node-role"),
        "/latest/meta-data/iam/security-credentials/node-role" if known => Reply::json(ROLE),
        target if target.starts_with("/model/") => Reply::json(CONVERSE),
        _ => Reply::new("text/plain", "").status(if known { 404 } else { 401 }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_role_is_told_by_the_metadata_service() {
    let aws = Recorder::start(metadata).await;
    let service = [("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url.as_str())];
    let call = called(&aws, &service).await;
    assert!(call.header("authorization").contains("Credential=ASIANODE/"), "{}", call.header("authorization"));
    assert_eq!(call.header("x-amz-security-token"), "node-session");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment_and_a_bearer_key_before_them() {
    let aws = aws().await;
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "env-session")];
    let call = called(&aws, &keys).await;
    assert!(call.header("authorization").contains("Credential=AKIAENV/"));
    assert_eq!(call.header("x-amz-security-token"), "env-session");
    let call = called(&aws, &[keys.as_slice(), &[("AWS_BEARER_TOKEN_BEDROCK", "env-key")]].concat()).await;
    assert_eq!(call.header("authorization"), "Bearer env-key");
}

#[tokio::test]
async fn each_region_has_its_public_address_and_its_fips_one() {
    for (region, fips, role, host) in [
        ("us-east-1", false, false, "bedrock-runtime.us-east-1.amazonaws.com:443"),
        ("us-east-1", true, false, "bedrock-runtime-fips.us-east-1.amazonaws.com:443"),
        ("us-gov-west-1", false, false, "bedrock-runtime.us-gov-west-1.amazonaws.com:443"),
        ("us-gov-west-1", true, false, "bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443"),
        ("eusc-de-east-1", false, false, "bedrock-runtime.eusc-de-east-1.amazonaws.eu:443"),
        // a role's first call is the regional STS
        ("eu-west-3", false, true, "sts.eu-west-3.amazonaws.com:443"),
        ("us-east-2", true, true, "sts-fips.us-east-2.amazonaws.com:443"),
    ] {
        let proxy = Recorder::start(|_| Reply::json("{}").status(502)).await;
        let role = if role { "connection: {assumeRole: {roleArn: 'arn:aws:iam::1:role/r'}}" } else { "" };
        let config = format!(
            "proxy: {{httpsProxy: '{}'}}\nproviders: {{bedrock: {{region: {region}, fips: {fips}, credentials: true}}}}\n\
             models: [{{name: m, family: claude_3, identifier: bedrock/m, {role}}}]",
            proxy.url
        );
        let keys = [("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "base-secret")];
        let failure = complete(Stand::new(&config, &keys).place(), conversation()).await.unwrap_err();
        assert!(matches!(failure, UpstreamFailure::Unavailable { .. }), "{region}: {failure:?}");
        assert_eq!((proxy.noted()[0].method.as_str(), proxy.noted()[0].target.as_str()), ("CONNECT", host));
    }
}
