//! Readiness probes over HTTP, with kubelet's thresholds.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The readiness probe of one container and what it has seen so far.
pub(super) struct Readiness {
    target: Option<Target>,
    period: Duration,
    delay: Duration,
    failure_threshold: i32,
    success_threshold: i32,
    successes: i32,
    failures: i32,
    ready: bool,
}

struct Target {
    client: reqwest::Client,
    url: String,
    headers: Vec<(String, String)>,
}

impl Readiness {
    /// The container's readiness probe; without one (or with one that is not `httpGet`) it is always ready.
    pub fn new(container: &Container, address: IpAddr, period: Option<Duration>) -> Self {
        let probe = container.readiness_probe.clone().unwrap_or_default();
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).filter(|v| *v > 0).unwrap_or(default))
        };
        Self {
            target: target(container, &probe, address, seconds(probe.timeout_seconds, 1)),
            period: period.unwrap_or_else(|| seconds(probe.period_seconds, 10)),
            delay: if period.is_some() { Duration::ZERO } else { seconds(probe.initial_delay_seconds, 0) },
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
            success_threshold: probe.success_threshold.unwrap_or(1).max(1),
            successes: 0,
            failures: 0,
            ready: false,
        }
    }

    /// Forgets what it has seen: the container was started anew.
    pub fn reset(&mut self) {
        (self.successes, self.failures, self.ready) = (0, 0, false);
    }

    /// When the first probe is due after the container's start.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// The time between probes.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Probes once and says whether the container counts as ready now.
    pub async fn probe(&mut self) -> bool {
        let success = match &self.target {
            None => true,
            Some(target) => target.get().await,
        };
        self.count(success)
    }

    fn count(&mut self, success: bool) -> bool {
        if success {
            self.failures = 0;
            self.successes += 1;
            self.ready |= self.successes >= self.success_threshold;
        } else {
            self.successes = 0;
            self.failures += 1;
            self.ready &= self.failures < self.failure_threshold;
        }
        self.ready
    }
}

impl Target {
    async fn get(&self) -> bool {
        let mut request = self.client.get(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) => (200..400).contains(&response.status().as_u16()),
            Err(_) => false,
        }
    }
}

fn target(container: &Container, probe: &Probe, address: IpAddr, timeout: Duration) -> Option<Target> {
    let get = probe.http_get.as_ref()?;
    let port = match &get.port {
        IntOrString::Int(port) => *port,
        IntOrString::String(name) => {
            container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let path = get.path.as_deref().unwrap_or("/").trim_start_matches('/');
    // kubelet follows no redirects to other hosts, does not check certificates and opens a connection per probe
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .ok()?;
    Some(Target {
        client,
        url: format!("{scheme}://{}:{port}/{path}", get.host.clone().unwrap_or_else(|| address.to_string())),
        headers: get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn readiness(probe: serde_json::Value) -> Readiness {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "ports": [{"name": "http", "containerPort": 5052}], "readinessProbe": probe,
        }))
        .unwrap();
        Readiness::new(&container, "127.64.0.1".parse().unwrap(), None)
    }

    #[test]
    fn one_failure_below_the_threshold_leaves_a_container_ready() {
        let mut readiness = readiness(json!({"failureThreshold": 2, "successThreshold": 1}));
        let seen: Vec<bool> = [false, true, false, true, false, false, true].map(|ok| readiness.count(ok)).into();
        assert_eq!(seen, [false, true, true, true, true, false, true]);
    }

    #[test]
    fn named_ports_are_those_of_the_container() {
        let readiness = readiness(json!({"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 2}));
        assert_eq!(readiness.target.as_ref().unwrap().url, "http://127.64.0.1:5052/ready");
        assert_eq!(readiness.period(), Duration::from_secs(2));
    }
}
