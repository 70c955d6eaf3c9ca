//! The gateway's Deployment. Its pod template depends on nothing that changes when a model or a key is added: those
//! arrive through the mounted folder, so adding one restarts no pod.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use duo_api::gateway::{PodSpec as PodSettings, Quantities};
use duo_gateway_config::DEFAULT_FOLDER;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::child_meta;
use crate::durations::seconds;
use crate::{labels, url_rules};

/// Metrics and `/config/hash`.
pub const METRICS_PORT: i32 = 8082;
/// Name of the API port, whatever it speaks: a Service that looked for another name would lose the pods of before.
pub(super) const PORT_NAME: &str = "http";
/// Where the documentation index's volume is mounted.
const DOCS_FOLDER: &str = "/var/lib/duo-gateway/docs";
/// Before a stop a gateway is not ready but still accepts for this long, so that load balancers notice.
const DEFAULT_DRAIN_SECONDS: u32 = 10;
/// GitLab's own default.
const DEFAULT_TIMEOUT_SECONDS: u32 = 60;
const NON_ROOT: i64 = 65532;

pub(super) fn deployment(gateway: &AIGateway, default_image: &str) -> Deployment {
    let name = gateway.name_any();
    let settings = gateway.spec.pod.clone().unwrap_or_default();
    let mut pod_labels = settings.labels.clone();
    pod_labels.extend(labels::common(&name));
    Deployment {
        metadata: child_meta(gateway, name.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(gateway.spec.replicas),
            selector: LabelSelector { match_labels: Some(labels::selector(&name)), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: (!settings.annotations.is_empty()).then(|| settings.annotations.clone()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(gateway, &name, &settings, default_image)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(gateway: &AIGateway, name: &str, settings: &PodSettings, default_image: &str) -> PodSpec {
    let timeout = gateway.spec.request_timeout.as_deref().and_then(seconds).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let drain = gateway.spec.drain_period.as_deref().and_then(seconds).unwrap_or(DEFAULT_DRAIN_SECONDS);
    PodSpec {
        service_account_name: Some(name.to_owned()),
        automount_service_account_token: Some(false),
        termination_grace_period_seconds: Some(i64::from(drain) + i64::from(timeout) + 10),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(gateway, settings, default_image)],
        volumes: Some(volumes(gateway, name)),
        node_selector: (!settings.node_selector.is_empty()).then(|| settings.node_selector.clone()),
        tolerations: (!settings.tolerations.is_empty()).then(|| settings.tolerations.iter().map(toleration).collect()),
        image_pull_secrets: (!settings.image_pull_secrets.is_empty()).then(|| {
            settings
                .image_pull_secrets
                .iter()
                .map(|secret| LocalObjectReference { name: secret.name.clone() })
                .collect()
        }),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(labels::selector(name)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        }]),
        ..PodSpec::default()
    }
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

fn container(gateway: &AIGateway, settings: &PodSettings, default_image: &str) -> Container {
    let port = |name: &str, number: i32| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
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
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        // the API server keeps no false here, and what it does not keep looks like a difference for ever
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount("config", DEFAULT_FOLDER, true), mount("tmp", "/tmp", false)];
    mounts.extend(gateway.spec.docs_index.as_ref().map(|_| mount("docs", DOCS_FOLDER, true)));
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
        resources: Some(resources(settings)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn resources(settings: &PodSettings) -> ResourceRequirements {
    let map = |quantities: &Quantities| -> BTreeMap<String, Quantity> {
        [("cpu", &quantities.cpu), ("memory", &quantities.memory)]
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), Quantity(value))))
            .collect()
    };
    let default = duo_api::gateway::Resources {
        requests: Quantities { cpu: Some("100m".to_owned()), memory: Some("64Mi".to_owned()) },
        limits: Quantities { cpu: None, memory: Some("512Mi".to_owned()) },
    };
    let declared = settings.resources.as_ref().unwrap_or(&default);
    let (requests, limits) = (map(&declared.requests), map(&declared.limits));
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        claims: None,
    }
}

fn toleration(toleration: &duo_api::gateway::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.map(|operator| format!("{operator:?}")),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| format!("{effect:?}")),
        toleration_seconds: toleration.toleration_seconds,
    }
}
