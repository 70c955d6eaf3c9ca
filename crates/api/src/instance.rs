//! What is known of a GitLab instance: the part of an AIGateway's status that GitLab itself tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of a GitLab instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitLabStatus {
    /// Version, for example `18.9.1-ee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Git revision of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `Enterprise` or `Community`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<Edition>,
    /// Instance id as GitLab's health check tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The licence; left out: none, or it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseStatus>,
    /// Active add-ons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add_ons: Vec<AddOnStatus>,
    /// Last day on which the operator's token works, `2026-12-31`; left out: it does not expire, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<String>,
    /// Whether an administrator accepted GitLab's testing terms, without which it hides beta features and families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testing_terms_accepted: Option<bool>,
    /// GitLab's own health check, probe by probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub probes: Vec<ProbeStatus>,
}

/// Edition of a GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Edition {
    /// GitLab EE.
    Enterprise,
    /// GitLab CE, which has no Duo.
    Community,
}

/// A licence as GitLab tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseStatus {
    /// `starter`, `premium` or `ultimate`.
    pub plan: String,
    /// `online_cloud`, `offline_cloud` or `legacy_license`.
    #[serde(rename = "type")]
    pub type_: String,
    /// First day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Last day; left out: it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// A trial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
}

/// An add-on as GitLab tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddOnStatus {
    /// GitLab's key: `DUO_ENTERPRISE`, `DUO_CORE`, `CODE_SUGGESTIONS` (Duo Pro), `SELF_HOSTED_DAP`, …
    pub name: String,
    /// Seats bought.
    #[serde(default)]
    pub purchased: i64,
    /// Seats assigned.
    #[serde(default)]
    pub assigned: i64,
}

/// One probe of GitLab's health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// GitLab's name of it; not unique.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// GitLab's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The condition that it decides; left out: it is shown and not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}
