//! NetworkPolicies of the gateway's and the agent platform's pods.

use std::collections::{BTreeMap, BTreeSet};

use duo_api::AIGateway;
use duo_api::network_policy::{NetworkPolicySpec as Declared, Peer};
use duo_gateway_config::GatewayConfig;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use url::Url;

use super::{METRICS_PORT, meta, workload};
use crate::{labels, url_rules};

/// Metrics of the agent platform's service.
pub(super) const AGENT_METRICS_PORT: i32 = 8083;
const DNS_PORT: i32 = 53;
const HTTPS_PORT: u16 = 443;

/// The gateway's policy.
pub(super) fn gateway_policy(gateway: &AIGateway, config: &GatewayConfig) -> Option<NetworkPolicy> {
    let name = gateway.name_any();
    let pods = (labels::common(&name), labels::selector(&name));
    policy(gateway, config, name, pods, i32::from(url_rules::GATEWAY_PORT), METRICS_PORT)
}

/// The agent platform's policy.
pub(super) fn agent_platform_policy(gateway: &AIGateway, config: &GatewayConfig) -> Option<NetworkPolicy> {
    gateway.spec.agent_platform.as_ref()?;
    let name = gateway.name_any();
    let pods = (labels::agent_platform(&name), labels::agent_platform_selector(&name));
    let port = i32::from(url_rules::AGENT_PLATFORM_PORT);
    policy(gateway, config, labels::agent_platform_name(&name), pods, port, AGENT_METRICS_PORT)
}

fn policy(
    gateway: &AIGateway,
    config: &GatewayConfig,
    name: String,
    (labels, pods): (BTreeMap<String, String>, BTreeMap<String, String>),
    api: i32,
    metrics: i32,
) -> Option<NetworkPolicy> {
    let declared = gateway.spec.network_policy.as_ref().filter(|policy| policy.enabled)?;
    // The operator asks each pod which configuration it serves; it may run in any namespace.
    let mut readers = vec![operator()];
    readers.extend(declared.metrics_from.iter().map(peer));
    Some(NetworkPolicy {
        metadata: meta(gateway, name, labels),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(workload::selector(&pods)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: peers(&declared.from), ports: Some(vec![tcp(api)]) },
                NetworkPolicyIngressRule { from: Some(readers), ports: Some(vec![tcp(metrics)]) },
            ]),
            egress: Some(egress(declared, config)),
        }),
    })
}

fn egress(declared: &Declared, config: &GatewayConfig) -> Vec<NetworkPolicyEgressRule> {
    let dns = NetworkPolicyEgressRule { to: None, ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]) };
    match &declared.egress {
        None => {
            let ports = called_ports(config).into_iter().map(|port| tcp(i32::from(port))).collect();
            let called = NetworkPolicyEgressRule { to: None, ports: Some(ports) };
            [dns, called].into_iter().chain(identity(config)).collect()
        }
        Some(egress) => {
            let rules = egress.rules.iter().map(|rule| NetworkPolicyEgressRule {
                to: peers(&rule.to),
                ports: (!rule.ports.is_empty()).then(|| rule.ports.iter().copied().map(tcp).collect()),
            });
            egress.dns.then_some(dns).into_iter().chain(rules).collect()
        }
    }
}

/// Without credentials of their own the pods ask the cloud's node for some, at a link-local address.
fn identity(config: &GatewayConfig) -> Option<NetworkPolicyEgressRule> {
    let bedrock = config.providers.bedrock.as_ref().is_some_and(|bedrock| !bedrock.credentials);
    let vertex = config.providers.vertex_ai.as_ref().is_some_and(|vertex| vertex.credentials_file.is_none());
    (bedrock || vertex).then(|| NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr: "169.254.0.0/16".to_owned(), except: None }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![tcp(80)]),
    })
}

/// Ports of everything that a gateway with this configuration calls.
fn called_ports(config: &GatewayConfig) -> BTreeSet<u16> {
    let mut urls: Vec<&str> = vec![&config.gitlab.url];
    urls.extend(config.gitlab.api_url.as_deref());
    urls.extend(config.gitlab.customer_portal_url.as_deref());
    urls.extend(config.tracing.as_ref().map(|tracing| tracing.otlp_endpoint.as_str()));
    let proxies = config.proxy.iter().flat_map(|proxy| [&proxy.https_proxy, &proxy.http_proxy]);
    urls.extend(proxies.flatten().map(String::as_str));
    let providers = &config.providers;
    urls.extend(providers.bedrock.iter().filter_map(|bedrock| bedrock.endpoint.as_deref()));
    urls.extend(providers.vertex_ai.iter().filter_map(|vertex| vertex.endpoint.as_deref()));
    let mut ports: BTreeSet<u16> = BTreeSet::new();
    // The clouds themselves, and their token services.
    if providers.bedrock.is_some() || providers.vertex_ai.is_some() {
        ports.insert(HTTPS_PORT);
    }
    for model in &config.models {
        let own = (model.endpoint.as_deref(), &model.connection);
        let replicas = model.replicas.iter().map(|place| (place.endpoint.as_deref(), &place.connection));
        let fallbacks = model.fallbacks.iter().map(|place| (place.endpoint.as_deref(), &place.connection));
        for (endpoint, connection) in std::iter::once(own).chain(replicas).chain(fallbacks) {
            if endpoint.is_none() {
                ports.insert(HTTPS_PORT);
            }
            urls.extend(endpoint);
            urls.extend(connection.endpoint.as_deref());
            urls.extend(connection.proxy_url.as_deref());
            urls.extend(connection.assume_role.as_ref().and_then(|role| role.sts_endpoint.as_deref()));
        }
    }
    ports.extend(urls.into_iter().filter_map(|url| Url::parse(url).ok()?.port_or_known_default()));
    ports
}

fn operator() -> NetworkPolicyPeer {
    let labels = BTreeMap::from([("app.kubernetes.io/name".to_owned(), "duo-operator".to_owned())]);
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(workload::selector(&labels)),
        ip_block: None,
    }
}

/// No peers stand for everybody.
fn peers(declared: &[Peer]) -> Option<Vec<NetworkPolicyPeer>> {
    (!declared.is_empty()).then(|| declared.iter().map(peer).collect())
}

fn peer(declared: &Peer) -> NetworkPolicyPeer {
    let of = |labels: &Option<BTreeMap<String, String>>| {
        labels.as_ref().map(|labels| match labels.is_empty() {
            true => LabelSelector::default(),
            false => workload::selector(labels),
        })
    };
    NetworkPolicyPeer {
        ip_block: declared.cidr.as_ref().map(|cidr| IPBlock {
            cidr: cidr.clone(),
            except: (!declared.except.is_empty()).then(|| declared.except.clone()),
        }),
        pod_selector: of(&declared.pod_labels),
        namespace_selector: of(&declared.namespace_labels),
    }
}

fn tcp(number: i32) -> NetworkPolicyPort {
    port("TCP", number)
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { port: Some(IntOrString::Int(number)), protocol: Some(protocol.to_owned()), end_port: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_without_a_list_opens_the_ports_of_what_is_called_and_no_others() {
        let mut config = GatewayConfig::new("http://gitlab.example.com:8080");
        assert_eq!(called_ports(&config).into_iter().collect::<Vec<_>>(), [8080]);
        config.gitlab.customer_portal_url = Some("https://customers.gitlab.com".to_owned());
        assert_eq!(called_ports(&config).into_iter().collect::<Vec<_>>(), [443, 8080]);
        assert!(identity(&config).is_none());
    }

    #[test]
    fn a_cloud_is_called_over_https_and_asked_for_credentials_where_none_are_declared() {
        for (providers, asks) in [
            ("{bedrock: {region: r, credentials: true}}", false),
            ("{bedrock: {region: r}}", true),
            ("{vertexAi: {project: p, location: l, credentialsFile: f}}", false),
            ("{vertexAi: {project: p, location: l}}", true),
        ] {
            let mut config = GatewayConfig::new("http://gitlab.example.com:8080");
            config.providers = serde_yaml_ng::from_str(providers).unwrap();
            assert_eq!(called_ports(&config).into_iter().collect::<Vec<_>>(), [443, 8080], "{providers}");
            assert_eq!(identity(&config).is_some(), asks, "{providers}");
        }
    }
}
