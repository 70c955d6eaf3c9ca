//! From the GitLab client's answers to the plain types of the decisions, and back to its inputs.

use std::sync::Arc;

use duo_core::observed;
use duo_core::plan::DesiredModel;
use duo_gitlab::{ApiToken, Capabilities, ModelInput, ModelProvider, Observation, Probe};

/// One observation in the words of the decisions.
pub(crate) fn instance(observation: Observation, capabilities: &Capabilities) -> observed::Instance {
    let mut lists = Lists::default();
    observed::Instance {
        version: observation.metadata.version,
        capabilities: observed::Capabilities {
            has_model_provider: capabilities.has_model_provider,
            endpoint_required: capabilities.endpoint_required,
            timeout_setting: capabilities.timeout_setting,
            agent_platform_url: capabilities.agent_platform_url,
            agent_platform_secure: capabilities.agent_platform_secure,
            families: capabilities.families.iter().map(|key| key.to_uppercase()).collect(),
            features: capabilities.features.iter().map(|key| key.to_uppercase()).collect(),
        },
        settings: observation.settings.map(settings),
        // Without the list of features the token lacks a right: then nothing may be concluded from what is not listed.
        models: observation
            .models
            .filter(|_| observation.features.is_some())
            .map(|models| models.into_iter().map(model).collect()),
        features: observation
            .features
            .unwrap_or_default()
            .into_iter()
            .map(|feature| observed::Feature {
                key: feature.feature,
                provider: feature.provider.as_key().to_owned(),
                model_id: feature.model_id,
                release_state: feature.release_state,
                families: lists.shared(feature.compatible_llms.iter().map(|family| family.to_lowercase()).collect()),
            })
            .collect(),
    }
}

/// Lists that are kept once: most features may be served by the same families, and there are hundreds of instances.
#[derive(Default)]
struct Lists(Vec<Arc<[String]>>);

impl Lists {
    fn shared(&mut self, list: Vec<String>) -> Arc<[String]> {
        if let Some(known) = self.0.iter().find(|known| known.as_ref() == list.as_slice()) {
            return Arc::clone(known);
        }
        let list: Arc<[String]> = list.into();
        self.0.push(Arc::clone(&list));
        list
    }
}

/// The settings in the words of the decisions.
pub(crate) fn settings(settings: duo_gitlab::DuoSettings) -> observed::Settings {
    observed::Settings {
        gateway_url: settings.ai_gateway_url,
        timeout_seconds: settings.timeout_seconds,
        agent_platform_url: settings.agent_platform_url,
        agent_platform_secure: settings.agent_platform_secure,
    }
}

/// One model in the words of the decisions.
pub(crate) fn model(model: duo_gitlab::SelfHostedModel) -> observed::Model {
    observed::Model {
        id: model.id,
        name: model.name,
        family: model.family,
        endpoint: model.endpoint,
        identifier: model.identifier,
        provider: model.provider.map(|provider| provider.as_graphql().to_owned()),
        has_api_token: model.has_api_token,
    }
}

/// One probe in the words of the decisions.
pub(crate) fn probe(probe: Probe) -> observed::Probe {
    observed::Probe {
        instance_id: probe.details.get("instance_id").and_then(|id| id.as_str()).map(ToOwned::to_owned),
        name: probe.name,
        success: probe.success,
        message: probe.message.unwrap_or_default(),
    }
}

/// What the client sends for a model. The operator's own gateway holds the keys itself; only GitLab's image needs them
/// from GitLab.
pub(crate) fn model_input(desired: &DesiredModel, api_token: ApiToken) -> ModelInput {
    ModelInput {
        name: desired.name.clone(),
        family: desired.family.to_lowercase(),
        endpoint: desired.endpoint.clone(),
        identifier: Some(desired.identifier.clone()),
        provider: match desired.provider {
            Some("BEDROCK") => ModelProvider::Bedrock,
            Some("VERTEX_AI") => ModelProvider::VertexAi,
            _ => ModelProvider::Api,
        },
        api_token,
    }
}
