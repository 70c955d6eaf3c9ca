//! `AIGateway`: one GitLab instance and the gateway that serves it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{CaBundleRef, DeletionPolicy, ManagementPolicy, SecretKeyRef};
use crate::condition::Condition;
use crate::exposure::{HttpRouteSpec, IngressSpec};
use crate::gitlab_image::{AgentPlatformSpec, GitLabImageSpec};
use crate::instance::GitLabStatus;
use crate::network_policy::NetworkPolicySpec;
pub use crate::pod::{
    PodSpec, Quantities, Resources, TaintEffect, Toleration, TolerationOperator, TopologySpread, WhenUnsatisfiable,
};
use crate::providers::ProvidersSpec;
use crate::scaling::AutoscalingSpec;
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
#[x_kube(
    validation = Rule::new("!has(self.autoscaling) || !has(self.replicas) || self.replicas == 2")
        .message("replicas and autoscaling exclude each other: leave replicas out, autoscaling.minReplicas and maxReplicas say how many")
        .field_path(".replicas"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.pod) || !has(self.pod.resources) || (has(self.pod.resources.requests) && has(self.pod.resources.requests.cpu)) || (has(self.pod.resources.limits) && has(self.pod.resources.limits.cpu))")
        .message("autoscaling measures CPU in per cent of what the pods request: give pod.resources.requests.cpu")
        .field_path(".autoscaling"),
    validation = Rule::new("!has(self.gitlabImage) || self.implementation == 'GitLab' || has(self.agentPlatform)")
        .message("gitlabImage is for implementation: GitLab and for agentPlatform only: leave it out")
        .field_path(".gitlabImage"),
    validation = Rule::new("self.implementation != 'GitLab' || !has(self.image) || self.image.matches('@sha256:[0-9a-f]{64}$') || (self.image.matches(':[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$') && !self.image.endsWith(':latest'))")
        .message("image must name a version of GitLab's gateway that fits the GitLab instance: a tag other than latest, or a digest")
        .field_path(".image"),
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
    /// Which gateway runs. `Embedded`: Duo Operator's own. `GitLab`: GitLab's own image, which GitLab sends the models'
    /// keys with each request; settings that it does not have are refused.
    #[serde(default)]
    pub implementation: Implementation,
    /// Container image of the gateway. Default: `Embedded`: the one of the operator's release; `GitLab`: `gitlabImage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// GitLab's own image, for `implementation: GitLab` and `agentPlatform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab_image: Option<GitLabImageSpec>,
    /// Number of gateway pods. Without meaning beside `autoscaling`: leave it out there.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// The number of gateway pods follows their load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingSpec>,
    /// URL under which GitLab calls the gateway; must resolve for GitLab. Default: the host of `ingress`, else the
    /// Service's DNS name and port 5052.
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
    /// Settings of the gateway's pods, and of the agent platform's but for labels of Services and `resources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSpec>,
    /// The gateway behind an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// The gateway behind a Gateway of the Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRouteSpec>,
    /// Who reaches the gateway's pods, and whom they reach. Left out: no NetworkPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySpec>,
    /// GitLab Duo Agent Platform: the gRPC service of GitLab's own image beside the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_platform: Option<AgentPlatformSpec>,
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
    /// GitLab's own image.
    GitLab,
}

/// What the gateway does with a request for a model that is not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndeclaredModels {
    /// Answer 422.
    Refuse,
    /// Call the endpoint that the request names.
    Allow,
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
    /// Which gateway all pods were seen to run last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub implementation: Option<Implementation>,
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
