//! What stands between the operator and its two neighbours, to count its calls and spoil some of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_testkit::control_plane::ControlPlane;
use duo_testkit::fault_proxy::{FaultProxy, Named, Options, Style, kubernetes};
use duo_testkit::pki::CertificateAuthority;
use serde_json::Value;

use crate::operator::Operator;

/// Proxies before the API server and before GitLab.
pub struct Proxies {
    /// Before the API server, by https.
    pub kubernetes: FaultProxy,
    /// Before GitLab, by http.
    pub gitlab: FaultProxy,
    /// The operator's way to the API server.
    pub kubeconfig: PathBuf,
}

impl Proxies {
    /// Starts both; GitLab's upstream is set later.
    ///
    /// # Panics
    /// When one cannot be started.
    pub async fn start(control_plane: &ControlPlane) -> Self {
        let authority = CertificateAuthority::new("duo-fault-proxy").expect("an authority");
        let kubernetes = FaultProxy::start(Options {
            namer: Arc::new(kubernetes::name),
            style: Style::Kubernetes,
            upstream_ca: Some(control_plane.ca_pem().to_owned()),
            tls: Some(authority.server("duo-fault-proxy", &["127.0.0.1"]).expect("a certificate")),
        })
        .await
        .expect("a proxy");
        kubernetes.set_upstream(control_plane.url());
        let gitlab = FaultProxy::start(Options {
            namer: Arc::new(|head, body| gitlab_name(head.method.as_str(), head.uri.path(), body)),
            style: Style::Message,
            upstream_ca: None,
            tls: None,
        })
        .await
        .expect("a proxy");
        let kubeconfig = control_plane
            .kubeconfig_by_way_of(&kubernetes.url(), authority.cert_pem(), "duo-operator", "duo-operator")
            .await
            .expect("a kubeconfig");
        Self { kubernetes, gitlab, kubeconfig }
    }

    /// Waits until two periods have passed without a write to either side.
    ///
    /// # Errors
    /// The last writes, when `limit` is over.
    pub async fn until_at_rest(&self, period: Duration, limit: Duration) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let marks = (self.kubernetes.mark(), self.gitlab.mark());
            tokio::time::sleep(2 * period + period / 4).await;
            let mut writes = self.kubernetes.writes_since(marks.0);
            writes.extend(self.gitlab.writes_since(marks.1));
            if writes.is_empty() {
                return Ok(());
            }
            if started.elapsed() > limit {
                return Err(format!("still writing after {} s: {writes:#?}", limit.as_secs()));
            }
        }
    }

    /// A fault that kills the operator starts it again at once.
    pub fn kill_and_start_again(&self, operator: &Arc<Mutex<Option<Operator>>>) {
        for proxy in [&self.kubernetes, &self.gitlab] {
            let operator = Arc::clone(operator);
            proxy.on_kill(Arc::new(move || {
                if let Some(operator) = operator.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    operator.kill();
                    operator.start_again();
                }
            }));
        }
    }
}

/// GraphQL operations with what they are about; REST paths; nothing of the gateway's calls for OIDC keys.
fn gitlab_name(method: &str, path: &str, body: &[u8]) -> Option<Named> {
    if path != "/api/graphql" {
        let name = format!("{} {path}", method.to_ascii_lowercase());
        return path.starts_with("/api/").then_some(Named { name, write: method != "GET", list: false, watch: None });
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let operation = body["operationName"].as_str()?;
    let input = &body["variables"]["input"];
    let about = [&input["name"], &input["features"][0], &input["feature"]].into_iter().find_map(Value::as_str);
    let mutation = body["query"].as_str().unwrap_or_default().trim_start().starts_with("mutation");
    Some(Named {
        name: about.map_or_else(|| operation.to_owned(), |about| format!("{operation} {about}")),
        write: mutation && operation != "DuoConnectionCheck",
        list: matches!(operation, "DuoObserve" | "DuoModelsPage" | "DuoFeaturesPage"),
        watch: None,
    })
}
