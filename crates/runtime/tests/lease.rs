//! Leader election against a real API server: never two leaders, and a leader that cannot renew knows it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use duo_runtime::{
    CancellationToken,
    lease::{Config, Election, Leadership},
};
use duo_testkit::control_plane::ControlPlane;
use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

async fn namespace() -> (&'static ControlPlane, String) {
    let control_plane = ControlPlane::shared("").await.unwrap();
    (control_plane, control_plane.namespace("lease").await.unwrap())
}

/// Shorter than in earnest, so that the test is; still longer than a call takes on a busy machine.
fn config(namespace: &str) -> Config {
    Config {
        duration: Duration::from_secs(6),
        renew_deadline: Duration::from_secs(4),
        retry: Duration::from_millis(300),
        ..Config::new(namespace, "duo-operator")
    }
}

fn compete(client: &Client, namespace: &str) -> (Election, CancellationToken) {
    let stop = CancellationToken::new();
    (Election::start(client.clone(), config(namespace), stop.clone()), stop)
}

async fn holder(client: &Client, namespace: &str) -> String {
    let lease = Api::<Lease>::namespaced(client.clone(), namespace).get("duo-operator").await.unwrap();
    lease.spec.unwrap().holder_identity.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_replicas_one_leads_and_hands_over_when_it_stops() {
    let (control_plane, namespace) = namespace().await;
    let client = control_plane.client().unwrap();
    let mut replicas: Vec<_> = (0..3).map(|_| compete(&client, &namespace)).collect();
    let handles: Vec<Leadership> = replicas.iter().map(|(e, _)| e.leadership()).collect();

    // a watcher that looks all the time
    let most = Arc::new(AtomicUsize::new(0));
    let watching = Arc::new(AtomicBool::new(true));
    let watcher = {
        let (most, watching) = (most.clone(), watching.clone());
        tokio::task::spawn_blocking(move || {
            while watching.load(Ordering::Relaxed) {
                let leaders = handles.iter().filter(|l| l.is_valid()).count();
                most.fetch_max(leaders, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };

    for _ in 0..3 {
        let waits = replicas.iter().map(|(e, _)| {
            let leadership = e.leadership();
            Box::pin(async move { leadership.wait_until_leader().await })
        });
        let (won, index, _) = futures::future::select_all(waits).await;
        assert!(won);
        assert!(!holder(&client, &namespace).await.is_empty());
        let (leader, stop) = replicas.remove(index);
        assert!(leader.leadership().remaining().is_some());
        // asked to stop, it still leads until it is released: work under way may end
        stop.cancel();
        tokio::time::sleep(Duration::from_millis(700)).await;
        let leadership = leader.leadership();
        assert!(leadership.is_valid());
        leader.release().await;
        assert!(!leadership.is_valid() && leadership.remaining().is_none());
        assert!(!leadership.lost().is_cancelled(), "given back, not lost");
    }
    assert_eq!(holder(&client, &namespace).await, "");
    watching.store(false, Ordering::Relaxed);
    watcher.await.unwrap();
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_may_not_renew_stops_leading_before_another_takes_over() {
    let (control_plane, namespace) = namespace().await;
    let admin = control_plane.client().unwrap();
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: lease, namespace: {namespace}}}\nrules:\n\
         - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: lease, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: lease}}\n\
         subjects:\n- {{kind: User, name: leader-of-{namespace}, apiGroup: rbac.authorization.k8s.io}}\n"
    );
    control_plane.apply_yaml(&yaml).await.unwrap();
    let limited = control_plane.client_for(&format!("leader-of-{namespace}"), &[]).unwrap();
    let (first, _) = compete(&limited, &namespace);
    let leadership = first.leadership();
    assert!(leadership.wait_until_leader().await, "get, create and update are all the rights it needs");
    let (second, stop) = compete(&admin, &namespace);
    let bindings = Api::<RoleBinding>::namespaced(admin.clone(), &namespace);
    bindings.delete("lease", &DeleteParams::default()).await.unwrap();
    let successor = second.leadership();
    assert!(successor.wait_until_leader().await);
    assert!(!leadership.is_valid(), "it stopped before the other began");
    leadership.lost().cancelled().await;
    stop.cancel();
    second.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_was_taken_notices_at_its_next_renewal() {
    let (control_plane, namespace) = namespace().await;
    let client = control_plane.client().unwrap();
    let (election, _) = compete(&client, &namespace);
    let leadership = election.leadership();
    assert!(leadership.wait_until_leader().await);
    let leases = Api::<Lease>::namespaced(client, &namespace);
    let stolen = json!({"spec": {"holderIdentity": "somebody-else"}});
    leases.patch("duo-operator", &PatchParams::default(), &Patch::Merge(&stolen)).await.unwrap();
    leadership.lost().cancelled().await;
    assert!(!leadership.is_valid());
    election.release().await;
    let lease = leases.get("duo-operator").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("somebody-else"), "not ours to release");
}

#[tokio::test]
async fn without_election_a_process_always_leads() {
    let leadership = Leadership::always();
    assert!(leadership.wait_until_leader().await && leadership.is_valid() && leadership.remaining().is_some());
}
