//! Waiting for what a user of the cluster would see.
//!
//! Waits end with a fault after [`LIMIT`]; that is no measure of speed, it only ends a run that hangs.

use std::time::{Duration, Instant};

use duo_testkit::conditions::check_conditions;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::World;

/// When a wait is given up.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A condition of an object: (status, reason, message); empty texts when it has none.
pub fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == type_)
        .map(|condition| (text(condition, "status"), text(condition, "reason"), text(condition, "message")))
        .unwrap_or_default()
}

impl World {
    /// One of our objects as JSON; `Null` when it does not exist. What its status must always obey is checked on the way.
    pub async fn get(&self, kind: &str, name: &str) -> Value {
        self.statuses.check();
        let object: Option<DynamicObject> = self.api(kind).get_opt(name).await.expect("the API server answers");
        let value = object.map(|object| serde_json::to_value(object).expect("JSON")).unwrap_or_default();
        // a status of an older generation is not yet about this object
        if value["status"].is_object() && value["status"]["observedGeneration"] == value["metadata"]["generation"] {
            let broken = check_conditions(&value);
            assert!(broken.is_empty(), "{kind} {name}: {broken:?}\n{:#}", value["status"]);
        }
        value
    }

    /// Waits until `done` holds for an object.
    ///
    /// # Panics
    /// After [`LIMIT`], with the object and the ends of all logs.
    pub async fn until(&self, kind: &str, name: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let value = self.get(kind, name).await;
            if done(&value) {
                return value;
            }
            if started.elapsed() > LIMIT {
                panic!("{kind} {name} never had: {what}\n{:#}\n{}", value["status"], self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a condition has this status and, unless empty, this reason.
    pub async fn until_condition(&self, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> Value {
        self.until(kind, name, &format!("{type_}={status}/{reason}"), |value| {
            let (found, why, _) = condition(value, type_);
            let generation = &value["metadata"]["generation"];
            found == status
                && (reason.is_empty() || why == reason)
                && &value["status"]["observedGeneration"] == generation
        })
        .await
    }

    /// Waits until an object is Ready for its current generation.
    pub async fn until_ready(&self, kind: &str, name: &str) -> Value {
        self.until_condition(kind, name, "Ready", "True", "").await
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, kind: &str, name: &str) {
        self.until(kind, name, "deletion", Value::is_null).await;
    }
}
