//! The gateway's API outside: Ingress and HTTPRoute.

use duo_api::AIGateway;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use kube::{CustomResource, ResourceExt};
use serde::{Deserialize, Serialize};

use super::child_meta;
use crate::url_rules::GATEWAY_PORT;

pub(super) fn ingress(gateway: &AIGateway) -> Option<Ingress> {
    let spec = gateway.spec.ingress.as_ref()?;
    let mut metadata = child_meta(gateway, gateway.name_any());
    metadata.annotations = (!spec.annotations.is_empty()).then(|| spec.annotations.clone());
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: gateway.name_any(),
            port: Some(ServiceBackendPort { number: Some(i32::from(GATEWAY_PORT)), name: None }),
        }),
        resource: None,
    };
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: spec.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(spec.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend,
                    }],
                }),
            }]),
            tls: spec.tls.as_ref().map(|tls| {
                vec![IngressTLS { hosts: Some(vec![spec.host.clone()]), secret_name: tls.secret_name.clone() }]
            }),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    })
}

/// The part of the Gateway API's HTTPRoute that is used here. The API is not part of Kubernetes: a cluster may lack it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    status = "HttpRouteStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// Gateways that serve it.
    pub parent_refs: Vec<duo_api::exposure::ParentRef>,
    /// Host names; empty: all of the listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Where requests go.
    pub rules: Vec<RouteRule>,
}

/// Requests of every path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// The Services that take them.
    pub backend_refs: Vec<RouteBackend>,
}

/// A Service of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteBackend {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: i32,
}

/// What the Gateways say of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRouteStatus {
    /// One entry for each Gateway that has looked at it.
    #[serde(default)]
    pub parents: Vec<RouteParent>,
}

/// What one Gateway says of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteParent {
    /// `Accepted`, `ResolvedRefs`, …
    #[serde(default)]
    pub conditions: Vec<RouteCondition>,
}

/// One of its conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCondition {
    /// Type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

pub(super) fn http_route(gateway: &AIGateway) -> Option<HTTPRoute> {
    let spec = gateway.spec.http_route.as_ref()?;
    let mut route = HTTPRoute::new(
        &gateway.name_any(),
        HttpRouteSpec {
            parent_refs: spec.parent_refs.clone(),
            hostnames: spec.hostnames.clone(),
            rules: vec![RouteRule {
                backend_refs: vec![RouteBackend { name: gateway.name_any(), port: i32::from(GATEWAY_PORT) }],
            }],
        },
    );
    route.metadata = child_meta(gateway, gateway.name_any());
    Some(route)
}

/// Why a Gateway does not serve a route, in its words; `None` while none has refused it.
pub fn route_refused(route: &HTTPRoute) -> Option<String> {
    let parents = &route.status.as_ref()?.parents;
    let refused = parents.iter().flat_map(|parent| &parent.conditions);
    refused
        .into_iter()
        .find(|c| c.status == "False" && ["Accepted", "ResolvedRefs"].contains(&c.type_.as_str()))
        .map(|condition| format!("{}: {}", condition.type_, condition.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_gateways_words_and_silence_is_none() {
        let route = |status: &str| -> HTTPRoute {
            let text = format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: duo}}, spec: {{parentRefs: [], rules: []}}, status: {status}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        assert_eq!(route_refused(&route("null")), None);
        assert_eq!(route_refused(&route("{parents: [{conditions: [{type: Accepted, status: 'True'}]}]}")), None);
        let refused = "{parents: [{conditions: [{type: Accepted, status: 'False', message: no such listener}]}]}";
        assert_eq!(route_refused(&route(refused)).as_deref(), Some("Accepted: no such listener"));
    }
}
