//! A GitLab that is only looked at: reads go to the instance, writes change a copy in memory.
//!
//! A dry run must say what would be done, so the same code asks for the same writes. Here they are answered from what was
//! observed once, as GitLab answers them, and nothing is sent: the transport of such a client refuses every write, too.
//! What GitLab alone can refuse (a name that a hidden model has, a URL it cannot resolve) is not known here.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    error::{Error, Result},
    schema::Capabilities,
    types::{
        ApiToken, DuoSettings, FeatureProvider, FeatureSetting, ModelInput, Observation, Probe, SelfHostedModel,
        SettingsInput, normalize_text, normalize_url,
    },
    write::Deleted,
};

/// Before the number of a model that exists in a rehearsal only; GitLab's own numbers have digits alone.
pub const REHEARSED_ID: &str = "gid://gitlab/Ai::SelfHostedModel/new-";

/// What was seen and what the writes since then would have made of it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rehearsal {
    state: Arc<Mutex<Option<State>>>,
    health: Arc<Mutex<Option<Vec<Probe>>>>,
}

#[derive(Debug)]
struct State {
    seen: Observation,
    now: Observation,
    made: u32,
}

impl Rehearsal {
    /// The copy as it is now; `None` before GitLab was looked at.
    pub(crate) fn now(&self) -> Option<Observation> {
        self.seen_and_now().map(|(_, now)| now)
    }

    /// What GitLab holds, and the copy as it is now.
    pub(crate) fn seen_and_now(&self) -> Option<(Observation, Observation)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().map(|state| (state.seen.clone(), state.now.clone()))
    }

    /// The health check's answer, asked once: it takes seconds and judges the GitLab that is there.
    pub(crate) fn health(&self) -> Option<Vec<Probe>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep_health(&self, probes: Vec<Probe>) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(probes);
    }

    /// Begins with what GitLab holds.
    pub(crate) fn begin(&self, seen: Observation) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(State { now: seen.clone(), seen, made: 0 });
    }

    fn change<T>(&self, operation: &'static str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unseen = || Error::UnexpectedAnswer { operation, what: "a write before any look at GitLab".into() };
        act(state.as_mut().ok_or_else(unseen)?)
    }

    pub(crate) fn create_model(&self, model: &ModelInput, capabilities: &Capabilities) -> Result<SelfHostedModel> {
        self.change("aiSelfHostedModelCreate", |state| {
            state.made += 1;
            let id = format!("{REHEARSED_ID}{}", state.made);
            let made = row(id, model, capabilities, false);
            // newest first, as GitLab lists them
            state.now.models.get_or_insert_default().insert(0, made.clone());
            Ok(made)
        })
    }

    pub(crate) fn update_model(
        &self,
        id: &str,
        model: &ModelInput,
        capabilities: &Capabilities,
    ) -> Result<SelfHostedModel> {
        let operation = "aiSelfHostedModelUpdate";
        self.change(operation, |state| {
            let found = state.now.models.iter_mut().flatten().find(|found| found.id == id);
            // what GitLab answers for a number that it does not know
            let unknown = || Error::ServerError {
                operation,
                status: 500,
                message: "Internal server error".into(),
                retry_after: None,
            };
            let found = found.ok_or_else(unknown)?;
            *found = row(id.to_owned(), model, capabilities, found.has_api_token);
            Ok(found.clone())
        })
    }

    /// The features of a deleted model lose their choice, as by GitLab's foreign key.
    pub(crate) fn delete_model(&self, id: &str) -> Result<Deleted> {
        self.change("aiSelfHostedModelDelete", |state| {
            let models = state.now.models.get_or_insert_default();
            let before = models.len();
            models.retain(|model| model.id != id);
            for feature in state.now.features.iter_mut().flatten().filter(|f| f.model_id.as_deref() == Some(id)) {
                feature.provider = FeatureProvider::Unassigned;
                feature.model_id = None;
            }
            // one that is hidden from the list is there all the same: GitLab would know
            Ok(if models.len() < before { Deleted::Now } else { Deleted::AlreadyGone })
        })
    }

    pub(crate) fn update_feature(
        &self,
        feature: &str,
        provider: &FeatureProvider,
        model_id: Option<&str>,
    ) -> Result<Option<FeatureSetting>> {
        self.change("aiFeatureSettingUpdate", |state| {
            let features = state.now.features.get_or_insert_default();
            let found = features.iter_mut().find(|found| found.feature.eq_ignore_ascii_case(feature));
            Ok(found.map(|found| {
                found.provider = provider.clone();
                found.model_id = model_id.map(ToOwned::to_owned);
                found.clone()
            }))
        })
    }

    pub(crate) fn update_settings(&self, settings: &SettingsInput, capabilities: &Capabilities) -> Result<DuoSettings> {
        let SettingsInput { ai_gateway_url, timeout_seconds, agent_platform_url, agent_platform_secure } = settings;
        self.change("duoSettingsUpdate", |state| {
            let now = state.now.settings.get_or_insert_default();
            if let Some(url) = ai_gateway_url {
                now.ai_gateway_url = url.as_deref().and_then(normalize_url);
            }
            if let Some(seconds) = timeout_seconds.filter(|_| capabilities.timeout_setting) {
                now.timeout_seconds = Some(seconds);
            }
            if let Some(url) = agent_platform_url.as_ref().filter(|_| capabilities.agent_platform_url) {
                now.agent_platform_url = url.as_deref().and_then(normalize_url);
            }
            if let Some(secure) = agent_platform_secure.filter(|_| capabilities.agent_platform_secure) {
                now.agent_platform_secure = Some(secure);
            }
            Ok(now.clone())
        })
    }
}

fn row(id: String, model: &ModelInput, capabilities: &Capabilities, had_token: bool) -> SelfHostedModel {
    let ModelInput { name, family, endpoint, identifier, provider, api_token } = model;
    SelfHostedModel {
        id,
        name: name.clone(),
        family: family.to_lowercase(),
        endpoint: endpoint.as_deref().and_then(normalize_url).filter(|url| url != crate::types::PLACEHOLDER_ENDPOINT),
        identifier: identifier.as_deref().and_then(normalize_text),
        provider: capabilities.has_model_provider.then_some(*provider),
        has_api_token: match api_token {
            ApiToken::Keep => had_token,
            ApiToken::Clear => false,
            ApiToken::Set(_) => true,
        },
        release_state: None,
        updated_at: None,
    }
}
