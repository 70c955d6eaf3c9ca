//! A GitLab of plain data. Its rules are those of GitLab 19.5: a model's rows vanish with it, names are unique, a row that
//! is switched off keeps its model unless a null is sent.

use duo_core::observed::{Capabilities, Feature, Instance, Model, Settings};
use duo_core::plan::{Operation, TokenChange, TokenWish};

/// An empty instance that lists these features.
pub fn instance(features: &[&str], new_shape: bool) -> Instance {
    let feature = |key: &&str| Feature {
        key: (*key).to_owned(),
        provider: "unassigned".to_owned(),
        model_id: None,
        release_state: Some("GA".to_owned()),
        families: [].into(),
    };
    Instance {
        version: if new_shape { "19.5.0" } else { "18.9.0" }.to_owned(),
        capabilities: Capabilities {
            has_model_provider: new_shape,
            endpoint_required: !new_shape,
            timeout_setting: true,
            agent_platform_url: true,
            agent_platform_secure: new_shape,
            families: Vec::new(),
            features: Vec::new(),
        },
        settings: Some(Settings { timeout_seconds: Some(60), ..Settings::default() }),
        models: Some(Vec::new()),
        features: features.iter().map(feature).collect(),
    }
}

/// Does what the operation says; the id of a model that was made.
///
/// # Panics
/// Where GitLab would refuse.
pub fn execute(instance: &mut Instance, operation: &Operation) -> Option<String> {
    let models = instance.models.as_mut().expect("a list of models");
    match operation {
        Operation::UpdateSettings { gateway_url, timeout_seconds, .. } => {
            let settings = instance.settings.as_mut().expect("settings");
            if let Some(url) = gateway_url {
                settings.gateway_url.clone_from(url);
            }
            settings.timeout_seconds = timeout_seconds.or(settings.timeout_seconds);
            None
        }
        Operation::CreateModel(desired) => {
            assert!(models.iter().all(|model| model.name != desired.name), "Name has already been taken");
            let next = models.iter().filter_map(|model| model.id.parse::<u64>().ok()).max().unwrap_or(100) + 1;
            models.push(Model {
                id: next.to_string(),
                name: desired.name.clone(),
                family: desired.family.to_lowercase(),
                endpoint: desired.endpoint.clone(),
                identifier: Some(desired.identifier.clone()),
                provider: desired.provider.map(ToOwned::to_owned),
                has_api_token: desired.token != TokenWish::None,
            });
            Some(next.to_string())
        }
        Operation::UpdateAgentPlatform { url, secure, .. } => {
            let settings = instance.settings.as_mut().expect("settings");
            if let Some(url) = url {
                settings.agent_platform_url.clone_from(url);
            }
            settings.agent_platform_secure = secure.or(settings.agent_platform_secure);
            None
        }
        Operation::UpdateModel { id, desired, token, .. } => {
            let taken = models.iter().any(|model| model.name == desired.name && model.id != *id);
            assert!(!taken, "Name has already been taken");
            let model = models.iter_mut().find(|model| model.id == *id).expect("the model");
            model.name.clone_from(&desired.name);
            model.family = desired.family.to_lowercase();
            model.endpoint.clone_from(&desired.endpoint);
            model.identifier = Some(desired.identifier.clone());
            model.provider = desired.provider.map(ToOwned::to_owned);
            model.has_api_token = match token {
                TokenChange::Keep => model.has_api_token,
                TokenChange::Clear => false,
                TokenChange::Set => true,
            };
            None
        }
        Operation::UpdateFeature { feature, target, .. } => {
            let row = instance.features.iter_mut().find(|row| row.key == *feature).expect("a listed feature");
            target.provider().clone_into(&mut row.provider);
            row.model_id = target.model_id().map(ToOwned::to_owned);
            None
        }
        Operation::DeleteModel { id, .. } => {
            models.retain(|model| model.id != *id);
            for row in instance.features.iter_mut().filter(|row| row.model_id.as_ref() == Some(id)) {
                "unassigned".clone_into(&mut row.provider);
                row.model_id = None;
            }
            None
        }
    }
}
