//! Makes the SDK's client: region, endpoint, credentials, trust, and the settings under which it never waits longer
//! than we say.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials as AwsCredentials;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{Builder, Region, StalledStreamProtectionConfig, Token};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::auth::http::HTTP_BEARER_AUTH_SCHEME_ID;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::retry::RetryConfig;
use duo_protocol::model::UpstreamFailure;

use crate::secret::Secret;
use crate::trust::Trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where and with whose credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// AWS region; `None` asks the SDK's chain.
    pub region: Option<String>,
    /// In place of the region's public endpoint.
    pub endpoint: Option<String>,
    /// Whose credentials.
    pub credentials: Credentials,
    /// Trusted certificate authorities.
    pub trust: Trust,
}

/// Whose credentials sign the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The SDK's own chain.
    Chain,
    /// An access key.
    Keys {
        /// `AWS_ACCESS_KEY_ID`.
        id: Secret,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret: Secret,
        /// `AWS_SESSION_TOKEN`, for temporary ones.
        session: Option<Secret>,
    },
    /// A Bedrock API key, `AWS_BEARER_TOKEN_BEDROCK`.
    Bearer(Secret),
}

pub(super) async fn connect(options: &Options) -> Result<Client, UpstreamFailure> {
    let http = http_client(&options.trust);
    let mut builder = match &options.credentials {
        Credentials::Chain => {
            let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
            if let Some(region) = region(options) {
                loader = loader.region(region);
            }
            Builder::from(&loader.load().await)
        }
        // not from the environment: what is mounted wins over a bearer key that happens to stand there
        Credentials::Keys { id, secret, session } => {
            let session = session.as_ref().map(|session| session.expose().to_owned());
            let keys = AwsCredentials::new(id.expose(), secret.expose(), session, None, "duo-gateway folder");
            bare(options, http).credentials_provider(keys)
        }
        Credentials::Bearer(key) => bare(options, http)
            .bearer_token(Token::new(key.expose(), None))
            .auth_scheme_preference([HTTP_BEARER_AUTH_SCHEME_ID]),
    };
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let config = builder
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    if config.region().is_none() {
        let reason = "no AWS region: set AWS_REGION, or providers.bedrock.region in the configuration".to_owned();
        return Err(UpstreamFailure::Status { code: 400, reason, retry_after: None });
    }
    Ok(Client::from_conf(config))
}

fn bare(options: &Options, http: SharedHttpClient) -> Builder {
    aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .sleep_impl(TokioSleep::new())
        .region(region(options))
}

/// An endpoint of one's own needs some region to sign for; the SDK would otherwise ask the instance metadata service.
fn region(options: &Options) -> Option<Region> {
    let fallback = options.endpoint.is_some().then_some("us-east-1");
    options.region.as_deref().or(fallback).map(|region| Region::new(region.to_owned()))
}

/// One connector for all calls, so that connections are shared; proxies come from the environment.
fn http_client(trust: &Trust) -> SharedHttpClient {
    let store = tls::TrustStore::empty().with_pem_certificate(trust.pem());
    // `build` has no failing path in the SDK's source; its default is the same with the system's roots
    let context = tls::TlsContext::builder().with_trust_store(store).build().unwrap_or_default();
    let connector = Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .tls_context(context)
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
