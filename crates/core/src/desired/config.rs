//! The gateway's mounted configuration.

use std::collections::BTreeMap;

use duo_api::annotations::CONFIG_HASH;
use duo_api::condition::CONFIG_ACCEPTED;
use duo_api::gateway::UndeclaredModels;
use duo_api::providers::{BedrockSpec, GuardrailSpec, GuardrailStream, GuardrailTrace, ProvidersSpec};
use duo_api::serving::{AllowanceSpec, LogLevel};
use duo_api::{AIGateway, SelfHostedModel};
use duo_gateway_config as config;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::child_meta;
use super::credentials::{Credentials, SIGNING_KEY, VALIDATION_KEY};
use super::models::{count, model};
use crate::conditions::Finding;
use crate::durations::seconds;
use crate::listener::Door;
use crate::{implementation, inputs, labels, url_rules};

/// GitLab's customer portal: it issues the tokens of online instances for features that are not self-hosted.
const CUSTOMER_PORTAL: &str = "https://customers.gitlab.com";

/// Why the configuration could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A rule of the gateway's configuration is broken.
    #[error(transparent)]
    Config(config::ConfigError),
    /// Settings that GitLab's image does not have.
    #[error("{}", implementation::sentence(.0))]
    NotSupported(Vec<String>),
    /// Which of GitLab's images fits cannot be told.
    #[error(
        "GitLab's version is not known yet, and with it the version of its image; spec.gitlabImage.tag or spec.image \
         would name one"
    )]
    VersionUnknown,
}

impl RenderError {
    /// The condition that says so.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Config(_) => Finding::fails(CONFIG_ACCEPTED, "ConfigInvalid", self.to_string()).by_person(),
            Self::NotSupported(_) => {
                Finding::fails(CONFIG_ACCEPTED, "NotSupportedByImplementation", self.to_string()).by_person()
            }
            Self::VersionUnknown => Finding::unknown(CONFIG_ACCEPTED, "GitLabVersionUnknown", self.to_string()),
        }
    }
}

/// The configuration of a gateway with these models.
pub fn gateway_config(
    gateway: &AIGateway,
    models: &[&SelfHostedModel],
    credentials: &Credentials,
    instance_id: Option<&str>,
) -> config::GatewayConfig {
    let spec = &gateway.spec;
    let mut rendered = config::GatewayConfig::new(spec.gitlab.url.trim_end_matches('/'));
    rendered.gitlab.api_url = Some(spec.gitlab.api_url.clone().unwrap_or_else(|| url_rules::api_url(&spec.gitlab.url)));
    rendered.gitlab.customer_portal_url = (!spec.gitlab.offline).then(|| CUSTOMER_PORTAL.to_owned());
    rendered.gitlab.instance_id = instance_id.map(ToOwned::to_owned);
    rendered.ca_bundle_file = spec.gitlab.ca_bundle_ref.as_ref().map(|_| inputs::CA_BUNDLE.to_owned());
    rendered.undeclared_models = match spec.undeclared_models {
        Some(UndeclaredModels::Allow) => config::UndeclaredModels::Allow,
        Some(UndeclaredModels::Refuse) | None => config::UndeclaredModels::Refuse,
    };
    rendered.providers = spec.providers.as_ref().map(providers).unwrap_or_default();
    rendered.models = models.iter().map(|item| model(&item.name_any(), &item.spec, credentials)).collect();
    rendered.request_timeout_seconds = spec.request_timeout.as_deref().and_then(seconds);
    rendered.first_byte_timeout_seconds = spec.first_byte_timeout.as_deref().and_then(seconds);
    rendered.drain_seconds = spec.drain_period.as_deref().and_then(seconds);
    rendered.signing_key_file = Some(SIGNING_KEY.to_owned());
    rendered.validation_key_file = Some(VALIDATION_KEY.to_owned());
    if spec.tls.is_some() { Door::Tls } else { Door::Plain }.put(&mut rendered);
    rendered.limits = spec.limits.as_ref().map(|limits| config::Limits {
        per_user: limits.per_user.as_ref().map(allowance),
        per_instance: limits.per_instance.as_ref().map(allowance),
    });
    rendered.proxy = spec.proxy.as_ref().map(|proxy| config::Proxy {
        https_proxy: proxy.https_proxy.clone(),
        http_proxy: proxy.http_proxy.clone(),
        no_proxy: proxy.no_proxy.clone(),
    });
    rendered.tracing = spec.tracing.as_ref().map(|tracing| config::Tracing {
        otlp_endpoint: tracing.otlp_endpoint.clone(),
        headers_file: tracing.headers_secret_ref.as_ref().map(|_| inputs::TRACING_HEADERS.to_owned()),
        sample_per_mille: tracing.sample_per_mille.map(count),
    });
    rendered.log_level = spec.logging.as_ref().map(|logging| match logging.level {
        LogLevel::Debug => config::LogLevel::Debug,
        LogLevel::Info => config::LogLevel::Info,
        LogLevel::Warn => config::LogLevel::Warning,
        LogLevel::Error => config::LogLevel::Error,
    });
    rendered.prompt_logging = spec.logging.as_ref().is_some_and(|logging| logging.prompts);
    rendered.currency.clone_from(&spec.currency);
    rendered
}

fn providers(spec: &ProvidersSpec) -> config::Providers {
    config::Providers {
        bedrock: spec.bedrock.as_ref().map(bedrock),
        vertex_ai: spec.vertex_ai.as_ref().map(|vertex| config::VertexAi {
            project: vertex.project.clone(),
            location: vertex.location.clone(),
            endpoint: vertex.endpoint.clone(),
            credentials_file: vertex.credentials_secret_ref.as_ref().map(|_| inputs::VERTEX_CREDENTIALS.to_owned()),
        }),
    }
}

fn bedrock(spec: &BedrockSpec) -> config::Bedrock {
    config::Bedrock {
        region: spec.region.clone(),
        endpoint: spec.endpoint.clone(),
        credentials: spec.credentials_secret_ref.is_some(),
        fips: spec.fips,
        guardrail: spec.guardrail.as_ref().map(guardrail),
    }
}

fn guardrail(spec: &GuardrailSpec) -> config::Guardrail {
    config::Guardrail {
        identifier: spec.identifier.clone(),
        version: spec.version.clone(),
        trace: spec.trace.map(|trace| match trace {
            GuardrailTrace::Disabled => config::GuardrailTrace::Disabled,
            GuardrailTrace::Enabled => config::GuardrailTrace::Enabled,
            GuardrailTrace::Full => config::GuardrailTrace::Full,
        }),
        stream_processing: spec.stream_processing.map(|mode| match mode {
            GuardrailStream::Sync => config::GuardrailStream::Sync,
            GuardrailStream::Async => config::GuardrailStream::Async,
        }),
    }
}

fn allowance(spec: &AllowanceSpec) -> config::Allowance {
    config::Allowance {
        requests_per_minute: spec.requests_per_minute.map(count),
        tokens_per_minute: spec.tokens_per_minute.map(i64::unsigned_abs),
        concurrent_requests: spec.concurrent_requests.map(count),
    }
}

/// The hash stands beside the configuration, so that a reader can tell which one it belongs to.
pub(super) fn config_map(gateway: &AIGateway, yaml: String, hash: &str) -> ConfigMap {
    let mut metadata = child_meta(gateway, labels::config_map(&gateway.name_any()));
    metadata.annotations = Some(BTreeMap::from([(CONFIG_HASH.to_owned(), hash.to_owned())]));
    ConfigMap { metadata, data: Some(BTreeMap::from([(config::CONFIG_FILE.to_owned(), yaml)])), ..ConfigMap::default() }
}
