//! A Bedrock client that nobody of this project wrote: AWS's SDK, pointed at the simulator.
#![allow(dead_code, reason = "each suite uses a part")]

use std::time::Duration;

use aws_sdk_bedrockruntime::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, Token, retry::RetryConfig, timeout::TimeoutConfig},
    types::{ContentBlock, ConversationRole, Message},
};
use aws_smithy_http_client::tls;
use duo_sim::bedrock::{self, AccessKey, Config};

pub const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";

pub async fn start() -> bedrock::Handle {
    bedrock::start(Config::default()).await.unwrap()
}

/// A client with one key, no retries.
pub fn client(sim: &bedrock::Handle, key: &AccessKey) -> Client {
    client_in(sim, key, "us-east-1")
}

pub fn client_in(sim: &bedrock::Handle, key: &AccessKey, region: &str) -> Client {
    let token = key.session_token.as_ref().map(|token| token.reveal().to_owned());
    let credentials = Credentials::new(&key.id, key.secret.reveal(), token, None, "test");
    Client::from_conf(settings(sim, region).credentials_provider(credentials).build())
}

/// A client with a Bedrock API key.
pub fn client_with_token(sim: &bedrock::Handle, token: &str) -> Client {
    Client::from_conf(settings(sim, "us-east-1").bearer_token(Token::new(token, None)).build())
}

fn settings(sim: &bedrock::Handle, region: &str) -> Builder {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build_https();
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(sim.url())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().read_timeout(Duration::from_secs(20)).build())
        .http_client(http)
}

pub fn user(text: &str) -> Message {
    let content = ContentBlock::Text(text.to_owned());
    Message::builder().role(ConversationRole::User).content(content).build().unwrap()
}
