//! Writing: models, features, settings. One mutation per call, each refused as a whole or done.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    client::Client,
    documents::{self, Document},
    error::{Error, Result},
    schema::Capabilities,
    transport::Call,
    types::{
        ApiToken, DuoSettings, FeatureProvider, FeatureSetting, ModelInput, PLACEHOLDER_ENDPOINT, Probe,
        SelfHostedModel, SettingsInput,
    },
};

/// Whether a deletion found something to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// GitLab deleted it now.
    Now,
    /// GitLab does not know it any more.
    AlreadyGone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelPayload {
    errors: Vec<String>,
    self_hosted_model: Option<SelfHostedModel>,
}

impl Client {
    /// Registers a model.
    ///
    /// [`Error::NameTaken`] also when the existing one is hidden from the list. After an error whose
    /// [`outcome_unknown`](Error::outcome_unknown) the model may exist: observe before trying again.
    pub async fn create_model(&self, model: &ModelInput) -> Result<SelfHostedModel> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            ai_self_hosted_model_create: Option<ModelPayload>,
        }
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.create_model(model, &*self.capabilities().await?);
        }
        let call = self.call_with(documents::MODEL_CREATE, model);
        let data: Data = self.run(call, documents::MODEL_CREATE, |c| input(model_input(model, c))).await?;
        self.model(call, data.ai_self_hosted_model_create)
    }

    /// Overwrites a model. GitLab answers an unknown id with HTTP 500, so look it up in an observation first.
    pub async fn update_model(&self, id: &str, model: &ModelInput) -> Result<SelfHostedModel> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            ai_self_hosted_model_update: Option<ModelPayload>,
        }
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.update_model(id, model, &*self.capabilities().await?);
        }
        let call = self.call_with(documents::MODEL_UPDATE, model);
        let variables = |c: &Capabilities| {
            let mut fields = model_input(model, c);
            fields.insert("id".into(), id.into());
            input(fields)
        };
        let data: Data = self.run(call, documents::MODEL_UPDATE, variables).await?;
        self.model(call, data.ai_self_hosted_model_update)
    }

    /// Deletes a model. GitLab does not refuse to delete one that is in use: its features fall back to unassigned.
    pub async fn delete_model(&self, id: &str) -> Result<Deleted> {
        #[derive(Deserialize)]
        struct Payload {
            errors: Vec<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            ai_self_hosted_model_delete: Option<Payload>,
        }
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.delete_model(id);
        }
        let call = self.write_call(documents::MODEL_DELETE);
        let data: Data = self.run(call, documents::MODEL_DELETE, |_| json!({ "input": { "id": id } })).await?;
        let payload = data.ai_self_hosted_model_delete.ok_or_else(|| null_payload(documents::MODEL_DELETE))?;
        match self.transport.payload_errors(call, &payload.errors) {
            Ok(()) => Ok(Deleted::Now),
            Err(Error::ModelNotFound { .. }) => Ok(Deleted::AlreadyGone),
            Err(e) => Err(e),
        }
    }

    /// Lets GitLab send one small request through the gateway to the model. Saves nothing; costs tokens of the model.
    ///
    /// GitLab waits 3 s for the gateway (18.9), so a slow model fails although it works.
    pub async fn connection_check(&self, model: &ModelInput) -> Result<Probe> {
        #[derive(Deserialize)]
        struct Payload {
            errors: Vec<String>,
            result: Option<Probe>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            ai_self_hosted_model_connection_check: Option<Payload>,
        }
        let document = documents::CONNECTION_CHECK;
        if self.rehearsal.is_some() {
            return Err(Error::WriteNotAllowed { operation: document.operation });
        }
        let call = Call { timeout: self.slow_call(document).timeout, write: false, ..self.call_with(document, model) };
        let data: Data = self.run(call, document, |c| input(model_input(model, c))).await?;
        let payload = data.ai_self_hosted_model_connection_check.ok_or_else(|| null_payload(document))?;
        self.transport.payload_errors(call, &payload.errors)?;
        let probe = payload.result.ok_or_else(|| null_payload(document))?;
        Ok(self.clean_with(probe, call.secret))
    }

    /// Chooses who serves one feature (lower-case key). One feature per call: GitLab's batch is not atomic and its errors
    /// do not say which feature they mean.
    ///
    /// The model id is always sent, as an explicit null when there is none: else the old model keeps counting as in use.
    pub async fn update_feature(
        &self,
        feature: &str,
        provider: &FeatureProvider,
        model_id: Option<&str>,
    ) -> Result<Option<FeatureSetting>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            errors: Vec<String>,
            #[serde(default)]
            ai_feature_settings: Option<Vec<FeatureSetting>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            ai_feature_setting_update: Option<Payload>,
        }
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.update_feature(feature, provider, model_id);
        }
        let call = self.write_call(documents::FEATURE_UPDATE);
        let variables = json!({ "input": {
            "features": [feature.to_uppercase()],
            "provider": provider.as_key().to_uppercase(),
            "aiSelfHostedModelId": model_id,
        } });
        let data: Data = self.run(call, documents::FEATURE_UPDATE, |_| variables.clone()).await?;
        let payload = data.ai_feature_setting_update.ok_or_else(|| null_payload(documents::FEATURE_UPDATE))?;
        self.transport.payload_errors(call, &payload.errors)?;
        let settings = payload.ai_feature_settings.unwrap_or_default();
        Ok(settings.into_iter().find(|s| s.feature.eq_ignore_ascii_case(feature)))
    }

    /// Changes the given settings and leaves the others. Answers with the settings as they are now.
    ///
    /// GitLab refuses a gateway URL whose host name it cannot resolve itself.
    pub async fn update_settings(&self, settings: &SettingsInput) -> Result<DuoSettings> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            errors: Vec<String>,
            duo_settings: DuoSettings,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            duo_settings_update: Option<Payload>,
        }
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.update_settings(settings, &*self.capabilities().await?);
        }
        if settings_input(settings, &*self.capabilities().await?).is_empty() {
            // nothing given that this instance has: not worth a mutation
            return self.settings().await;
        }
        let call = self.write_call(documents::SETTINGS_UPDATE);
        let data: Data = self.run(call, documents::SETTINGS_UPDATE, |c| input(settings_input(settings, c))).await?;
        let payload = data.duo_settings_update.ok_or_else(|| null_payload(documents::SETTINGS_UPDATE))?;
        self.transport.payload_errors(call, &payload.errors)?;
        Ok(payload.duo_settings)
    }

    fn model(&self, call: Call<'_>, payload: Option<ModelPayload>) -> Result<SelfHostedModel> {
        let null = || Error::UnexpectedAnswer { operation: call.operation, what: "neither model nor error".into() };
        let payload = payload.ok_or_else(null)?;
        self.transport.payload_errors(call, &payload.errors)?;
        payload.self_hosted_model.ok_or_else(null)
    }

    fn call_with<'a>(&self, document: Document, model: &'a ModelInput) -> Call<'a> {
        let secret = match &model.api_token {
            ApiToken::Set(token) => Some(token),
            ApiToken::Keep | ApiToken::Clear => None,
        };
        Call { secret, ..self.write_call(document) }
    }
}

fn input(fields: Map<String, Value>) -> Value {
    json!({ "input": fields })
}

/// The fields that create, update and connection check share, in the form of the instance's schema.
pub(crate) fn model_input(model: &ModelInput, capabilities: &Capabilities) -> Map<String, Value> {
    let ModelInput { name, family, endpoint, identifier, provider, api_token } = model;
    let placeholder = capabilities.endpoint_required.then_some(PLACEHOLDER_ENDPOINT);
    let mut fields = Map::new();
    fields.insert("name".into(), name.as_str().into());
    fields.insert("model".into(), family.to_uppercase().into());
    fields.insert("endpoint".into(), endpoint.as_deref().or(placeholder).into());
    fields.insert("identifier".into(), identifier.as_deref().into());
    if capabilities.has_model_provider {
        fields.insert("provider".into(), provider.as_graphql().into());
    }
    match api_token {
        ApiToken::Keep => {}
        ApiToken::Clear => {
            fields.insert("apiToken".into(), "".into());
        }
        ApiToken::Set(token) => {
            fields.insert("apiToken".into(), token.expose().into());
        }
    }
    fields
}

/// The settings that are given and that the instance has. Clearing sends a blank text, which GitLab stores as null.
pub(crate) fn settings_input(settings: &SettingsInput, capabilities: &Capabilities) -> Map<String, Value> {
    let SettingsInput { ai_gateway_url, timeout_seconds, agent_platform_url, agent_platform_secure } = settings;
    let mut fields = Map::new();
    if let Some(url) = ai_gateway_url {
        fields.insert("aiGatewayUrl".into(), url.as_deref().unwrap_or_default().into());
    }
    if let Some(seconds) = timeout_seconds.filter(|_| capabilities.timeout_setting) {
        fields.insert("aiGatewayTimeoutSeconds".into(), seconds.into());
    }
    if let Some(url) = agent_platform_url.as_ref().filter(|_| capabilities.agent_platform_url) {
        fields.insert("duoAgentPlatformServiceUrl".into(), url.as_deref().unwrap_or_default().into());
    }
    if let Some(secure) = agent_platform_secure.filter(|_| capabilities.agent_platform_secure) {
        fields.insert("selfHostedDuoAgentPlatformServiceSecure".into(), secure.into());
    }
    fields
}

fn null_payload(document: Document) -> Error {
    Error::UnexpectedAnswer { operation: document.operation, what: "an empty payload without an error".into() }
}
