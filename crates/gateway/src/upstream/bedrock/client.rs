//! Makes the SDK's client, which prepares calls and sends none but those for credentials: region, endpoint, credentials,
//! and the settings under which it never waits longer than we say.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::identity::IdentityCache;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials as AwsCredentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{Builder, Region, StalledStreamProtectionConfig, Token};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_runtime_api::client::auth::http::HTTP_BEARER_AUTH_SCHEME_ID;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use duo_protocol::model::UpstreamFailure;

use super::http::http_client;
use super::permit;
use crate::secret::Secret;

/// Temporary credentials are renewed this long before they end.
const EARLY: Duration = Duration::from_secs(60);

/// Where and with whose credentials.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// AWS region; `None` asks the SDK's chain.
    pub region: Option<String>,
    /// In place of the region's public endpoint.
    pub endpoint: Option<String>,
    /// The region's FIPS endpoint; without meaning beside `endpoint`.
    pub fips: bool,
    /// Whose credentials.
    pub credentials: Credentials,
    /// A role that is assumed with them.
    pub role: Option<Role>,
}

/// Whose credentials sign the calls.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Credentials {
    /// The SDK's own chain.
    #[default]
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

impl Credentials {
    /// What of them is sent with a call, and so can come back in an error.
    pub(super) fn sent(&self) -> Option<&str> {
        match self {
            Self::Chain => None,
            Self::Keys { session, .. } => session.as_ref().map(Secret::expose),
            Self::Bearer(key) => Some(key.expose()),
        }
    }
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// External id of its trust policy.
    pub external_id: Option<String>,
    /// In place of the region's public endpoint of STS.
    pub sts_endpoint: Option<String>,
}

pub(super) async fn connect(account: &Account, http: reqwest::Client) -> Result<Client, UpstreamFailure> {
    let http = http_client(http);
    let mut builder = match (&account.credentials, &account.role) {
        (Credentials::Chain, None) => Builder::from(&chain(account, http).await),
        (Credentials::Chain, Some(role)) => {
            let base = chain(account, http.clone()).await;
            let region = base.region().cloned();
            let role = assume(role, base).await;
            bare(account, http).region(region).credentials_provider(role)
        }
        // not from the environment: what is mounted wins over a bearer key that happens to stand there
        (Credentials::Keys { id, secret, session }, role) => {
            let session = session.as_ref().map(|session| session.expose().to_owned());
            let keys = AwsCredentials::new(id.expose(), secret.expose(), session, None, "duo-gateway folder");
            match role {
                None => bare(account, http).credentials_provider(keys),
                Some(role) => {
                    let base = sdk_config(account, http.clone(), keys);
                    let role = assume(role, base).await;
                    bare(account, http).credentials_provider(role)
                }
            }
        }
        (Credentials::Bearer(key), None) => bare(account, http)
            .bearer_token(Token::new(key.expose(), None))
            .auth_scheme_preference([HTTP_BEARER_AUTH_SCHEME_ID]),
        (Credentials::Bearer(_), Some(_)) => {
            let reason = "a role cannot be assumed with a Bedrock API key: give an access key or workload identity";
            return Err(refused(reason));
        }
    };
    if let Some(endpoint) = &account.endpoint {
        builder = builder.endpoint_url(endpoint);
    } else if account.fips {
        builder = builder.use_fips(true);
    }
    let config = permit::telling(builder)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    if config.region().is_none() {
        return Err(refused("no AWS region: set AWS_REGION, or providers.bedrock.region in the configuration"));
    }
    Ok(Client::from_conf(config))
}

fn refused(reason: &str) -> UpstreamFailure {
    UpstreamFailure::Status { code: 400, reason: reason.to_owned(), retry_after: None }
}

/// Environment, profile, web identity, pod identity, instance role.
async fn chain(account: &Account, http: SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region(account) {
        loader = loader.region(region);
    }
    if account.fips && account.endpoint.is_none() {
        loader = loader.use_fips(true);
    }
    loader.load().await
}

fn sdk_config(account: &Account, http: SharedHttpClient, keys: AwsCredentials) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .region(region(account))
        .use_fips(account.fips && account.endpoint.is_none())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build()
}

/// The SDK's cache in front of it keeps the role's credentials and renews them before they end.
async fn assume(role: &Role, base: SdkConfig) -> AssumeRoleProvider {
    let base = match &role.sts_endpoint {
        // a host of its own decides about FIPS itself
        Some(endpoint) => base.into_builder().endpoint_url(endpoint).use_fips(false).build(),
        None => base,
    };
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name("duo-gateway").configure(&base);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}

fn bare(account: &Account, http: SharedHttpClient) -> Builder {
    aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .sleep_impl(TokioSleep::new())
        .identity_cache(IdentityCache::lazy().buffer_time(EARLY).build())
        .region(region(account))
}

/// An endpoint of one's own needs some region to sign for; the SDK would otherwise ask the instance metadata service.
fn region(account: &Account) -> Option<Region> {
    let fallback = account.endpoint.is_some().then_some("us-east-1");
    account.region.as_deref().or(fallback).map(|region| Region::new(region.to_owned()))
}
