//! The Deployment of the operator's own gateway. Its pod template depends on nothing that changes when a model or a key
//! is added: those arrive through the mounted folder, so adding one restarts no pod.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use duo_api::gateway::{Quantities, Resources};
use duo_gateway_config::DEFAULT_FOLDER;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, EmptyDirVolumeSource, EnvVar, HTTPGetAction,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, Probe, ProjectedVolumeSource, SecretProjection,
    SecurityContext, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::workload::{self, Workload, mount, port};
use super::{METRICS_PORT, PORT_NAME, replicas};
use crate::{labels, url_rules};

/// Where the documentation index's volume is mounted.
const DOCS_FOLDER: &str = "/var/lib/duo-gateway/docs";
const NON_ROOT: i64 = 65532;
/// Longest time that GitLab may be told to wait for an answer.
const LONGEST_TIMEOUT_SECONDS: u32 = 600;

pub(super) fn deployment(gateway: &AIGateway, default_image: &str) -> Deployment {
    let name = gateway.name_any();
    let workload = Workload {
        labels: labels::common(&name),
        selector: labels::selector(&name),
        replicas: replicas(gateway),
        annotations: BTreeMap::new(),
        containers: vec![container(gateway, default_image)],
        volumes: volumes(gateway, &name),
        security: PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            ..workload::security()
        },
        // The gateway ends by itself one request's time after it is told to, by its present configuration. The limit
        // here holds for every configuration: another requestTimeout must not roll the pods.
        grace_seconds: workload::drain_seconds(gateway) + LONGEST_TIMEOUT_SECONDS + 10,
        name,
    };
    workload.deployment(gateway)
}

fn volumes(gateway: &AIGateway, name: &str) -> Vec<Volume> {
    let config_map = ConfigMapProjection { name: labels::config_map(name), ..ConfigMapProjection::default() };
    let secret = SecretProjection { name: labels::credentials_secret(name), ..SecretProjection::default() };
    let mut volumes = vec![
        // One projected volume, so that kubelet swaps configuration and keys in one step.
        Volume {
            name: "config".to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(0o440),
                sources: Some(vec![
                    VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() },
                    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() },
                ]),
            }),
            ..Volume::default()
        },
        Volume { name: "tmp".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
    ];
    volumes.extend(gateway.spec.docs_index.as_ref().map(|index| Volume {
        name: "docs".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: index.claim_name.clone(),
            read_only: Some(true),
        }),
        ..Volume::default()
    }));
    volumes
}

fn container(gateway: &AIGateway, default_image: &str) -> Container {
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            scheme: gateway.spec.tls.as_ref().map(|_| "HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    };
    let mut mounts = vec![mount("config", DEFAULT_FOLDER, true), mount("tmp", "/tmp", false)];
    mounts.extend(gateway.spec.docs_index.as_ref().map(|_| mount("docs", DOCS_FOLDER, true)));
    let default = Resources {
        requests: Quantities { cpu: Some("100m".to_owned()), memory: Some("64Mi".to_owned()) },
        limits: Quantities { cpu: None, memory: Some("512Mi".to_owned()) },
    };
    let declared = gateway.spec.pod.as_ref().and_then(|pod| pod.resources.as_ref());
    Container {
        name: "gateway".to_owned(),
        image: Some(gateway.spec.image.clone().unwrap_or_else(|| default_image.to_owned())),
        args: Some(vec!["--config".to_owned(), format!("{DEFAULT_FOLDER}/{}", duo_gateway_config::CONFIG_FILE)]),
        ports: Some(vec![port(PORT_NAME, i32::from(url_rules::GATEWAY_PORT)), port("metrics", METRICS_PORT)]),
        // Beside its volume and not in the configuration: both are one change of the pods.
        env: gateway.spec.docs_index.as_ref().map(|index| {
            vec![EnvVar {
                name: "DUO_GATEWAY_DOCS_INDEX".to_owned(),
                value: Some(format!("{DOCS_FOLDER}/{}", index.file)),
                value_from: None,
            }]
        }),
        readiness_probe: Some(probe("/monitoring/ready", 2, 2)),
        liveness_probe: Some(probe("/monitoring/healthz", 10, 3)),
        volume_mounts: Some(mounts),
        resources: Some(workload::resources(declared, &default)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}
