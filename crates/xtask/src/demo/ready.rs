//! Waits until every resource of the product is Ready, telling each change of why one is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use duo_testkit::node::NodeCluster;
use serde_json::Value;

use super::{GITLAB, OPERATOR, RESOURCES};
use crate::console::{Console, Failure};

const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn wait(cluster: &NodeCluster, console: &Console) -> Result<(), Failure> {
    resources(cluster, &["-A"], GITLAB, console)
}

/// [`wait`] for those in `place` (arguments of kubectl), which configure this simulated GitLab.
pub(super) fn resources(cluster: &NodeCluster, place: &[&str], gitlab: &str, console: &Console) -> Result<(), Failure> {
    let get = [&["get", RESOURCES, "-o", "json"], place].concat();
    console.step("waiting for the resources to be Ready");
    let begin = Instant::now();
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut last_line = Instant::now();
    loop {
        let text = cluster.kubectl(get.iter().copied())?;
        let list: Value = serde_json::from_str(&text).map_err(Failure::when("kubectl get -o json"))?;
        let now = summary(&list);
        for (name, (_, line)) in &now {
            if told.get(name) != Some(line) {
                console.step(&format!("{name}: {line}"));
                told.insert(name.clone(), line.clone());
                last_line = Instant::now();
            }
        }
        // a status of before this run's new GitLab was started is no answer, so GitLab is asked too
        if !now.is_empty() && now.values().all(|(ready, _)| *ready) && configured(cluster, gitlab) {
            return Ok(());
        }
        let mut waiting: Vec<&str> =
            now.iter().filter(|(_, (ready, _))| !ready).map(|(name, _)| name.as_str()).collect();
        if waiting.is_empty() {
            waiting.push("the simulated GitLab to be configured");
        }
        if begin.elapsed() > PATIENCE {
            let (namespace, deployment) = OPERATOR;
            let deployment = format!("deployment/{deployment}");
            let logs = cluster.kubectl(["-n", namespace, "logs", &deployment, "--tail=20"]).unwrap_or_default();
            let seconds = PATIENCE.as_secs();
            let waiting = waiting.join(", ");
            return Err(Failure::Other(format!(
                "not Ready after {seconds} s: {waiting}\nthe operator's last lines:\n{logs}"
            )));
        }
        if last_line.elapsed() > Duration::from_secs(15) {
            last_line = Instant::now();
            console.step(&format!("still waiting for {}", waiting.join(", ")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Whether the simulated GitLab has a gateway URL, models and features.
fn configured(cluster: &NodeCluster, gitlab: &str) -> bool {
    let Ok(text) = cluster.kubectl(["get", "--raw", &format!("{gitlab}/_sim/state")]) else { return false };
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    let filled = |key: &str| state[key].as_object().is_some_and(|entries| !entries.is_empty());
    state["settings"]["ai_gateway_url"].is_string() && filled("models") && filled("features")
}

/// By `kind namespace/name`: whether it is Ready for its current generation, and one line that says so or why not.
fn summary(list: &Value) -> BTreeMap<String, (bool, String)> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &item["metadata"];
            let name = format!("{} {}/{}", text(&item["kind"]), text(&metadata["namespace"]), text(&metadata["name"]));
            let conditions = item["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
            let outcome = match ready {
                None => (false, "no status yet".to_owned()),
                Some(ready)
                    if ready["observedGeneration"]
                        .as_i64()
                        .is_some_and(|seen| Some(seen) != metadata["generation"].as_i64()) =>
                {
                    (false, "its status is of an earlier generation".to_owned())
                }
                Some(ready) => {
                    let reason = format!("{} ({})", text(&ready["reason"]), text(&ready["message"]));
                    (ready["status"] == "True", format!("Ready={} {reason}", text(&ready["status"])))
                }
            };
            (name, outcome)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(conditions: Value) -> Value {
        json!({"items": [{"kind": "AIGateway", "metadata": {"namespace": "n", "name": "duo", "generation": 2},
                          "status": {"conditions": conditions}}]})
    }

    #[test]
    fn ready_counts_only_for_the_current_generation() {
        let condition = |status: &str, generation: i64| json!([{"type": "Ready", "status": status, "reason": "R", "message": "m", "observedGeneration": generation}]);
        let of = |list: Value| summary(&list)["AIGateway n/duo"].clone();
        assert_eq!(of(item(condition("True", 2))), (true, "Ready=True R (m)".to_owned()));
        assert!(!of(item(condition("True", 1))).0);
        assert!(!of(item(condition("Unknown", 2))).0);
        assert_eq!(of(item(json!([]))), (false, "no status yet".to_owned()));
        assert!(summary(&json!({"items": []})).is_empty());
    }
}
