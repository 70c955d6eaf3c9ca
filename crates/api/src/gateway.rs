//! `AIGateway`: one GitLab instance and the gateway that serves it.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{CaBundleRef, DeletionPolicy, LocalRef, ManagementPolicy, SecretKeyRef};
use crate::condition::Condition;
use crate::instance::GitLabStatus;
use crate::providers::ProvidersSpec;
use crate::serving::{DocsIndexSpec, LimitsSpec, LoggingSpec, ProxySpec, TlsSpec, TracingSpec};

/// One GitLab instance and the AI gateway that serves it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "duo.selfhosted.dev",
    version = "v1alpha1",
    kind = "AIGateway",
    plural = "aigateways",
    singular = "aigateway",
    shortname = "aigw",
    category = "duo",
    namespaced,
    status = "AIGatewayStatus",
    derive = "PartialEq",
    doc = "One GitLab instance and the AI gateway that serves it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "GitLab", type_ = "string", json_path = ".status.gitlab.version"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Models", type_ = "integer", json_path = ".status.models", priority = 1),
    printcolumn(name = "Features", type_ = "integer", json_path = ".status.features", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message(
        "metadata.name becomes the name of a Service: at most 40 lower-case letters, digits and '-', beginning with a letter"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AIGatewaySpec {
    /// The GitLab instance.
    pub gitlab: GitLabSpec,
    /// Whether the operator writes to GitLab (`Full`) or only reports differences (`Observe`).
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// What happens in GitLab when this object is deleted: `Delete` puts the gateway URL back to what it was before.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Which gateway runs. `Embedded`: Duo Operator's own.
    #[serde(default)]
    pub implementation: Implementation,
    /// Container image of the gateway; default: the one of the operator's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Number of gateway pods.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// URL under which GitLab calls the gateway; must resolve for GitLab. Default: the Service's DNS name, port 5052.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("url", "https://ai-gateway.example.com:5052"))]
    pub url: Option<String>,
    /// How long GitLab waits for the gateway, whole seconds from 60s to 600s; GitLab 18.7 or later. Left out: GitLab's
    /// own setting stays as it is and the gateway assumes 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('60s') && duration(self) <= duration('600s')")
        .message("requestTimeout must be between 60s and 600s: GitLab accepts no other value"))]
    pub request_timeout: Option<String>,
    /// How long a model server may take to its first byte where the model does not say, whole seconds. Left out: as
    /// long as the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("firstByteTimeout", "1s", "600s"))]
    pub first_byte_timeout: Option<String>,
    /// How long a gateway that is being stopped still accepts requests, so that load balancers notice, whole seconds.
    /// Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("drainPeriod", "0s", "300s"))]
    pub drain_period: Option<String>,
    /// TLS of the gateway's listener. GitLab must trust the certificate, and it must be valid for the host in `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Model platforms with settings of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<ProvidersSpec>,
    /// What the gateway does with a request for a model that no SelfHostedModel declares: `Refuse` or `Allow`. Left
    /// out: `Refuse`, and GitLab's URL is not switched while models made by hand are in use there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undeclared_models: Option<UndeclaredModels>,
    /// Settings of the gateway's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSpec>,
    /// What users and the instance may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// HTTP proxy for the gateway's calls. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySpec>,
    /// Where traces go. Left out: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingSpec>,
    /// Logging of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<LoggingSpec>,
    /// Documentation that Duo Chat searches. Left out: it finds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs_index: Option<DocsIndexSpec>,
    /// Currency of the models' prices, ISO 4217; a label of metrics, nothing is converted. Default USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    pub currency: Option<String>,
    /// `true`: the operator writes nothing for this object and what belongs to it, neither to the cluster nor to GitLab.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn default_replicas() -> i32 {
    2
}

/// Where GitLab is and how the operator gets in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitLabSpec {
    /// GitLab's URL (`AIGW_GITLAB_URL`).
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("gitlab.url", "https://gitlab.example.com"))]
    pub url: String,
    /// URL of GitLab's REST API (`AIGW_GITLAB_API_URL`); default `{url}/api/v4/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("gitlab.apiUrl", "https://gitlab.example.com/api/v4/"))]
    pub api_url: Option<String>,
    /// Access token of an instance administrator with scope `api`.
    pub token_secret_ref: SecretKeyRef,
    /// CA certificates to trust for GitLab and model endpoints, beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// `true`: an instance with an offline licence; the gateway does not ask GitLab's customer portal for keys.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// Which gateway runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Implementation {
    /// Duo Operator's own gateway.
    #[default]
    Embedded,
}

/// What the gateway does with a request for a model that is not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndeclaredModels {
    /// Answer 422.
    Refuse,
    /// Call the endpoint that the request names.
    Allow,
}

/// Settings of the gateway's pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// Additional labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Additional annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the pods' ServiceAccount, for example `eks.amazonaws.com/role-arn` for workload identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Nodes that the pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Secrets with credentials of the image registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// CPU and memory of the gateway container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A taint that pods tolerate, as in `core/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Taint key; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Taint value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Taint effect; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a `NoExecute` taint is tolerated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// Operator of a toleration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The key exists.
    Exists,
    /// Key and value are equal.
    Equal,
}

/// Effect of a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Pods are not placed on the node.
    NoSchedule,
    /// Pods are placed there last.
    PreferNoSchedule,
    /// Pods are not placed there and running ones are evicted.
    NoExecute,
}

/// CPU and memory of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Guaranteed amounts.
    #[serde(default)]
    pub requests: Quantities,
    /// Upper bounds.
    #[serde(default)]
    pub limits: Quantities,
}

/// Amounts of CPU and memory, as Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantities {
    /// For example `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("cpu must be a Kubernetes quantity, for example 500m"))]
    pub cpu: Option<String>,
    /// For example `128Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("memory must be a Kubernetes quantity, for example 128Mi"))]
    pub memory: Option<String>,
}

/// Observed state of an AIGateway. A cache: losing it loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIGatewayStatus {
    /// Generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// See the module on conditions for the types.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// URL under which GitLab calls the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What is known of the GitLab instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<GitLabStatus>,
    /// Hash of the rendered configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// SelfHostedModels of this gateway that are registered in GitLab.
    #[serde(default)]
    pub models: i32,
    /// Features that FeatureAssignments of this gateway cover.
    #[serde(default)]
    pub features: i32,
    /// What the operator would write to GitLab and does not, because the AIGateway's managementPolicy is `Observe`. Left
    /// out while nothing differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::plan")]
    pub plan: Vec<String>,
}
