//! What was seen of GitLab, in the words of the decisions. The operator fills these from its client's answers.

use std::sync::Arc;

/// One model as GitLab lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Global id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Lower-case family key, e.g. `claude_3`.
    pub family: String,
    /// Endpoint; GitLab 18.9 fills a placeholder for Bedrock.
    pub endpoint: Option<String>,
    /// Identifier; `None` when unset (GitLab answers an empty text).
    pub identifier: Option<String>,
    /// `API`, `BEDROCK` or `VERTEX_AI`; `None` where the schema has no such field (up to 18.9).
    pub provider: Option<String>,
    /// Whether GitLab stores an API token for it.
    pub has_api_token: bool,
}

/// How one feature is set in GitLab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Lower-case key, e.g. `code_completions`.
    pub key: String,
    /// `disabled`, `vendored`, `self_hosted` or `unassigned`.
    pub provider: String,
    /// Global id of the model, also kept by rows that are not `self_hosted` until it is nulled.
    pub model_id: Option<String>,
    /// `GA`, `BETA` or `EXPERIMENT`; free text.
    pub release_state: Option<String>,
    /// Lower-case keys of the families that may serve it; empty when GitLab does not say. Most features have the same.
    pub families: Arc<[String]>,
}

/// The Duo settings that the operator manages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Local AI gateway URL.
    pub gateway_url: Option<String>,
    /// Request timeout in seconds; `None` below 18.7 or without the right.
    pub timeout_seconds: Option<u32>,
    /// Agent Platform service, `host:port`; `None` below 18.4, too.
    pub agent_platform_url: Option<String>,
    /// Whether GitLab speaks TLS to it; `None` up to 18.9, too.
    pub agent_platform_secure: Option<bool>,
}

/// What an instance offers, found out by introspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `aiSelfHostedModelCreate` takes a `provider` (between 18.9 and 19.5).
    pub has_model_provider: bool,
    /// An endpoint must be sent for every model (18.9).
    pub endpoint_required: bool,
    /// The request timeout can be set (18.7).
    pub timeout_setting: bool,
    /// The Agent Platform service can be set (18.4).
    pub agent_platform_url: bool,
    /// Whether GitLab speaks TLS to it can be set (after 18.9).
    pub agent_platform_secure: bool,
    /// Upper-case families that the instance knows; empty when unknown.
    pub families: Vec<String>,
    /// Upper-case features that the instance knows; empty when unknown.
    pub features: Vec<String>,
}

/// One observation of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Version, for example `18.9.1-ee`.
    pub version: String,
    /// What its schema offers.
    pub capabilities: Capabilities,
    /// `None`: the token may not read them.
    pub settings: Option<Settings>,
    /// `None`: the token may not read them. GitLab hides models of beta families until its testing terms are accepted.
    pub models: Option<Vec<Model>>,
    /// Features that the instance lists.
    pub features: Vec<Feature>,
}

impl Instance {
    /// Whether what is not listed is not there. GitLab shows nothing to a token whose user lost the rights, or under a
    /// licence that ran out, and that looks like a GitLab without models, features and URL.
    pub fn tells_absence(&self) -> bool {
        self.models.is_some() && self.settings.is_some()
    }

    /// The model with this id.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().flatten().find(|model| model.id == id)
    }

    /// The model with this name.
    pub fn model_named(&self, name: &str) -> Option<&Model> {
        self.models.iter().flatten().find(|model| model.name == name)
    }

    /// How a feature is set, if the instance lists it.
    pub fn feature(&self, key: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.key == key)
    }

    /// Whether an administrator accepted GitLab's testing terms: only then are features listed that are not generally
    /// available (GitLab 18.9).
    pub fn testing_terms_accepted(&self) -> bool {
        self.features.iter().any(|feature| feature.release_state.as_deref().is_some_and(|state| state != "GA"))
    }

    /// Keys of the features that use this model, whatever their provider says.
    pub fn features_of(&self, model_id: &str) -> Vec<&str> {
        self.features
            .iter()
            .filter(|feature| feature.model_id.as_deref() == Some(model_id))
            .map(|feature| feature.key.as_str())
            .collect()
    }
}

/// One probe of GitLab's health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Snake-case class name; not unique.
    pub name: String,
    /// Whether it passed.
    pub success: bool,
    /// GitLab's words.
    pub message: String,
    /// `instance_id` of the probe's details, where it has one.
    pub instance_id: Option<String>,
}

#[cfg(test)]
impl Capabilities {
    /// Those of the newest schema, with neither families nor features named: what most cases begin with.
    pub(crate) fn newest() -> Self {
        Self {
            has_model_provider: true,
            endpoint_required: false,
            timeout_setting: true,
            agent_platform_url: true,
            agent_platform_secure: true,
            families: vec![],
            features: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_rights_tells_no_absence() {
        for (models, settings, tells) in [
            (Some(vec![]), Some(Settings::default()), true),
            (None, Some(Settings::default()), false),
            (Some(vec![]), None, false),
            (None, None, false),
        ] {
            let capabilities = Capabilities::newest();
            let seen = Instance { version: String::new(), capabilities, settings, models, features: vec![] };
            assert_eq!(seen.tells_absence(), tells, "{seen:?}");
        }
    }

    #[test]
    fn a_model_is_used_by_each_row_that_names_it_whatever_its_provider_says() {
        let row = |key: &str, provider: &str, model: Option<&str>| Feature {
            key: key.into(),
            provider: provider.into(),
            model_id: model.map(Into::into),
            release_state: None,
            families: [].into(),
        };
        let capabilities = Capabilities::newest();
        let features = vec![
            row("duo_chat", "self_hosted", Some("7")),
            row("code_completions", "disabled", Some("7")),
            row("code_generations", "self_hosted", Some("8")),
            row("glab_ask_git_command", "unassigned", None),
        ];
        let seen = Instance { version: String::new(), capabilities, settings: None, models: None, features };
        assert_eq!(seen.features_of("7"), ["duo_chat", "code_completions"]);
        assert!(seen.features_of("9").is_empty());
    }
}
