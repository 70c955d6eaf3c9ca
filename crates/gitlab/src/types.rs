//! What is read from GitLab and what is written to it, in plain types with GitLab's oddities taken out.
//!
//! Normalised on reading: a trailing slash is cut from URLs, a blank text is `None`, the placeholder endpoint that older
//! versions require is `None`, enum keys are lower-case.

use serde::{Deserialize, Deserializer};

use crate::token::Token;

/// The endpoint that GitLab's own form sends for Bedrock where every model needs one (up to 18.9). Read as `None`.
pub const PLACEHOLDER_ENDPOINT: &str = "http://bedrockselfhostedmodel.com";

/// Cuts the slashes at the end of a URL and white space around it; blank is `None`. GitLab stores its settings so.
pub fn normalize_url(url: &str) -> Option<String> {
    let url = url.trim().trim_end_matches('/');
    (!url.is_empty()).then(|| url.to_owned())
}

/// Blank is `None`.
pub fn normalize_text(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(normalize_url))
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(url(deserializer)?.filter(|url| url != PLACEHOLDER_ENDPOINT))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(normalize_text))
}

fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// As GitLab writes it, `18.9.0-pre`.
    pub version: String,
    /// Whether this is the Enterprise Edition.
    pub enterprise: bool,
    /// Git revision, where it was asked for.
    #[serde(default)]
    pub revision: Option<String>,
}

/// `duoSettings`; each field is `None` without the right to read it, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuoSettings {
    /// Local AI gateway URL, no trailing slash.
    #[serde(default, deserialize_with = "url")]
    pub ai_gateway_url: Option<String>,
    /// Seconds, 60 to 600. `None` below GitLab 18.7.
    #[serde(default, rename = "aiGatewayTimeoutSeconds")]
    pub timeout_seconds: Option<u32>,
    /// `host:port` of the Agent Platform service. `None` below GitLab 18.4.
    #[serde(default, rename = "duoAgentPlatformServiceUrl", deserialize_with = "url")]
    pub agent_platform_url: Option<String>,
    /// Whether GitLab speaks TLS to that service. `None` up to GitLab 18.9.
    #[serde(default, rename = "selfHostedDuoAgentPlatformServiceSecure")]
    pub agent_platform_secure: Option<bool>,
}

/// What serves a model (GitLab 19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModelProvider {
    /// An OpenAI-compatible API; needs an endpoint.
    Api,
    /// AWS Bedrock.
    Bedrock,
    /// Google Vertex AI.
    VertexAi,
}

impl ModelProvider {
    /// The enum value of the mutation.
    pub fn as_graphql(self) -> &'static str {
        match self {
            Self::Api => "API",
            Self::Bedrock => "BEDROCK",
            Self::VertexAi => "VERTEX_AI",
        }
    }
}

/// A self-hosted model as GitLab has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfHostedModel {
    /// Global id, `gid://gitlab/Ai::SelfHostedModel/1`.
    pub id: String,
    /// Unique within the instance.
    pub name: String,
    /// Lower-case key, `claude_3`.
    #[serde(rename = "model")]
    pub family: String,
    /// No trailing slash; `None` when empty or the placeholder.
    #[serde(default, deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// `bedrock/…`, `custom_openai/…`; GitLab's `""` is `None`.
    #[serde(default, deserialize_with = "text")]
    pub identifier: Option<String>,
    /// `None` where the instance's schema has none. Rows that are older than the schema read as `API`.
    #[serde(default)]
    pub provider: Option<ModelProvider>,
    /// Whether GitLab stores an API key. The key itself is never asked for.
    #[serde(default)]
    pub has_api_token: bool,
    /// `GA`, `BETA` or `EXPERIMENTAL` of the family.
    #[serde(default)]
    pub release_state: Option<String>,
    /// ISO 8601. Sending a token moves it, even the same token.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// Who serves a feature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FeatureProvider {
    /// Switched off.
    Disabled,
    /// A self-hosted model.
    SelfHosted,
    /// Nothing chosen; also the value of a feature without a row.
    Unassigned,
    /// GitLab's own models.
    Vendored,
    /// A value this client does not know, lower-case.
    Other(String),
}

impl FeatureProvider {
    /// The lower-case key of the query.
    pub fn as_key(&self) -> &str {
        match self {
            Self::Disabled => "disabled",
            Self::SelfHosted => "self_hosted",
            Self::Unassigned => "unassigned",
            Self::Vendored => "vendored",
            Self::Other(key) => key,
        }
    }
}

impl<'de> Deserialize<'de> for FeatureProvider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?.to_lowercase();
        Ok(match key.as_str() {
            "disabled" => Self::Disabled,
            "self_hosted" => Self::SelfHosted,
            "unassigned" => Self::Unassigned,
            "vendored" => Self::Vendored,
            _ => Self::Other(key),
        })
    }
}

/// One feature and what serves it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireFeature")]
pub struct FeatureSetting {
    /// Lower-case key, `code_generations`.
    pub feature: String,
    /// Who serves it.
    pub provider: FeatureProvider,
    /// Free text of GitLab: `GA`, `BETA`, `EXPERIMENT`.
    pub release_state: Option<String>,
    /// As the administrator's page shows it.
    pub title: Option<String>,
    /// The group it is shown in, `GitLab Duo Chat`.
    pub main_feature: Option<String>,
    /// Id of the chosen self-hosted model. It may be set although the provider is not `self_hosted`: the model then
    /// still counts as in use.
    pub model_id: Option<String>,
    /// Families that may serve it, lower-case keys.
    pub compatible_llms: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFeature {
    feature: String,
    provider: FeatureProvider,
    #[serde(default)]
    release_state: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    main_feature: Option<String>,
    #[serde(default)]
    compatible_llms: Option<Vec<String>>,
    #[serde(default)]
    self_hosted_model: Option<WireId>,
}

#[derive(Deserialize)]
struct WireId {
    id: String,
}

impl From<WireFeature> for FeatureSetting {
    fn from(wire: WireFeature) -> Self {
        Self {
            feature: wire.feature.to_lowercase(),
            provider: wire.provider,
            release_state: wire.release_state,
            title: wire.title,
            main_feature: wire.main_feature,
            model_id: wire.self_hosted_model.map(|m| m.id),
            compatible_llms: wire.compatible_llms.unwrap_or_default(),
        }
    }
}

/// One reading of everything an operator compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Version and edition.
    pub metadata: Metadata,
    /// `None` when the token's user may not read them at all.
    pub settings: Option<DuoSettings>,
    /// Newest first. `None` when the token's user may not manage models. Models of beta families are hidden until the
    /// testing terms are accepted.
    pub models: Option<Vec<SelfHostedModel>>,
    /// Every feature this instance allows, with or without a choice. `None` when GitLab gives no list.
    pub features: Option<Vec<FeatureSetting>>,
}

impl Observation {
    /// Whether an administrator accepted the testing terms: only then features that are not GA are listed. `None`
    /// when GitLab gives no list.
    pub fn testing_terms_accepted(&self) -> Option<bool> {
        let not_ga = |f: &FeatureSetting| f.release_state.as_deref().is_some_and(|s| !s.eq_ignore_ascii_case("ga"));
        self.features.as_ref().map(|features| features.iter().any(not_ga))
    }
}

/// One probe of the health check, or the connection check's result.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Probe {
    /// Snake-case class name, not unique in a list (`host_probe` comes once per host).
    #[serde(default, deserialize_with = "or_empty")]
    pub name: String,
    /// Whether it passed.
    #[serde(default, deserialize_with = "or_empty")]
    pub success: bool,
    /// What happened; when it failed, the first error.
    #[serde(default)]
    pub message: Option<String>,
    /// All errors.
    #[serde(default, deserialize_with = "or_empty")]
    pub errors: Vec<String>,
    /// Free JSON, often null.
    #[serde(default)]
    pub details: serde_json::Value,
}

/// `currentLicense`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct License {
    /// `online_cloud`, `offline_cloud`, `legacy_license`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `starter`, `premium`, `ultimate`.
    pub plan: String,
    /// First day.
    #[serde(default)]
    pub starts_at: Option<jiff::civil::Date>,
    /// Last day; `None` means it does not expire.
    #[serde(default)]
    pub expires_at: Option<jiff::civil::Date>,
    /// The day changes are blocked.
    #[serde(default)]
    pub block_changes_at: Option<jiff::civil::Date>,
    /// A trial.
    #[serde(default, deserialize_with = "or_empty")]
    pub trial: bool,
}

/// What an administrator may read of what was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Version, revision and edition.
    pub metadata: Metadata,
    /// `None`: the instance has no licence.
    pub license: Option<License>,
    /// Active add-ons.
    pub add_ons: Vec<AddOn>,
}

/// One active add-on purchase.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddOn {
    /// Upper-case key: `DUO_ENTERPRISE`, `DUO_CORE`, `CODE_SUGGESTIONS` (Duo Pro), `SELF_HOSTED_DAP`, …
    pub name: String,
    /// Seats bought.
    pub purchased_quantity: i64,
    /// Seats assigned.
    pub assigned_quantity: i64,
}

/// The access token's own description (REST).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenInfo {
    /// Name given at creation.
    #[serde(default, deserialize_with = "or_empty")]
    pub name: String,
    /// `api`, `read_api`, `admin_mode`, …
    #[serde(default, deserialize_with = "or_empty")]
    pub scopes: Vec<String>,
    /// Last day it works.
    #[serde(default)]
    pub expires_at: Option<jiff::civil::Date>,
    /// Neither revoked nor expired.
    #[serde(default, deserialize_with = "or_empty")]
    pub active: bool,
    /// Revoked by somebody.
    #[serde(default, deserialize_with = "or_empty")]
    pub revoked: bool,
    /// Numeric id of its user.
    #[serde(default)]
    pub user_id: Option<u64>,
}

impl TokenInfo {
    /// Whether mutations are within its scopes.
    pub fn may_write(&self) -> bool {
        self.scopes.iter().any(|s| s == "api")
    }
}

/// What to do with the API key that GitLab stores for a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ApiToken {
    /// Leave it as it is (on create: none).
    #[default]
    Keep,
    /// Remove it.
    Clear,
    /// Store this one. Moves the model's `updatedAt` even when it is the same.
    Set(Token),
}

/// A self-hosted model to write. GitLab knows no partial update: all fields are sent each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInput {
    /// Unique within the instance, at most 255 characters (longer: HTTP 500).
    pub name: String,
    /// Family key in any case, `claude_3`.
    pub family: String,
    /// `None` for Bedrock and Vertex AI; the placeholder is sent where the schema requires one.
    pub endpoint: Option<String>,
    /// With the prefix that chooses the platform, `bedrock/…`.
    pub identifier: Option<String>,
    /// Sent where the schema has it.
    pub provider: ModelProvider,
    /// The API key.
    pub api_token: ApiToken,
}

/// The Duo settings to change; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsInput {
    /// `Some(None)` clears it.
    pub ai_gateway_url: Option<Option<String>>,
    /// 60 to 600. Left out where the instance has no such setting.
    pub timeout_seconds: Option<u32>,
    /// `host:port` without a scheme; `Some(None)` clears it. Left out where the instance has no such setting.
    pub agent_platform_url: Option<Option<String>>,
    /// Whether GitLab speaks TLS to it. Left out where the instance has no such setting.
    pub agent_platform_secure: Option<bool>,
}
