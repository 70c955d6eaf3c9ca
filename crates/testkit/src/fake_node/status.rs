//! The status that kubelet would write for a pod: a pure function of what its containers do.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// What the pod's containers do. All containers of a pod are in the same state; only the gateway's has a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not started, or waiting to be started again; reason and message as kubelet gives them.
    Waiting { reason: String, message: String },
    /// Started, and ready or not.
    Running { ready: bool },
    /// Ended for good, with this exit code.
    Ended { code: i32 },
}

/// The history of a pod that its status shows.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// When the pod began on this node.
    pub started: Timestamp,
    /// When its containers were started last.
    pub running_since: Timestamp,
    /// When Ready last changed.
    pub ready_changed: Timestamp,
    /// How often a container was started again.
    pub restarts: u32,
    /// The exit code of the run before.
    pub last_code: Option<i32>,
}

impl History {
    pub fn new() -> Self {
        let now = Timestamp::now();
        Self { started: now, running_since: now, ready_changed: now, restarts: 0, last_code: None }
    }
}

/// The body of a merge patch of the pod's status; its uid makes sure that no other pod of that name is hit.
pub(super) fn patch(pod: &Pod, state: &State, address: IpAddr, history: &History) -> Value {
    let time = |time: &Timestamp| json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let ready = *state == State::Running { ready: true };
    let (phase, reason) = match state {
        State::Waiting { .. } if history.restarts == 0 => ("Pending", "ContainersNotReady"),
        State::Ended { code: 0 } => ("Succeeded", "PodCompleted"),
        State::Ended { .. } => ("Failed", "PodFailed"),
        _ => ("Running", "ContainersNotReady"),
    };
    let container_state = match state {
        State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        State::Running { .. } => json!({"running": {"startedAt": time(&history.running_since)}}),
        State::Ended { code } => json!({"terminated": {"exitCode": code, "reason": ended_reason(*code)}}),
    };
    let last_state = match history.last_code {
        Some(code) => json!({"terminated": {"exitCode": code, "reason": ended_reason(code)}}),
        None => json!({}),
    };
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": matches!(state, State::Running { .. }),
                "restartCount": history.restarts,
                "state": container_state,
                "lastState": last_state,
            })
        })
        .collect();
    let condition = |kind: &str, on: bool, changed: &Timestamp| {
        let mut condition =
            json!({"type": kind, "status": if on { "True" } else { "False" }, "lastTransitionTime": time(changed)});
        if !on {
            condition["reason"] = json!(reason);
        }
        condition
    };
    json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {
            "phase": phase,
            "startTime": time(&history.started),
            "hostIP": "127.0.0.1",
            "podIP": address.to_string(),
            "podIPs": [{"ip": address.to_string()}],
            "conditions": [
                condition("PodScheduled", true, &history.started),
                condition("Initialized", true, &history.started),
                condition("ContainersReady", ready, &history.ready_changed),
                condition("Ready", ready, &history.ready_changed),
            ],
            "containerStatuses": containers,
        },
    })
}

fn ended_reason(code: i32) -> &'static str {
    if code == 0 { "Completed" } else { "Error" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_ready_and_container_state_agree() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        )
        .unwrap();
        let waiting = || State::Waiting { reason: "CrashLoopBackOff".into(), message: "back-off".into() };
        for (state, restarts, phase, ready, container) in [
            (waiting(), 0, "Pending", "False", "waiting"),
            (waiting(), 1, "Running", "False", "waiting"),
            (State::Running { ready: false }, 0, "Running", "False", "running"),
            (State::Running { ready: true }, 0, "Running", "True", "running"),
            (State::Ended { code: 0 }, 0, "Succeeded", "False", "terminated"),
            (State::Ended { code: 137 }, 0, "Failed", "False", "terminated"),
        ] {
            let history = History { restarts, ..History::new() };
            let patch = patch(&pod, &state, "127.64.0.1".parse().unwrap(), &history);
            let status = &patch["status"];
            assert_eq!(patch["metadata"]["uid"], "u");
            assert_eq!(status["phase"], phase, "{state:?}");
            let condition = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
            assert_eq!(condition["status"], ready, "{state:?}");
            let container_status = &status["containerStatuses"][0];
            assert!(container_status["state"].get(container).is_some(), "{container_status}");
            assert_eq!(container_status["ready"], ready == "True");
            // what is written is a status that the API's own types can read
            serde_json::from_value::<k8s_openapi::api::core::v1::PodStatus>(status.clone()).unwrap();
        }
    }
}
