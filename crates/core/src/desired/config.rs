//! The gateway's mounted configuration.

use std::collections::BTreeMap;

use duo_api::annotations::CONFIG_HASH;
use duo_api::gateway::{LogLevel, UndeclaredModels};
use duo_api::{AIGateway, SelfHostedModel};
use duo_gateway_config as config;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::child_meta;
use super::credentials::{CA_BUNDLE, Credentials, SIGNING_KEY, VALIDATION_KEY};
use crate::claims::Claimant;
use crate::{labels, url_rules, validate};

/// GitLab's customer portal: it issues the tokens of online instances for features that are not self-hosted.
const CUSTOMER_PORTAL: &str = "https://customers.gitlab.com";

/// Why the configuration could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A rule of the gateway's configuration is broken.
    #[error(transparent)]
    Config(config::ConfigError),
}

/// The models of a gateway that are rendered: valid ones whose key is at hand, the oldest of each key.
///
/// A model that is being deleted is served until it is gone from GitLab.
pub fn rendered_models<'a>(models: &'a [SelfHostedModel], credentials: &Credentials) -> Vec<&'a SelfHostedModel> {
    let siblings: Vec<validate::Sibling> =
        models.iter().map(|model| validate::Sibling { claimant: claimant(model), spec: model.spec.clone() }).collect();
    let mut sorted: Vec<&SelfHostedModel> = models.iter().collect();
    sorted.sort_by_key(|model| claimant(model));
    let mut keys = std::collections::BTreeSet::new();
    sorted
        .into_iter()
        .filter(|model| validate::model(&claimant(model), &model.spec, &siblings).is_none())
        .filter(|model| {
            model.spec.api_key_secret_ref.is_none() || credentials.model_keys.contains_key(&model.name_any())
        })
        .filter(|model| {
            let key =
                config::model_key(model.spec.family.key(), model.spec.endpoint.as_deref(), &model.spec.identifier);
            keys.insert((key.family, key.endpoint, key.identifier))
        })
        .collect()
}

fn claimant(model: &SelfHostedModel) -> Claimant {
    Claimant::new(
        model.creation_timestamp().map(|time| time.0.to_string()),
        model.namespace().unwrap_or_default(),
        model.name_any(),
    )
}

/// The configuration of a gateway with these models. `undeclared` is what holds when the resource does not say.
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
    rendered.ca_bundle_file = credentials.ca_bundle.is_some().then(|| CA_BUNDLE.to_owned());
    rendered.undeclared_models = match spec.undeclared_models {
        Some(UndeclaredModels::Allow) => config::UndeclaredModels::Allow,
        Some(UndeclaredModels::Refuse) | None => config::UndeclaredModels::Refuse,
    };
    rendered.providers.bedrock =
        spec.providers.as_ref().and_then(|providers| providers.bedrock.as_ref()).map(|bedrock| config::Bedrock {
            region: bedrock.region.clone(),
            endpoint: bedrock.endpoint.clone(),
            credentials: bedrock.credentials_secret_ref.is_some(),
            fips: false,
            guardrail: None,
        });
    rendered.models = models
        .iter()
        .map(|model| config::Model {
            endpoint: model.spec.endpoint.as_deref().and_then(url_rules::normalize),
            api_key_file: model.spec.api_key_secret_ref.as_ref().map(|_| labels::model_key_file(&model.name_any())),
            ..config::Model::new(model.name_any(), model.spec.family.key(), &model.spec.identifier)
        })
        .collect();
    rendered.request_timeout_seconds = spec.request_timeout.as_deref().and_then(url_rules::seconds);
    rendered.signing_key_file = Some(SIGNING_KEY.to_owned());
    rendered.validation_key_file = Some(VALIDATION_KEY.to_owned());
    rendered.log_level = spec.logging.as_ref().map(|logging| match logging.level {
        LogLevel::Debug => config::LogLevel::Debug,
        LogLevel::Info => config::LogLevel::Info,
        LogLevel::Warn => config::LogLevel::Warning,
        LogLevel::Error => config::LogLevel::Error,
    });
    rendered
}

/// The hash stands beside the configuration, so that a reader can tell which one it belongs to.
pub(super) fn config_map(gateway: &AIGateway, yaml: String, hash: &str) -> ConfigMap {
    let mut metadata = child_meta(gateway, labels::config_map(&gateway.name_any()));
    metadata.annotations = Some(BTreeMap::from([(CONFIG_HASH.to_owned(), hash.to_owned())]));
    ConfigMap { metadata, data: Some(BTreeMap::from([(config::CONFIG_FILE.to_owned(), yaml)])), ..ConfigMap::default() }
}
