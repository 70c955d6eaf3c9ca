//! Conditions: the type that stands in every status, and the names of all condition types.
//!
//! All types are positive (True is good) except `Reconciling` and `Stalled`, which appear only while True, as kstatus
//! expects. Reasons are bounded CamelCase words; they are also the reasons of events and labels of metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::interned::Interned;

/// Summary of an object: users can use it now.
pub const READY: &str = "Ready";
/// Present only while True: the operator is still working towards the declared state.
pub const RECONCILING: &str = "Reconciling";
/// Present only while True: nothing more happens until a person changes something; the reason says what.
pub const STALLED: &str = "Stalled";

/// AIGateway: every declared replica is available.
pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
/// AIGateway: every ready pod serves the rendered configuration.
pub const CONFIG_ACCEPTED: &str = "ConfigAccepted";
/// AIGateway: GitLab takes the token and it has the rights that are needed.
pub const TOKEN_VALID: &str = "TokenValid";
/// AIGateway: GitLab's Local AI gateway URL is the declared one.
pub const GATEWAY_URL_CONFIGURED: &str = "GatewayURLConfigured";
/// AIGateway: GitLab reaches the gateway.
pub const GATEWAY_REACHABLE: &str = "GatewayReachable";
/// AIGateway: the licence covers the Duo features.
pub const LICENSE_ACTIVE: &str = "LicenseActive";
/// AIGateway, only where GitLab has an Agent Platform URL: GitLab reaches the self-hosted Agent Platform service.
pub const AGENT_PLATFORM_REACHABLE: &str = "AgentPlatformReachable";
/// AIGateway: a self-hosted model is assigned to code suggestions.
pub const CODE_SUGGESTIONS_MODEL_ASSIGNED: &str = "CodeSuggestionsModelAssigned";
/// AIGateway with an Ingress or HTTPRoute: it exists, and who serves it has not refused it.
pub const EXPOSED: &str = "Exposed";
/// AIGateway with an agent platform: every declared replica of it is available.
pub const AGENT_PLATFORM_AVAILABLE: &str = "AgentPlatformAvailable";
/// AIGateway with an agent platform: GitLab's settings name it.
pub const AGENT_PLATFORM_CONFIGURED: &str = "AgentPlatformConfigured";

/// SelfHostedModel and FeatureAssignment: the declaration makes sense and nothing forbids it.
pub const ACCEPTED: &str = "Accepted";
/// SelfHostedModel and FeatureAssignment: GitLab holds what is declared.
pub const SYNCED: &str = "Synced";
/// SelfHostedModel: GitLab's connection check passed.
pub const CONNECTION_VERIFIED: &str = "ConnectionVerified";
/// SelfHostedModel: users' calls of it are answered, by the gateway's own count and, after a failure, its own check.
pub const MODEL_SERVING: &str = "ModelServing";
/// FeatureAssignment, only where `syntheticRequests` is set: the model answered the last request for each feature.
pub const SYNTHETIC_REQUESTS_PASSED: &str = "SyntheticRequestsPassed";
/// FeatureAssignment: the model it names is registered in GitLab.
pub const MODEL_RESOLVED: &str = "ModelResolved";

/// `status.observedGeneration` of an object that nobody has looked at yet; the definitions give it to new objects.
pub const UNSEEN: i64 = -1;

/// Whether nobody has looked at an object yet. `observed`: its `status.observedGeneration`.
pub fn is_unseen(observed: Option<i64>) -> bool {
    observed.is_none_or(|observed| observed <= UNSEEN)
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// What is needed to judge it is missing.
    Unknown,
}

/// One condition, as in `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// One of the condition types of this module.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: Interned,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// Bounded CamelCase word.
    #[schemars(length(min = 1, max = 128))]
    pub reason: Interned,
    /// What is the case, where, why, and the cure; for people.
    #[schemars(length(max = 4096))]
    pub message: Interned,
    /// When `status` last flipped, RFC 3339 in whole seconds.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: Interned,
    /// Generation of the object that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
}
