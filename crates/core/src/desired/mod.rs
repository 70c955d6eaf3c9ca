//! Child objects of an AIGateway as they should be, from its declaration and what it refers to.

mod config;
mod credentials;
mod embedded;
mod exposure;
mod gitlab_image;
mod models;
mod network_policy;
mod scaling;
mod service;
mod workload;

use std::collections::BTreeMap;

use duo_api::AIGateway;
use duo_api::annotations::CONFIG_HASH;
use duo_api::gateway::Implementation;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

pub use config::{RenderError, gateway_config};
pub use credentials::{
    Credentials, KeyPair, SIGNING_KEY, VALIDATION_KEY, WORKFLOW_SIGNING_KEY, WORKFLOW_VALIDATION_KEY,
};
pub use exposure::{HTTPRoute, HttpRouteSpec, HttpRouteStatus, route_refused};
pub use gitlab_image::{REPOSITORY, tag};
pub(crate) use models::mistake;
pub use models::{model_digest, rendered_models};
pub use scaling::fewest;
use scaling::replicas;

use crate::{implementation, labels};

/// Metrics and, of the operator's own gateway, `/config/hash`.
pub const METRICS_PORT: i32 = 8082;
/// Name of the API port, whatever it speaks: a Service that looked for another name would lose the pods of before.
const PORT_NAME: &str = "http";

/// A part of a bundle that may be absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<T> {
    /// Not declared: what there is of it goes.
    Off,
    /// Declared, but what it should be is not known now: what there is of it stays.
    Keep,
    /// This.
    Apply(T),
}

/// Everything that is applied for one AIGateway. Applying destructures it, so that no object can be forgotten.
/// `Debug` tells only its hash: a Secret is in it.
#[derive(Clone)]
pub struct Bundle {
    /// Identity of the pods.
    pub service_account: ServiceAccount,
    /// Rendered configuration; GitLab's image has none.
    pub config_map: Option<ConfigMap>,
    /// All keys of the gateway.
    pub secret: Secret,
    /// What GitLab calls.
    pub service: Service,
    /// Keeps pods during drains; only with more than one replica.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// Decides how many pods there are.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// Who reaches the pods, and whom they reach.
    pub network_policy: Option<NetworkPolicy>,
    /// The API outside.
    pub ingress: Option<Ingress>,
    /// The same by the Gateway API.
    pub http_route: Option<HTTPRoute>,
    /// The pods.
    pub deployment: Deployment,
    /// The Agent Platform's service.
    pub agent_platform: Part<AgentPlatform>,
    /// Hash of what the pods mount or read.
    pub config_hash: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("config_hash", &self.config_hash).finish_non_exhaustive()
    }
}

/// Objects of the Agent Platform's service.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentPlatform {
    /// What GitLab calls.
    pub service: Service,
    /// Keeps pods during drains; only with more than one replica.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// Who reaches the pods, and whom they reach.
    pub network_policy: Option<NetworkPolicy>,
    /// The pods.
    pub deployment: Deployment,
}

/// Renders all child objects. `default_image` is used where the resource names none.
///
/// # Errors
/// When the configuration breaks a rule of the gateway's, with the field named; when GitLab's image is declared with
/// settings that it does not have, or without anything that tells which version of it.
pub fn bundle(
    gateway: &AIGateway,
    config: &duo_gateway_config::GatewayConfig,
    credentials: &Credentials,
    default_image: &str,
) -> Result<Bundle, RenderError> {
    let refused = implementation::refused_of_gateway(gateway);
    if !refused.is_empty() {
        return Err(RenderError::NotSupported(refused));
    }
    config.validate().map_err(RenderError::Config)?;
    let files = credentials.files();
    let (deployment, config_map, config_hash) = match gateway.spec.implementation {
        Implementation::Embedded => {
            let yaml = config.to_yaml().map_err(RenderError::Config)?;
            let hash = hash(&files, (duo_gateway_config::CONFIG_FILE, &yaml));
            let config_map = config::config_map(gateway, yaml, &hash);
            (embedded::deployment(gateway, default_image), Some(config_map), hash)
        }
        Implementation::GitLab => {
            let workload = gitlab_image::gateway(gateway, credentials).ok_or(RenderError::VersionUnknown)?;
            let (deployment, hash) = rolled_by_hash(workload, &files, gateway);
            // Pods of the operator's own gateway go on with what they mounted until the last one is gone.
            let leaving = implementation::seen(gateway) == Some(Implementation::Embedded);
            let yaml = leaving.then(|| config.to_yaml().map_err(RenderError::Config)).transpose()?;
            (deployment, yaml.map(|yaml| config::config_map(gateway, yaml, &hash)), hash)
        }
    };
    let agent_platform = match &gateway.spec.agent_platform {
        None => Part::Off,
        Some(_) => gitlab_image::agent_platform(gateway, credentials).map_or(Part::Keep, |workload| {
            Part::Apply(AgentPlatform {
                service: gitlab_image::service(gateway),
                disruption_budget: gitlab_image::disruption_budget(gateway),
                network_policy: network_policy::agent_platform_policy(gateway, config),
                deployment: rolled_by_hash(workload, &files, gateway).0,
            })
        }),
    };
    Ok(Bundle {
        service_account: service::service_account(gateway),
        config_map,
        secret: credentials::secret(gateway, files, &credentials.rotation),
        service: service::service(gateway),
        disruption_budget: workload::disruption_budget(
            child_meta(gateway, gateway.name_any()),
            &labels::selector(&gateway.name_any()),
            fewest(gateway),
        ),
        autoscaler: scaling::autoscaler(gateway),
        network_policy: network_policy::gateway_policy(gateway, config),
        ingress: exposure::ingress(gateway),
        http_route: exposure::http_route(gateway),
        deployment,
        agent_platform,
        config_hash,
    })
}

fn hash(files: &BTreeMap<String, ByteString>, (name, text): (&str, &str)) -> String {
    let files = files.iter().map(|(name, bytes)| (name.as_str(), bytes.0.as_slice()));
    duo_gateway_config::folder_hash(files.chain([(name, text.as_bytes())]))
}

/// A Deployment whose pods read their settings when they start: the hash of what its container reads rolls them.
fn rolled_by_hash(
    mut workload: workload::Workload,
    files: &BTreeMap<String, ByteString>,
    gateway: &AIGateway,
) -> (Deployment, String) {
    let text = serde_json::to_string(&workload.containers).unwrap_or_default();
    let volumes = serde_json::to_string(&workload.volumes).unwrap_or_default();
    let read = |name: &String| {
        // As a value in JSON: names of files stand in quotes there.
        let quoted = format!("\"{name}\"");
        text.contains(&quoted) || volumes.contains(&quoted)
    };
    let files =
        files.iter().filter(|(name, _)| read(name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    let hash = hash(&files, ("container", &text));
    workload.annotations.insert(CONFIG_HASH.to_owned(), hash.clone());
    (workload.deployment(gateway), hash)
}

/// Metadata of a child object of the gateway itself.
fn child_meta(gateway: &AIGateway, name: String) -> ObjectMeta {
    meta(gateway, name, labels::common(&gateway.name_any()))
}

/// Metadata of a child object: same namespace, owned by the AIGateway.
fn meta(gateway: &AIGateway, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: gateway.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(gateway)]),
        ..ObjectMeta::default()
    }
}

fn owner_reference(gateway: &AIGateway) -> OwnerReference {
    OwnerReference {
        api_version: AIGateway::api_version(&()).into_owned(),
        kind: AIGateway::kind(&()).into_owned(),
        name: gateway.name_any(),
        uid: gateway.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
