//! ServiceAccount, Service and PodDisruptionBudget of a gateway.

use duo_api::AIGateway;
use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::child_meta;
use super::deployment::PORT_NAME;
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

pub(super) fn disruption_budget(gateway: &AIGateway) -> Option<PodDisruptionBudget> {
    (gateway.spec.replicas > 1).then(|| PodDisruptionBudget {
        metadata: child_meta(gateway, gateway.name_any()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels::selector(&gateway.name_any())),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
