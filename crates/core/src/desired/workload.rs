//! What the Deployments of the operator's own gateway, of GitLab's image and of the agent platform have in common.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use duo_api::gateway::{PodSpec as PodSettings, Quantities, Resources};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
    SeccompProfile, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::meta;

/// GitLab's own default of the time that it waits for an answer.
const DEFAULT_TIMEOUT_SECONDS: u32 = 60;
/// Before a stop a gateway is not ready but still accepts for this long, so that load balancers notice.
const DEFAULT_DRAIN_SECONDS: u32 = 10;

/// One Deployment, without what all have in common.
pub(super) struct Workload {
    /// Name of the object.
    pub name: String,
    /// Labels of the object and of its pods.
    pub labels: BTreeMap<String, String>,
    /// The part of the labels that selects the pods.
    pub selector: BTreeMap<String, String>,
    /// `None`: somebody else decides.
    pub replicas: Option<i32>,
    /// Annotations of the pods beside the declared ones: a change of them rolls the pods.
    pub annotations: BTreeMap<String, String>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
    pub security: PodSecurityContext,
    /// Longest time between SIGTERM and SIGKILL.
    pub grace_seconds: u32,
}

impl Workload {
    pub(super) fn deployment(self, gateway: &AIGateway) -> Deployment {
        let settings = gateway.spec.pod.clone().unwrap_or_default();
        let mut labels = settings.labels.clone();
        labels.extend(self.labels.clone());
        let mut annotations = settings.annotations.clone();
        annotations.extend(self.annotations.clone());
        Deployment {
            metadata: meta(gateway, self.name.clone(), self.labels.clone()),
            spec: Some(DeploymentSpec {
                replicas: self.replicas,
                selector: selector(&self.selector),
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(1)),
                        max_unavailable: Some(IntOrString::Int(0)),
                    }),
                }),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(labels),
                        annotations: (!annotations.is_empty()).then_some(annotations),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(self.pod(gateway, &settings)),
                },
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    fn pod(self, gateway: &AIGateway, settings: &PodSettings) -> PodSpec {
        let secrets = settings.image_pull_secrets.iter();
        PodSpec {
            service_account_name: Some(gateway.name_any()),
            automount_service_account_token: Some(false),
            termination_grace_period_seconds: Some(i64::from(self.grace_seconds)),
            security_context: Some(self.security),
            containers: self.containers,
            volumes: Some(self.volumes),
            priority_class_name: settings.priority_class_name.clone(),
            node_selector: some_map(&settings.node_selector),
            tolerations: some(settings.tolerations.iter().map(toleration).collect()),
            image_pull_secrets: some(
                secrets.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect(),
            ),
            topology_spread_constraints: Some(spread(settings, &self.selector)),
            ..PodSpec::default()
        }
    }
}

/// Seconds that a stopping pod still accepts requests.
pub(super) fn drain_seconds(gateway: &AIGateway) -> u32 {
    gateway.spec.drain_period.as_deref().and_then(crate::durations::seconds).unwrap_or(DEFAULT_DRAIN_SECONDS)
}

/// Seconds that a request may take.
pub(super) fn timeout_seconds(gateway: &AIGateway) -> u32 {
    gateway.spec.request_timeout.as_deref().and_then(crate::durations::seconds).unwrap_or(DEFAULT_TIMEOUT_SECONDS)
}

/// What every pod runs under; who it runs as is for the container's image to say.
pub(super) fn security() -> PodSecurityContext {
    PodSecurityContext {
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

pub(super) fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        // the API server keeps no false here, and what it does not keep looks like a difference for ever
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(super) fn resources(declared: Option<&Resources>, default: &Resources) -> ResourceRequirements {
    let map = |quantities: &Quantities| -> BTreeMap<String, Quantity> {
        [("cpu", &quantities.cpu), ("memory", &quantities.memory)]
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), Quantity(value))))
            .collect()
    };
    let declared = declared.unwrap_or(default);
    ResourceRequirements {
        requests: some_map(&map(&declared.requests)),
        limits: some_map(&map(&declared.limits)),
        claims: None,
    }
}

/// Keeps pods during drains; only where there is more than one.
pub(super) fn disruption_budget(
    metadata: ObjectMeta,
    pods: &BTreeMap<String, String>,
    fewest: i32,
) -> Option<PodDisruptionBudget> {
    (fewest > 1).then(|| PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(pods)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

pub(super) fn selector(labels: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() }
}

fn spread(settings: &PodSettings, pods: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str, skew: i32, unsatisfiable: String| TopologySpreadConstraint {
        max_skew: skew,
        topology_key: key.to_owned(),
        when_unsatisfiable: unsatisfiable,
        label_selector: Some(selector(pods)),
        ..TopologySpreadConstraint::default()
    };
    if settings.topology_spread_constraints.is_empty() {
        return vec![constraint("kubernetes.io/hostname", 1, "ScheduleAnyway".to_owned())];
    }
    let declared = settings.topology_spread_constraints.iter();
    declared.map(|one| constraint(&one.topology_key, one.max_skew, format!("{:?}", one.when_unsatisfiable))).collect()
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

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map<V: Clone>(map: &BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then(|| map.clone())
}
