//! GitLab's own gateway image: which one, and what both of its services are told by environment variables.
//!
//! Names of variables, ports and paths are those of GitLab's documentation up to 19.4.

mod agent_platform;
mod environment;
mod gateway;
mod release;

use duo_api::AIGateway;
use duo_api::gateway::{Quantities, Resources};
use k8s_openapi::api::core::v1::{
    Capabilities, EmptyDirVolumeSource, KeyToPath, PodSecurityContext, SecretVolumeSource, SecurityContext, Volume,
};
use kube::ResourceExt;

pub(super) use agent_platform::{disruption_budget, service, workload as agent_platform};
pub(super) use gateway::workload as gateway;
pub use release::{REPOSITORY, tag};

use super::credentials::Credentials;
use super::workload;
use crate::{inputs, labels};

/// Where the values are mounted that these programs read as files.
const FILES: &str = "/etc/duo";
/// The image's own user where the resource names none: its number is not known, so that it is no root cannot be asked for.
fn security(gateway: &AIGateway) -> PodSecurityContext {
    let user = gateway.spec.gitlab_image.as_ref().and_then(|image| image.run_as_user);
    PodSecurityContext {
        run_as_non_root: user.map(|_| true),
        run_as_user: user,
        fs_group: user,
        ..workload::security()
    }
}

/// The root file system stays writable: the image keeps a filled cache of tokenizers in its user's home, which an empty
/// volume would hide.
fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// GitLab's own least.
fn resources() -> Resources {
    Resources {
        requests: Quantities { cpu: Some("2".to_owned()), memory: Some("512Mi".to_owned()) },
        limits: Quantities::default(),
    }
}

/// The image; `None` while nothing tells which version GitLab has.
fn image(gateway: &AIGateway, given: Option<&String>) -> Option<String> {
    if let Some(image) = given {
        return Some(image.clone());
    }
    let settings = gateway.spec.gitlab_image.clone().unwrap_or_default();
    let version = gateway.status.as_ref().and_then(|status| status.gitlab.as_ref()).and_then(|g| g.version.as_deref());
    let tag = settings.tag.or_else(|| version.and_then(tag))?;
    Some(format!("{}:{tag}", settings.repository.as_deref().unwrap_or(REPOSITORY)))
}

/// Files that a container reads by path, from the operator-owned Secret.
fn files(gateway: &AIGateway, credentials: &Credentials, names: &[&str]) -> Volume {
    let items = names.iter().filter(|name| credentials.files.contains_key(**name));
    Volume {
        name: "files".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(labels::credentials_secret(&gateway.name_any())),
            items: Some(
                items.map(|name| KeyToPath { key: (*name).to_owned(), path: (*name).to_owned(), mode: None }).collect(),
            ),
            default_mode: Some(0o444),
            optional: None,
        }),
        ..Volume::default()
    }
}

fn tmp() -> Volume {
    Volume { name: "tmp".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

/// Files that both services read.
const COMMON_FILES: [&str; 2] = [inputs::CA_BUNDLE, inputs::VERTEX_CREDENTIALS];
