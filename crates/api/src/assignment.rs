//! `FeatureAssignment`: features of GitLab Duo served by one model.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{DeletionPolicy, LocalRef};
use crate::condition::Condition;
use crate::feature::Feature;

/// Features of GitLab Duo served by one model.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "duo.selfhosted.dev",
    version = "v1alpha1",
    kind = "FeatureAssignment",
    plural = "featureassignments",
    singular = "featureassignment",
    shortname = "fa",
    category = "duo",
    namespaced,
    status = "FeatureAssignmentStatus",
    derive = "PartialEq",
    doc = "Features of GitLab Duo served by one model.",
    selectable = ".spec.gatewayRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gatewayRef.name"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelRef.name"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider", priority = 1),
    printcolumn(name = "Features", type_ = "string", json_path = ".spec.features", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.modelRef) != has(self.provider)")
        .message("exactly one of modelRef and provider must be set: modelRef names a SelfHostedModel, provider is Disabled or GitLabManaged"),
)]
#[serde(rename_all = "camelCase")]
pub struct FeatureAssignmentSpec {
    /// The AIGateway whose GitLab is meant. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("gatewayRef cannot be changed: create another FeatureAssignment for the other gateway"))]
    pub gateway_ref: LocalRef,
    /// Features and sub-features. A chat sub-feature that no assignment names uses Duo Chat's model.
    #[schemars(length(min = 1, max = 25), extend("x-kubernetes-list-type" = "set"))]
    pub features: Vec<Feature>,
    /// The SelfHostedModel that serves the features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_ref: Option<LocalRef>,
    /// In place of a model: `Disabled` switches the features off, `GitLabManaged` uses GitLab's own models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AssignmentProvider>,
    /// Asks the model for each feature from time to time, as a user would, and tells what became of it; costs tokens.
    /// Left out: the model is asked only after a user's call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic_requests: Option<SyntheticRequests>,
    /// What happens to the features in GitLab when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// `true`: the operator writes nothing for this object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Requests of our own, so that a break is seen before a user meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyntheticRequests {
    /// Time between two requests for one feature, whole seconds.
    #[serde(default = "default_interval")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("interval", "60s", "24h"))]
    pub interval: String,
}

fn default_interval() -> String {
    "10m".into()
}

/// What serves a feature when no self-hosted model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AssignmentProvider {
    /// The feature is off for the instance.
    Disabled,
    /// GitLab's own models serve it (GitLab: `VENDORED`); impossible with an offline licence.
    GitLabManaged,
}

/// Observed state of a FeatureAssignment. A cache: losing it loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeatureAssignmentStatus {
    /// Generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// See the module on conditions for the types.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What the operator would write to GitLab and does not, because the AIGateway's managementPolicy is `Observe`. Left
    /// out while nothing differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::plan")]
    pub plan: Vec<String>,
    /// What is known of each feature, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub features: Vec<FeatureStatus>,
}

/// What is known of one feature and the model that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeatureStatus {
    /// The feature.
    pub name: Feature,
    /// How well GitLab documents the model to work for the feature; left out where no self-hosted model serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The model's name in GitLab's table of supported models; left out where it is not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_as: Option<String>,
    /// `GA`, `BETA` or `EXPERIMENT`, as GitLab says; left out: GitLab does not offer the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_state: Option<String>,
}

/// How well a model works for a feature, by GitLab's documentation of the instance's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// "Full functionality".
    Full,
    /// "Partial functionality": the model may have difficulties.
    Partial,
    /// "Limited functionality": GitLab gives no support for the feature with this model.
    Limited,
    /// The tables do not list the model, or not for this feature.
    Unlisted,
}
