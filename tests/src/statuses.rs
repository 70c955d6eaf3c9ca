//! Every status that is written to our kinds in a world, checked against what conditions must obey as it comes.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use duo_testkit::conditions::check_step;
use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A watch of all our objects in a namespace. Dropping it fails the test if a rule was ever broken.
pub struct Statuses {
    broken: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Statuses {
    /// Begins to watch.
    pub fn watch(client: &kube::Client, namespace: &str) -> Self {
        let broken = Arc::default();
        let task = |(kind, plural)| tokio::spawn(check_all(api(client, namespace, kind, plural), Arc::clone(&broken)));
        let kinds = [
            ("AIGateway", "aigateways"),
            ("SelfHostedModel", "selfhostedmodels"),
            ("FeatureAssignment", "featureassignments"),
        ];
        let tasks = kinds.map(task).into();
        Self { broken, tasks }
    }

    /// Fails when a rule was broken so far.
    ///
    /// # Panics
    /// With the rules, the objects and their statuses.
    pub fn check(&self) {
        let broken = std::mem::take(&mut *lock(&self.broken));
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}

impl Drop for Statuses {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// API of one of our kinds.
pub fn api(client: &kube::Client, namespace: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: duo_api::GROUP.to_owned(),
        version: duo_api::VERSION.to_owned(),
        api_version: format!("{}/{}", duo_api::GROUP, duo_api::VERSION),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn check_all(api: Api<DynamicObject>, broken: Arc<Mutex<Vec<String>>>) {
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut last: HashMap<String, Value> = HashMap::new();
    while let Some(event) = events.next().await {
        let object = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => object,
            Ok(Event::Delete(object)) => {
                last.remove(&object.uid().unwrap_or_default());
                continue;
            }
            _ => continue,
        };
        let (uid, name) = (object.uid().unwrap_or_default(), object.name_any());
        let now = serde_json::to_value(object).unwrap_or_default();
        let before = last.get(&uid).unwrap_or(&Value::Null);
        let found = check_step(before, &now);
        if !found.is_empty() {
            let text = format!(
                "{} {name}: {found:?}\nbefore: {:#}\nafter (generation {}): {:#}",
                now["kind"], before["status"], now["metadata"]["generation"], now["status"]
            );
            lock(&broken).push(text);
        }
        last.insert(uid, now);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
