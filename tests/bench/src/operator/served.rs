//! What the API server was asked, by its own metrics, and what it and its neighbours took for it: writes are in its audit
//! log, reads are not.

use std::collections::BTreeMap;

use duo_testkit::control_plane::ControlPlane;

use crate::{Fallible, memory};

/// Counted until now.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Requests by verb and resource.
    requests: BTreeMap<String, f64>,
    /// Processor seconds of etcd, API server and controller manager, in this order.
    seconds: Vec<f64>,
}

impl Served {
    /// Asks it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn now(control_plane: &ControlPlane) -> Fallible<Self> {
        let request = http::Request::get("/metrics").body(vec![])?;
        let text = control_plane.client()?.request_text(request).await?;
        let mut requests = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                let rest = line.split(&format!("{name}=\"")).nth(1)?;
                rest.split('"').next()
            };
            let count: f64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0.0);
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
            *requests.entry(format!("{verb} {resource}")).or_default() += count;
        }
        let seconds = control_plane.pids().into_iter().map(memory::cpu_seconds).collect();
        Ok(Self { requests, seconds })
    }

    /// Since then, the requests that came more than a few times.
    pub fn since(&self, before: &Self) -> String {
        let reads: BTreeMap<&str, f64> = self
            .requests
            .iter()
            .map(|(name, count)| (name.as_str(), count - before.requests.get(name).unwrap_or(&0.0)))
            .filter(|(name, count)| *count >= 50.0 && (name.starts_with("GET") || name.starts_with("LIST")))
            .collect();
        let names = ["etcd", "kube-apiserver", "kube-controller-manager"];
        let seconds: Vec<String> = names
            .iter()
            .zip(self.seconds.iter().zip(before.seconds.iter().chain(std::iter::repeat(&0.0))))
            .map(|(name, (now, before))| format!("{name} {:.0} s", now - before))
            .collect();
        format!("API server: reads of all clients {reads:?}; processor: {}", seconds.join(", "))
    }
}
