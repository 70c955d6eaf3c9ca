//! `SelfHostedModel`: one self-hosted model registered in GitLab.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{AdoptionPolicy, DeletionPolicy, LocalRef, SecretKeyRef};
use crate::condition::Condition;
use crate::family::Family;

/// One self-hosted model registered in GitLab.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "duo.selfhosted.dev",
    version = "v1alpha1",
    kind = "SelfHostedModel",
    plural = "selfhostedmodels",
    singular = "selfhostedmodel",
    shortname = "shm",
    category = "duo",
    namespaced,
    status = "SelfHostedModelStatus",
    derive = "PartialEq",
    doc = "One self-hosted model registered in GitLab.",
    selectable = ".spec.gatewayRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gatewayRef.name"),
    printcolumn(name = "Family", type_ = "string", json_path = ".spec.family"),
    printcolumn(name = "Platform", type_ = "string", json_path = ".spec.platform"),
    printcolumn(name = "Identifier", type_ = "string", json_path = ".spec.identifier", priority = 1),
    printcolumn(name = "GitLab ID", type_ = "string", json_path = ".status.gitlabId", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 200").message("metadata.name must have at most 200 characters")
)]
#[x_kube(
    validation = Rule::new("self.platform != 'Bedrock' || self.identifier.startsWith('bedrock/')")
        .message("identifier of a Bedrock model must start with \"bedrock/\", for example bedrock/mistral.mixtral-8x7b-instruct-v0:1")
        .field_path(".identifier"),
    validation = Rule::new("self.platform != 'OpenAICompatible' || self.identifier.startsWith('custom_openai/')")
        .message("identifier of an OpenAICompatible model must start with \"custom_openai/\", followed by the name under which the server serves it")
        .field_path(".identifier"),
    validation = Rule::new("self.platform != 'AzureOpenAI' || self.identifier.startsWith('azure/')")
        .message("identifier of an AzureOpenAI model must start with \"azure/\", followed by the deployment's name")
        .field_path(".identifier"),
    validation = Rule::new("self.platform != 'VertexAI' || self.identifier.startsWith('vertex_ai/')")
        .message("identifier of a VertexAI model must start with \"vertex_ai/\"")
        .field_path(".identifier"),
    validation = Rule::new("!(self.platform in ['OpenAICompatible', 'AzureOpenAI']) || has(self.endpoint)")
        .message("endpoint is required for OpenAICompatible and AzureOpenAI, for example http://vllm.models.svc:8000/v1"),
    validation = Rule::new("!(self.platform in ['Bedrock', 'VertexAI']) || !has(self.endpoint)")
        .message("endpoint is not used for Bedrock and VertexAI: leave it out (AIGateway spec.providers.bedrock.endpoint sets a VPC endpoint)"),
    validation = Rule::new("!(self.platform in ['Bedrock', 'VertexAI']) || !has(self.apiKeySecretRef)")
        .message("apiKeySecretRef is not used for Bedrock and VertexAI: credentials belong in AIGateway spec.providers"),
)]
#[serde(rename_all = "camelCase")]
pub struct SelfHostedModelSpec {
    /// The AIGateway that this model belongs to. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("gatewayRef cannot be changed: create another SelfHostedModel for the other gateway"))]
    pub gateway_ref: LocalRef,
    /// Name of the model in GitLab; unique there.
    #[schemars(length(min = 1, max = 255))]
    pub display_name: String,
    /// Where the model runs.
    pub platform: Platform,
    /// Model family; GitLab chooses prompts by it.
    pub family: Family,
    /// Identifier as GitLab takes it: platform prefix, then the platform's own name of the model.
    #[schemars(length(min = 1, max = 255))]
    pub identifier: String,
    /// Base URL of an OpenAI-compatible or Azure OpenAI endpoint; OpenAI-compatible ones usually end in `/v1`.
    /// At most 255 characters: GitLab's gateway contract allows no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message("endpoint must be an http:// or https:// URL with a host, for example http://vllm.models.svc:8000/v1"))]
    pub endpoint: Option<String>,
    /// API key of the endpoint. It is mounted into the gateway and never sent to GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Whether a model of the same name that already exists in GitLab is taken over.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What happens to the model in GitLab when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// `true`: the operator writes nothing for this object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Platform {
    /// AWS Bedrock.
    Bedrock,
    /// vLLM or any other server with OpenAI's API.
    OpenAICompatible,
    /// Azure OpenAI.
    AzureOpenAI,
    /// Google Vertex AI.
    VertexAI,
}

impl Platform {
    /// True where GitLab wants an endpoint; for the others the gateway ignores it.
    pub fn has_endpoint(self) -> bool {
        matches!(self, Self::OpenAICompatible | Self::AzureOpenAI)
    }
}

/// Observed state of a SelfHostedModel. A cache: losing it loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfHostedModelStatus {
    /// Generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// See the module on conditions for the types.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Global id of the model in GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab_id: Option<String>,
    /// Fingerprint of what the last connection check tried; a change asks for a new check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// When the last connection check ran, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<String>,
}
