//! GitLab Duo Agent Platform: the gRPC service of GitLab's image, alone in its container.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use k8s_openapi::api::core::v1::{Container, GRPCAction, Probe, Service, ServicePort, ServiceSpec, TCPSocketAction};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::environment::Environment;
use super::{COMMON_FILES, FILES, container_security, files, image, resources, security, tmp};
use crate::desired::credentials::Credentials;
use crate::desired::meta;
use crate::desired::network_policy::AGENT_METRICS_PORT;
use crate::desired::workload::{self, Workload, mount, port};
use crate::{inputs, labels};

const PORT: i32 = crate::url_rules::AGENT_PLATFORM_PORT as i32;
const PORT_NAME: &str = "grpc";
/// It ends what is under way in this time; a flow that takes longer begins again from its last checkpoint.
const GRACE_SECONDS: u32 = 60;
/// How long the image may take to start: 60 tries, 5 s apart.
const START: (i32, i32) = (60, 5);

/// `None` while it is not known which image fits, or where none is declared.
pub(in crate::desired) fn workload(gateway: &AIGateway, credentials: &Credentials) -> Option<Workload> {
    let name = gateway.name_any();
    let spec = gateway.spec.agent_platform.as_ref()?;
    let image = image(gateway, spec.image.as_ref())?;
    let names = [&COMMON_FILES[..], &[inputs::AGENT_TLS_CERTIFICATE, inputs::AGENT_TLS_KEY]].concat();
    Some(Workload {
        name: labels::agent_platform_name(&name),
        labels: labels::agent_platform(&name),
        selector: labels::agent_platform_selector(&name),
        replicas: Some(spec.replicas),
        annotations: BTreeMap::new(),
        containers: vec![container(gateway, credentials, image)],
        volumes: vec![files(gateway, credentials, &names), tmp()],
        security: security(gateway),
        grace_seconds: GRACE_SECONDS + 10,
    })
}

fn container(gateway: &AIGateway, credentials: &Credentials, image: String) -> Container {
    let spec = gateway.spec.agent_platform.as_ref();
    let mut environment = Environment::common(gateway, credentials);
    for (name, value) in [
        ("DISABLE_AI_GATEWAY", "true".to_owned()),
        ("ENABLE_DUO_WORKFLOW_SERVICE", "true".to_owned()),
        ("PORT", PORT.to_string()),
        ("PROMETHEUS_METRICS__ADDR", "0.0.0.0".to_owned()),
        ("PROMETHEUS_METRICS__PORT", AGENT_METRICS_PORT.to_string()),
        ("DUO_WORKFLOW_SHUTDOWN_GRACE_PERIOD_S", GRACE_SECONDS.to_string()),
    ] {
        environment.set(name, value);
    }
    let tls = spec.is_some_and(|spec| spec.tls.is_some());
    if tls {
        environment.set("DUO_WORKFLOW_TLS__ENABLED", "true");
        environment.set("DUO_WORKFLOW_TLS__CERT_FILE", format!("{FILES}/{}", inputs::AGENT_TLS_CERTIFICATE));
        environment.set("DUO_WORKFLOW_TLS__KEY_FILE", format!("{FILES}/{}", inputs::AGENT_TLS_KEY));
    }
    let probe = |period: i32, failures: i32| Probe {
        // kubelet's gRPC probe speaks no TLS.
        grpc: (!tls).then_some(GRPCAction { port: PORT, service: None }),
        tcp_socket: tls
            .then(|| TCPSocketAction { port: IntOrString::String(PORT_NAME.to_owned()), ..TCPSocketAction::default() }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    Container {
        name: "agent-platform".to_owned(),
        image: Some(image),
        ports: Some(vec![port(PORT_NAME, PORT), port("metrics", AGENT_METRICS_PORT)]),
        env: Some(environment.finish(gateway, credentials)),
        startup_probe: Some(probe(START.1, START.0)),
        readiness_probe: Some(probe(5, 2)),
        liveness_probe: Some(probe(10, 6)),
        volume_mounts: Some(vec![mount("files", FILES, true), mount("tmp", "/tmp", false)]),
        resources: Some(workload::resources(spec.and_then(|spec| spec.resources.as_ref()), &resources())),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

pub(in crate::desired) fn service(gateway: &AIGateway) -> Service {
    let name = gateway.name_any();
    Service {
        metadata: meta(gateway, labels::agent_platform_name(&name), labels::agent_platform(&name)),
        spec: Some(ServiceSpec {
            selector: Some(labels::agent_platform_selector(&name)),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: PORT,
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                protocol: Some("TCP".to_owned()),
                app_protocol: Some("kubernetes.io/h2c".to_owned())
                    .filter(|_| gateway.spec.agent_platform.as_ref().is_some_and(|spec| spec.tls.is_none())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(in crate::desired) fn disruption_budget(gateway: &AIGateway) -> Option<PodDisruptionBudget> {
    let name = gateway.name_any();
    let metadata = meta(gateway, labels::agent_platform_name(&name), labels::agent_platform(&name));
    let replicas = gateway.spec.agent_platform.as_ref().map_or(0, |spec| spec.replicas);
    workload::disruption_budget(metadata, &labels::agent_platform_selector(&name), replicas)
}
