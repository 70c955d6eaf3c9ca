//! ServiceAccount and Service of a gateway.

use duo_api::AIGateway;
use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{PORT_NAME, child_meta};
use crate::{labels, url_rules};

pub(super) fn service_account(gateway: &AIGateway) -> ServiceAccount {
    let annotations = gateway.spec.pod.as_ref().map(|pod| pod.service_account_annotations.clone()).unwrap_or_default();
    let mut metadata = child_meta(gateway, gateway.name_any());
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    ServiceAccount {
        metadata,
        // The gateway never talks to the Kubernetes API.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn service(gateway: &AIGateway) -> Service {
    Service {
        metadata: child_meta(gateway, gateway.name_any()),
        spec: Some(ServiceSpec {
            selector: Some(labels::selector(&gateway.name_any())),
            ports: Some(vec![ServicePort {
                name: Some(if gateway.spec.tls.is_some() { "https" } else { "http" }.to_owned()),
                port: i32::from(url_rules::GATEWAY_PORT),
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
