//! GitLab's image as the gateway: its HTTP service alone, so that the container ends when the service does.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::environment::Environment;
use super::{COMMON_FILES, FILES, container_security, files, image, resources, security, tmp};
use crate::desired::credentials::Credentials;
use crate::desired::workload::{self, Workload, mount, port};
use crate::desired::{METRICS_PORT, PORT_NAME, replicas};
use crate::{inputs, labels, url_rules};

/// How long the image may take to start: 60 tries, 5 s apart.
const START: (i32, i32) = (60, 5);

/// `None` while it is not known which image fits.
pub(in crate::desired) fn workload(gateway: &AIGateway, credentials: &Credentials) -> Option<Workload> {
    let name = gateway.name_any();
    let image = image(gateway, gateway.spec.image.as_ref())?;
    let drain = workload::drain_seconds(gateway);
    let names = [&COMMON_FILES[..], &[inputs::TLS_CERTIFICATE, inputs::TLS_KEY]].concat();
    Some(Workload {
        labels: labels::common(&name),
        selector: labels::selector(&name),
        replicas: replicas(gateway),
        annotations: BTreeMap::new(),
        containers: vec![container(gateway, credentials, image, drain)],
        volumes: vec![files(gateway, credentials, &names), tmp()],
        security: security(gateway),
        grace_seconds: drain + workload::timeout_seconds(gateway) + 10,
        name,
    })
}

fn container(gateway: &AIGateway, credentials: &Credentials, image: String, drain: u32) -> Container {
    let mut environment = Environment::common(gateway, credentials);
    for (name, value) in [
        // The image sets it: without it only the HTTP service starts.
        ("ENABLE_DUO_WORKFLOW_SERVICE", String::new()),
        ("AIGW_FASTAPI__API_HOST", "0.0.0.0".to_owned()),
        ("AIGW_FASTAPI__API_PORT", url_rules::GATEWAY_PORT.to_string()),
        ("AIGW_FASTAPI__METRICS_HOST", "0.0.0.0".to_owned()),
        ("AIGW_FASTAPI__METRICS_PORT", METRICS_PORT.to_string()),
    ] {
        environment.set(name, value);
    }
    let tls = gateway.spec.tls.is_some();
    if tls {
        environment.set("AIGW_FASTAPI__TLS__ENABLED", "true");
        environment.set("AIGW_FASTAPI__TLS__CERT_FILE", format!("{FILES}/{}", inputs::TLS_CERTIFICATE));
        environment.set("AIGW_FASTAPI__TLS__KEY_FILE", format!("{FILES}/{}", inputs::TLS_KEY));
        // Its own default names a protocol that is out of use.
        environment.set("AIGW_FASTAPI__TLS__SSL_CIPHERS", "TLSv1.2");
    }
    // `/monitoring/ready` asks GitLab's own cloud models and fails on self-hosted ones.
    let probe = |period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/monitoring/healthz".to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            scheme: tls.then(|| "HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    let declared = gateway.spec.pod.as_ref().and_then(|pod| pod.resources.as_ref());
    Container {
        name: "gateway".to_owned(),
        image: Some(image),
        ports: Some(vec![port(PORT_NAME, i32::from(url_rules::GATEWAY_PORT)), port("metrics", METRICS_PORT)]),
        env: Some(environment.finish(gateway, credentials)),
        startup_probe: Some(probe(START.1, START.0)),
        readiness_probe: Some(probe(5, 2)),
        liveness_probe: Some(probe(10, 6)),
        // It stops accepting at once when it is told to end: load balancers need time to notice.
        lifecycle: (drain > 0).then(|| Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: i64::from(drain) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(vec![mount("files", FILES, true), mount("tmp", "/tmp", false)]),
        resources: Some(workload::resources(declared, &resources())),
        security_context: Some(container_security()),
        ..Container::default()
    }
}
