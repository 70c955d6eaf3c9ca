//! GitLab's own gateway image: as the gateway, and as the Agent Platform's gRPC service.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::common::LocalRef;
use crate::pod::Resources;
use crate::serving::TlsSpec;

/// Which image of GitLab's, and what it is told beside what this resource declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitLabImageSpec {
    /// Repository. Default: GitLab's own, `registry.gitlab.com/gitlab-org/modelops/applied-ml/code-suggestions/ai-assist/model-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 383), regex(pattern = r"^[a-z0-9][A-Za-z0-9.:_/-]*$"))]
    pub repository: Option<String>,
    /// Tag; GitLab publishes `self-hosted-vX.Y.Z-ee`, and X.Y must be those of the GitLab instance. Default: the first one
    /// of the instance's X.Y that is free of known security faults. Name the newest one yourself: it cannot be known
    /// without asking a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"))]
    #[x_kube(validation = Rule::new("self != 'latest'")
        .message("gitlabImage.tag must name a version that fits GitLab's: latest does not"))]
    pub tag: Option<String>,
    /// Number of the user that the containers run as, where the namespace does not admit containers that choose it
    /// themselves. Left out: the image's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Further environment variables; they win over what the operator sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))")
        .message("gitlabImage.environment: names of variables have letters, digits and '_'"))]
    pub environment: BTreeMap<String, String>,
    /// Secret whose keys are further environment variables, such as `ANTHROPIC_API_KEY`. A change rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_secret_ref: Option<LocalRef>,
}

/// GitLab Duo Agent Platform on this gateway's models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPlatformSpec {
    /// What GitLab calls: `host:port` without a scheme, or `host` behind port 443. Default: the Service's DNS name and
    /// port 50052.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\\\[[0-9a-fA-F:.]+\\\\])(:[0-9]{1,5})?$')")
        .message("agentPlatform.url is host:port without a scheme, for example duo-agent-platform.gitlab-duo.svc:50052"))]
    pub url: Option<String>,
    /// Whether GitLab speaks TLS to it. Default: where `tls` stands here. Up to GitLab 18.9 only the variable
    /// `DUO_AGENT_PLATFORM_SERVICE_SECURE` of GitLab itself says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// TLS of the service's own listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Container image. Default: `gitlabImage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Number of pods.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory. Default: 2 CPUs and 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

fn two() -> i32 {
    2
}
