//! Child objects of an AIGateway as they should be, from its declaration and what it refers to.

mod config;
mod credentials;
mod deployment;
mod models;
mod service;

use duo_api::AIGateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

pub use config::{RenderError, gateway_config};
pub use credentials::{Credentials, SIGNING_KEY, VALIDATION_KEY};
pub(crate) use models::mistake;
pub use models::rendered_models;

use crate::labels;

/// Everything that is applied for one AIGateway. Applying destructures it, so that no object can be forgotten.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Identity of the pods.
    pub service_account: ServiceAccount,
    /// Rendered configuration.
    pub config_map: ConfigMap,
    /// All keys of the gateway.
    pub secret: Secret,
    /// What GitLab calls.
    pub service: Service,
    /// Keeps pods during drains; only with more than one replica.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The pods.
    pub deployment: Deployment,
    /// Hash of the folder that the pods mount.
    pub config_hash: String,
}

/// Renders all child objects. `default_image` is used where the resource names none.
///
/// # Errors
/// When the configuration breaks a rule of the gateway's, with the field named.
pub fn bundle(
    gateway: &AIGateway,
    config: &duo_gateway_config::GatewayConfig,
    credentials: &Credentials,
    default_image: &str,
) -> Result<Bundle, RenderError> {
    config.validate().map_err(RenderError::Config)?;
    let yaml = config.to_yaml().map_err(RenderError::Config)?;
    let files = credentials.files();
    let config_hash = duo_gateway_config::folder_hash(
        files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.0.as_slice()))
            .chain([(duo_gateway_config::CONFIG_FILE, yaml.as_bytes())]),
    );
    Ok(Bundle {
        service_account: service::service_account(gateway),
        config_map: config::config_map(gateway, yaml, &config_hash),
        secret: credentials::secret(gateway, files),
        service: service::service(gateway),
        disruption_budget: service::disruption_budget(gateway),
        deployment: deployment::deployment(gateway, default_image),
        config_hash,
    })
}

/// Metadata of a child object: same namespace, owned by the AIGateway, with the common labels.
fn child_meta(gateway: &AIGateway, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: gateway.namespace(),
        labels: Some(labels::common(&gateway.name_any())),
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
