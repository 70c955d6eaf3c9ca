//! `SelfHostedModel`: one self-hosted model registered in GitLab.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calls::{CircuitBreakerSpec, ConcurrencySpec, HedgingSpec, PriceSpec, RetriesSpec, TimeoutsSpec};
use crate::common::{AdoptionPolicy, DeletionPolicy, LocalRef, SecretKeyRef};
use crate::condition::Condition;
use crate::family::Family;
use crate::place::{ConnectionSpec, FallbackSpec, MirrorSpec};

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
        .message("identifier of an OpenAICompatible model must start with \"custom_openai/\", followed by the name under which the server serves it; models of openai/, anthropic/ and bedrock_mantle/ are declared so, too, with the address of their OpenAI-compatible API (https://…/v1) as endpoint")
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
    validation = Rule::new("!has(self.connection) || !has(self.connection.region) || self.platform in ['Bedrock', 'VertexAI']")
        .message("connection.region is for Bedrock and VertexAI only: leave it out")
        .field_path(".connection.region"),
    validation = Rule::new("!has(self.connection) || !has(self.connection.endpoint) || self.platform in ['Bedrock', 'VertexAI']")
        .message("connection.endpoint is for Bedrock and VertexAI only: use endpoint")
        .field_path(".connection.endpoint"),
    validation = Rule::new("!has(self.connection) || !has(self.connection.assumeRole) || self.platform == 'Bedrock'")
        .message("connection.assumeRole is for Bedrock only: leave it out")
        .field_path(".connection.assumeRole"),
    validation = Rule::new("!has(self.connection) || !has(self.connection.apiVersion) || self.platform == 'AzureOpenAI'")
        .message("connection.apiVersion is for AzureOpenAI only: leave it out")
        .field_path(".connection.apiVersion"),
    validation = Rule::new("!has(self.connection) || !has(self.connection.completionApi) || self.platform == 'OpenAICompatible'")
        .message("connection.completionApi is for OpenAICompatible only: leave it out")
        .field_path(".connection.completionApi"),
    validation = Rule::new("!has(self.promptCaching) || !self.promptCaching || self.platform in ['Bedrock', 'VertexAI']")
        .message("promptCaching: true is for Bedrock and VertexAI only: leave it out")
        .field_path(".promptCaching"),
    validation = Rule::new("!has(self.mirrors) || self.mirrors.all(m, (self.platform in ['OpenAICompatible', 'AzureOpenAI']) == has(m.endpoint))")
        .message("endpoint of a mirror is required for OpenAICompatible and AzureOpenAI and not used for Bedrock and VertexAI")
        .field_path(".mirrors"),
    validation = Rule::new("!has(self.mirrors) || self.platform in ['OpenAICompatible', 'AzureOpenAI'] || self.mirrors.all(m, !has(m.apiKeySecretRef))")
        .message("apiKeySecretRef of a mirror is not used for Bedrock and VertexAI: credentials belong in AIGateway spec.providers")
        .field_path(".mirrors"),
    validation = Rule::new("!has(self.mirrors) || self.mirrors.all(m, !has(m.connection) || ((self.platform in ['Bedrock', 'VertexAI'] || (!has(m.connection.region) && !has(m.connection.endpoint))) && (self.platform == 'Bedrock' || !has(m.connection.assumeRole)) && (self.platform == 'AzureOpenAI' || !has(m.connection.apiVersion)) && (self.platform == 'OpenAICompatible' || !has(m.connection.completionApi))))")
        .message("connection of a mirror: region and endpoint are for Bedrock and VertexAI, assumeRole for Bedrock, apiVersion for AzureOpenAI, completionApi for OpenAICompatible")
        .field_path(".mirrors"),
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
    #[x_kube(validation = crate::rules::http_url("endpoint", "http://vllm.models.svc:8000/v1"))]
    pub endpoint: Option<String>,
    /// API key of the endpoint. It is mounted into the gateway and never sent to GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How the endpoint is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionSpec>,
    /// Share of the calls beside the mirrors' weights; 0: only when all of them fail. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: Option<i32>,
    /// Further places that serve the same model: further servers, or Bedrock in further regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub mirrors: Vec<MirrorSpec>,
    /// Models that answer when all places of this one fail, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fallbacks: Vec<FallbackSpec>,
    /// Times of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// Calls that are made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetriesSpec>,
    /// Leaving failing places alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreakerSpec>,
    /// A second call for slow code completions. Left out: none; `{}`: with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<HedgingSpec>,
    /// Calls at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencySpec>,
    /// `false`: the provider's prompt cache is not used. Default true, where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_caching: Option<bool>,
    /// What its tokens cost; the gateway's metrics count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSpec>,
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

impl SelfHostedModelSpec {
    /// A model with nothing but what every model has.
    pub fn new(
        gateway: impl Into<String>,
        name: impl Into<String>,
        platform: Platform,
        family: Family,
        identifier: impl Into<String>,
    ) -> Self {
        Self {
            gateway_ref: LocalRef { name: gateway.into() },
            display_name: name.into(),
            platform,
            family,
            identifier: identifier.into(),
            endpoint: None,
            api_key_secret_ref: None,
            connection: None,
            weight: None,
            mirrors: Vec::new(),
            fallbacks: Vec::new(),
            timeouts: None,
            retries: None,
            circuit_breaker: None,
            hedging: None,
            concurrency: None,
            prompt_caching: None,
            price: None,
            adoption_policy: AdoptionPolicy::default(),
            deletion_policy: DeletionPolicy::default(),
            suspend: false,
        }
    }

    /// What the gateway is told of it beside its key: two models with one key must agree in it.
    pub fn settings(&self) -> Self {
        let Self { gateway_ref, display_name, adoption_policy, deletion_policy, suspend, endpoint, .. } =
            Self::new("", "", self.platform, self.family, "");
        Self { gateway_ref, display_name, adoption_policy, deletion_policy, suspend, endpoint, ..self.clone() }
    }
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
    /// GitLab in which that model is this resource's: its URL, and its instance id once that is known. Stands in for the
    /// annotations where they were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab_instance: Option<String>,
    /// Fingerprint of what the last connection check tried; a change asks for a new check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// When the last connection check ran that passed or said something new, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<String>,
    /// What the operator would write to GitLab and does not, because the AIGateway's managementPolicy is `Observe`. Left
    /// out while nothing differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::plan")]
    pub plan: Vec<String>,
}
