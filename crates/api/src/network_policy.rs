//! Who reaches the gateway's pods, and whom they reach. A NetworkPolicy knows addresses, ports and pods, no host names:
//! which endpoints are called is decided by the declared models, and enforced by the gateway.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A NetworkPolicy for the gateway's pods, and one for the agent platform's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// `false`: none. Default `true`.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who calls the API, and the agent platform's service: GitLab, and IDEs that GitLab lets call directly. Left out:
    /// everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<Peer>,
    /// Who reads the metrics, beside the operator. Left out: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub metrics_from: Vec<Peer>,
    /// Whom the pods call. Left out: DNS, and every address on the ports of GitLab, the declared models and what else the
    /// gateway is told to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressSpec>,
}

fn yes() -> bool {
    true
}

/// Whom the pods call: these and nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressSpec {
    /// Whether they ask DNS servers of any address, port 53. Default `true`.
    #[serde(default = "yes")]
    pub dns: bool,
    /// Whom else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<EgressRule>,
}

/// Some neighbours on some ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// Whom. Left out: every address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<Peer>,
    /// On which TCP ports. Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 65535)), extend("x-kubernetes-list-type" = "set"))]
    pub ports: Vec<i32>,
}

/// Addresses, or pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.cidr) != (has(self.podLabels) || has(self.namespaceLabels))")
        .message("name either a cidr, or pods by podLabels and namespaceLabels"),
    validation = Rule::new("!has(self.except) || has(self.cidr)")
        .message("except takes addresses out of cidr: give cidr too"),
    validation = Rule::new("!has(self.except) || !has(self.cidr) || !isCIDR(self.cidr) || self.except.all(e, e != self.cidr && isCIDR(e) && cidr(self.cidr).containsCIDR(e))")
        .message("each range in except must be a smaller one inside cidr")
)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Addresses, for example `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("cidr must be a range of addresses, for example 10.0.0.0/8"))]
    pub cidr: Option<String>,
    /// Ranges inside `cidr` that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 3, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub except: Vec<String>,
    /// Labels of pods; `{}`: all pods. Left out beside `namespaceLabels`: all pods of those namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Labels of their namespaces; `{}`: all namespaces. Left out: this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub namespace_labels: Option<BTreeMap<String, String>>,
}
