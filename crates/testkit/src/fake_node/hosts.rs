//! The cluster's DNS and kube-proxy in one: names of Services and the address behind each.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

/// The address of a Service without a ready pod: nobody listens there, so a connection is refused, as it is at the
/// virtual address of such a Service.
pub const REFUSING: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254));

/// Is told of each change: the name, and its address unless the name is gone.
pub type HostObserver = Arc<dyn Fn(&str, Option<IpAddr>) + Send + Sync>;

/// Host names and addresses; a clone shares the map.
///
/// For each Service with a selector `NAME.NS`, `NAME.NS.svc` and `NAME.NS.svc.cluster.local` lead to one of its ready
/// pods (the same one as long as it stays ready), or to [`REFUSING`]. The port is the pod's own.
#[derive(Clone, Debug, Default)]
pub struct HostMap(Arc<RwLock<HashMap<String, IpAddr>>>);

impl HostMap {
    /// The address of a name, exactly as written in the list above.
    pub fn get(&self, name: &str) -> Option<IpAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// The map itself, for whoever takes one.
    pub fn shared(&self) -> Arc<RwLock<HashMap<String, IpAddr>>> {
        self.0.clone()
    }

    /// Takes a new content over and tells `observer` what changed.
    pub(super) fn replace(&self, new: HashMap<String, IpAddr>, observer: Option<&HostObserver>) {
        let old = {
            let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *map, new.clone())
        };
        let Some(observer) = observer else { return };
        for (name, address) in &new {
            if old.get(name) != Some(address) {
                observer(name, Some(*address));
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            observer(name, None);
        }
    }

    /// What the map must be for these Services and pods.
    pub(super) fn wanted<'a>(
        &self,
        services: impl Iterator<Item = &'a Service>,
        pods: &[&Pod],
    ) -> HashMap<String, IpAddr> {
        let mut map = HashMap::new();
        for service in services {
            let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { continue };
            let namespace = service.namespace().unwrap_or_default();
            let name = format!("{}.{namespace}", service.name_any());
            let address = choose(pods, &namespace, selector, self.get(&name)).unwrap_or(REFUSING);
            for suffix in ["", ".svc", ".svc.cluster.local"] {
                map.insert(format!("{name}{suffix}"), address);
            }
        }
        map
    }
}

fn choose(
    pods: &[&Pod],
    namespace: &str,
    selector: &BTreeMap<String, String>,
    current: Option<IpAddr>,
) -> Option<IpAddr> {
    let mut ready: Vec<(String, IpAddr)> = pods
        .iter()
        .filter(|pod| pod.namespace().as_deref() == Some(namespace))
        .filter(|pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value)))
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod))
        .filter_map(|pod| Some((pod.name_any(), pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?)))
        .collect();
    ready.sort();
    let kept = ready.iter().find(|(_, address)| Some(*address) == current);
    kept.or(ready.first()).map(|(_, address)| *address)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, ready: bool, deleting: bool) -> Pod {
        let mut metadata = json!({"name": name, "namespace": "n", "labels": {"app": "a", "other": "x"}});
        if deleting {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": metadata,
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap()
    }

    fn update(map: &HostMap, pods: &[Pod], observer: Option<&HostObserver>) {
        let service: Service = serde_json::from_value(
            json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"selector": {"app": "a"}}}),
        )
        .unwrap();
        let headless: Service =
            serde_json::from_value(json!({"metadata": {"name": "external", "namespace": "n"}, "spec": {}})).unwrap();
        let pods: Vec<&Pod> = pods.iter().collect();
        map.replace(map.wanted([&service, &headless].into_iter(), &pods), observer);
    }

    #[test]
    fn a_service_leads_to_a_ready_pod_and_stays_with_it() {
        let map = HostMap::default();
        update(&map, &[pod("b", "127.64.0.2", true, false), pod("c", "127.64.0.3", false, false)], None);
        let b: IpAddr = "127.64.0.2".parse().unwrap();
        for name in ["s.n", "s.n.svc", "s.n.svc.cluster.local"] {
            assert_eq!(map.get(name), Some(b), "{name}");
        }
        assert_eq!(map.get("external.n"), None);
        update(&map, &[pod("a", "127.64.0.1", true, false), pod("b", "127.64.0.2", true, false)], None);
        assert_eq!(map.get("s.n"), Some(b), "another ready pod is no reason to move");
    }

    #[test]
    fn a_pod_that_is_going_away_is_left_and_without_a_ready_pod_connections_are_refused() {
        let map = HostMap::default();
        let told = Arc::new(Mutex::new(vec![]));
        let observer: HostObserver = {
            let told = told.clone();
            Arc::new(move |name: &str, address| told.lock().unwrap().push((name.to_owned(), address)))
        };
        update(&map, &[pod("a", "127.64.0.1", true, true), pod("b", "127.64.0.2", true, false)], Some(&observer));
        assert_eq!(map.get("s.n.svc"), "127.64.0.2".parse().ok());
        update(&map, &[pod("a", "127.64.0.1", true, true)], Some(&observer));
        assert_eq!(map.get("s.n.svc"), Some(REFUSING));
        map.replace(HashMap::new(), Some(&observer));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 9);
        assert!(told[6..].iter().all(|(_, address)| address.is_none()));
    }
}
