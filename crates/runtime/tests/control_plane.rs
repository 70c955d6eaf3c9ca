//! Apply, prune, status, finalizers and events against a real API server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use duo_runtime::{
    apply::{Applied, Applier, Change},
    events::{Notice, Publisher, Severity},
    metadata::{self, Changed, add_finalizer, remove_finalizer, set_annotations},
    status,
};
use duo_testkit::control_plane::{ControlPlane, Mark};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Pod, PodStatus, Secret, Service, ServiceAccount},
        events::v1::Event,
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const MANAGER: &str = "gateway-controller";
/// Of a kind that the garbage collector does not know: else it would delete what belongs to an owner that is not there.
const OWNER: &str = "7f1b2c3d-0000-4000-8000-000000000001";

/// A namespace of the test's own, and a user whose writes are told apart in the audit log.
struct Bench {
    control_plane: &'static ControlPlane,
    namespace: String,
    user: String,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        let control_plane = ControlPlane::shared("").await.unwrap();
        let namespace = control_plane.namespace("runtime").await.unwrap();
        let user = format!("user-of-{namespace}");
        let client = control_plane.client_for(&user, &["system:masters"]).unwrap();
        Self { control_plane, namespace, user, client }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A declared object of the test's namespace.
    fn object<K: DeserializeOwned>(&self, mut json: Value) -> K {
        json["metadata"]["namespace"] = json!(self.namespace);
        serde_json::from_value(json).unwrap()
    }

    /// A new one has no memory: every decision comes from the comparison.
    fn applier(&self) -> Applier {
        Applier::new(self.client.clone(), MANAGER)
    }

    async fn apply<K>(&self, desired: &K) -> Applied<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Serialize
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        self.applier().apply(desired, None).await.unwrap()
    }

    async fn mark(&self) -> Mark {
        self.control_plane.mark().await.unwrap()
    }

    async fn writes(&self, mark: Mark) -> Vec<String> {
        let writes = self.control_plane.writes_since(mark, |user| user == self.user).await.unwrap();
        writes.into_iter().map(|w| format!("{} {} {}", w.verb, w.resource, w.name)).collect()
    }
}

fn deployment() -> Value {
    let labels = json!({"app": "duo"});
    let pod_affinity = json!({"weight": 1, "podAffinityTerm": {
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}});
    let container = json!({
        "name": "gateway", "image": "duo-gateway:1", "args": ["--config", "/etc/duo-gateway/config.yaml"],
        "ports": [{"name": "api", "containerPort": 5052}, {"name": "metrics", "containerPort": 8082}],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
            {"name": "PLAIN", "value": "x"}],
        "envFrom": [{"secretRef": {"name": "aws"}}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "startupProbe": {"httpGet": {"path": "/monitoring/healthz", "port": "api"}, "failureThreshold": 30, "periodSeconds": 1},
        "readinessProbe": {"httpGet": {"path": "/monitoring/healthz", "port": 5052}},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/duo-gateway", "readOnly": true}, {"name": "tmp", "mountPath": "/tmp"}]
    });
    json!({
        "metadata": {"name": "duo", "labels": labels, "annotations": {}, "ownerReferences": [{"apiVersion": "example.com/v1",
            "kind": "Unknown", "name": "o", "uid": OWNER, "controller": true, "blockOwnerDeletion": true}]},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels, "annotations": {"a": "b"}},
                "spec": {
                    "serviceAccountName": "duo",
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 80,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}],
                    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [pod_affinity]}},
                    "imagePullSecrets": [{"name": "pull"}],
                    "containers": [container],
                    "volumes": [
                        {"name": "config", "projected": {"sources": [
                            {"configMap": {"name": "duo-config"}},
                            {"secret": {"name": "duo-credentials", "items": [{"key": "a", "path": "a"}]}},
                            {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com"}},
                            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
                        {"name": "tmp", "emptyDir": {}}]
                }
            }
        }
    })
}

#[tokio::test]
async fn what_was_found_as_declared_is_not_read_again_until_a_watch_tells_of_a_change() {
    let bench = Bench::new().await;
    let declared =
        |value: &str| -> ConfigMap { bench.object(json!({"metadata": {"name": "kept"}, "data": {"a": value}})) };
    let api = bench.api::<ConfigMap>();
    // As a watch tells it: the version of now.
    let by_hand = || async {
        let patch = json!({"data": {"a": "by hand"}});
        api.patch("kept", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap().resource_version()
    };
    let told = |applier: &Applier, version: Option<&str>| applier.told("ConfigMap", &bench.namespace, "kept", version);
    let applier = bench.applier().trusting(Duration::from_secs(3600));
    assert_eq!(applier.keep(&declared("a")).await.unwrap(), Change::Created);
    told(&applier, api.get("kept").await.unwrap().resource_version().as_deref());
    let changed = by_hand().await;
    assert_eq!(applier.keep(&declared("a")).await.unwrap(), Change::Unchanged, "only its own write was told");
    told(&applier, changed.as_deref());
    assert_eq!(applier.keep(&declared("a")).await.unwrap(), Change::Applied);
    by_hand().await;
    applier.doubt();
    assert_eq!(applier.keep(&declared("a")).await.unwrap(), Change::Applied, "the watch began anew");
    assert_eq!(applier.keep(&declared("b")).await.unwrap(), Change::Applied, "something else is declared");
    api.delete("kept", &DeleteParams::default()).await.unwrap();
    told(&applier, None);
    assert_eq!(applier.keep(&declared("b")).await.unwrap(), Change::Created);
    let doubting = bench.applier();
    doubting.keep(&declared("b")).await.unwrap();
    by_hand().await;
    assert_eq!(doubting.keep(&declared("b")).await.unwrap(), Change::Applied, "one without a watch reads each time");
}

macro_rules! second_apply_is_silent {
    ($bench:expr, $($kind:ty: $json:expr),+ $(,)?) => {$(
        let desired: $kind = $bench.object($json);
        let first = $bench.apply(&desired).await;
        assert_eq!(first.change, Change::Created, "{}", stringify!($kind));
        let mark = $bench.mark().await;
        let second = $bench.apply(&desired).await;
        assert_eq!(second.change, Change::Unchanged, "{}", stringify!($kind));
        let cached = $bench.applier().apply(&desired, Some(&second.object)).await.unwrap();
        assert_eq!(cached.change, Change::Unchanged, "{}", stringify!($kind));
        assert_eq!($bench.writes(mark).await, Vec::<String>::new(), "{}", stringify!($kind));
    )+};
}

#[tokio::test]
async fn a_second_apply_of_every_kind_an_operator_makes_writes_nothing_even_after_a_restart() {
    let bench = Bench::new().await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "duo"});
    let service = json!({"name": "duo", "port": {"number": 5052}});
    second_apply_is_silent!(bench,
        Deployment: deployment(),
        Service: json!({"metadata": {"name": "duo", "labels": {"app": "duo"}}, "spec": {"selector": {"app": "duo"},
            "ports": [{"name": "api", "port": 5052, "targetPort": "api"}, {"name": "metrics", "port": 8082}]}}),
        ServiceAccount: json!({"metadata": {"name": "duo"}, "automountServiceAccountToken": false}),
        ConfigMap: json!({"metadata": {"name": "duo-config"}, "data": {"config.yaml": "a: b\n"}}),
        Secret: json!({"metadata": {"name": "duo-credentials"}, "type": "Opaque", "data": {"a": "c2VjcmV0"}}),
        NetworkPolicy: json!({"metadata": {"name": "duo"}, "spec": {"podSelector": {"matchLabels": {"app": "duo"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": 5052}], "from": [{"namespaceSelector": {}}]}],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}, {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}}),
        PodDisruptionBudget: json!({"metadata": {"name": "duo"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "duo"}}}}),
        HorizontalPodAutoscaler: json!({"metadata": {"name": "duo"}, "spec": {"scaleTargetRef": target,
            "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        Ingress: json!({"metadata": {"name": "duo"}, "spec": {
            "rules": [{"host": "duo.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]}}],
            "tls": [{"hosts": ["duo.example.com"], "secretName": "duo-tls"}]}}),
        Role: json!({"metadata": {"name": "duo"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        RoleBinding: json!({"metadata": {"name": "duo"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "duo"},
            "subjects": [{"kind": "ServiceAccount", "name": "duo", "namespace": "x"}]}),
    );
}

#[tokio::test]
async fn what_is_declared_no_more_is_pruned_and_what_others_changed_is_put_back() {
    let bench = Bench::new().await;
    let api = bench.api::<Deployment>();
    let mut json = deployment();
    bench.apply::<Deployment>(&bench.object(json.clone())).await;

    let container = "/spec/template/spec/containers/0";
    json.pointer_mut(container).unwrap().as_object_mut().unwrap().remove("lifecycle");
    json.pointer_mut(&format!("{container}/env")).unwrap().as_array_mut().unwrap().pop();
    let removed = bench.apply::<Deployment>(&bench.object(json.clone())).await;
    assert_eq!(removed.change, Change::Applied);
    let live = serde_json::to_value(&removed.object).unwrap();
    assert_eq!(live.pointer(&format!("{container}/lifecycle")), None);
    assert_eq!(live.pointer(&format!("{container}/env")).unwrap().as_array().unwrap().len(), 3);

    let by_hand = json!({"metadata": {"annotations": {"note": "theirs"}}, "spec": {"replicas": 7}});
    api.patch("duo", &PatchParams::default(), &Patch::Merge(&by_hand)).await.unwrap();
    let back = bench.apply::<Deployment>(&bench.object(json.clone())).await;
    assert_eq!(back.change, Change::Applied);
    assert_eq!(back.object.spec.as_ref().unwrap().replicas, Some(2));
    assert_eq!(back.object.annotations().get("note").map(String::as_str), Some("theirs"), "not ours, left alone");

    let mark = bench.mark().await;
    assert_eq!(bench.apply::<Deployment>(&bench.object(json)).await.change, Change::Unchanged);
    assert!(bench.writes(mark).await.is_empty());
}

#[tokio::test]
async fn what_the_server_writes_differently_settles_after_one_apply() {
    let bench = Bench::new().await;
    let mut json = deployment();
    // stored as "1" and "1Gi"
    *json.pointer_mut("/spec/template/spec/containers/0/resources").unwrap() =
        json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}});
    let (applier, desired) = (bench.applier(), bench.object::<Deployment>(json));
    applier.apply(&desired, None).await.unwrap();
    let mark = bench.mark().await;
    assert_eq!(applier.apply(&desired, None).await.unwrap().change, Change::Unchanged);
    assert!(bench.writes(mark).await.is_empty());
    // after a restart one apply finds out that nothing changes; then it is known again
    let restarted = bench.applier();
    for _ in 0..3 {
        assert_eq!(restarted.apply(&desired, None).await.unwrap().change, Change::Unchanged);
    }
    assert_eq!(bench.writes(mark).await, ["patch deployments duo"]);
}

#[tokio::test]
async fn pruning_takes_only_what_is_labelled_owned_and_not_kept() {
    let bench = Bench::new().await;
    let them = "7f1b2c3d-0000-4000-8000-000000000002";
    let cases = [("old", "duo", OWNER), ("kept", "duo", OWNER), ("unlabelled", "x", OWNER), ("foreign", "duo", them)];
    for (name, label, owner) in cases {
        let map: ConfigMap = bench
            .object(json!({"metadata": {"name": name, "labels": {"app": label}, "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Unknown", "name": "owner", "uid": owner}]}}));
        bench.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
    }
    let keep = BTreeSet::from(["kept".to_owned()]);
    let deleted = bench.applier().prune::<ConfigMap>(&bench.namespace, "app=duo", OWNER, &keep).await.unwrap();
    assert_eq!(deleted, ["old"]);
}

#[tokio::test]
async fn a_status_is_written_only_when_it_differs_and_never_over_a_newer_object() {
    let bench = Bench::new().await;
    let api = bench.api::<Pod>();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let created = api.create(&PostParams::default(), &bench.object::<Pod>(pod)).await.unwrap();
    let mut wanted = created.status.clone().unwrap();
    wanted.message = Some("hello".into());
    let between = |live: &Pod, wanted: &PodStatus| status::Change::between(live.status.as_ref(), wanted).unwrap();
    let patched = between(&created, &wanted).unwrap().write(&api, &created).await.unwrap();
    assert_eq!(patched.status.as_ref().unwrap().message.as_deref(), Some("hello"));
    assert!(between(&patched, &wanted).is_none());

    wanted.message = Some("from an old cache".into());
    let error = between(&created, &wanted).unwrap().write(&api, &created).await.unwrap_err();
    assert!(error.is_conflict() && error.is_transient(), "{error}");
    wanted.message = None;
    let cleared = between(&patched, &wanted).unwrap().write(&api, &patched).await.unwrap();
    assert_eq!(cleared.status.unwrap().message, None);
}

#[tokio::test]
async fn a_finalizer_and_annotations_go_in_one_write_and_in_none_when_they_are_there() {
    let bench = Bench::new().await;
    let api = bench.api::<ConfigMap>();
    let map: ConfigMap = bench.object(json!({"metadata": {"name": "marked", "finalizers": ["example.com/other"]}}));
    let created = api.create(&PostParams::default(), &map).await.unwrap();
    let marks = BTreeMap::from([("example.com/a".to_owned(), Some("b".to_owned()))]);
    let mark = bench.mark().await;
    let Changed::Now(marked) = metadata::mark(&api, &created, "example.com/ours", &marks).await.unwrap() else {
        panic!("nothing was written")
    };
    assert_eq!(marked.finalizers(), ["example.com/other", "example.com/ours"]);
    assert_eq!(marked.annotations().get("example.com/a").map(String::as_str), Some("b"));
    assert_eq!(bench.writes(mark).await.len(), 1);
    // the copy of before, too: the object has them by now
    for copy in [&marked, &created] {
        assert!(matches!(metadata::mark(&api, copy, "example.com/ours", &marks).await.unwrap(), Changed::Already(_)));
    }
    let after = metadata::read(&api, &created).await.unwrap().unwrap();
    assert_eq!(after.resource_version(), marked.resource_version());
    api.patch("marked", &PatchParams::default(), &Patch::Merge(&json!({"metadata": {"finalizers": null}})))
        .await
        .unwrap();
    api.delete("marked", &DeleteParams::default()).await.unwrap();
    assert!(matches!(
        metadata::mark(&api, &marked, "example.com/ours", &BTreeMap::from([("example.com/a".to_owned(), None)]))
            .await
            .unwrap(),
        Changed::Gone
    ));
}

#[tokio::test]
async fn finalizers_and_annotations_are_changed_once_and_survive_races() {
    let bench = Bench::new().await;
    let api = bench.api::<ConfigMap>();
    let map: ConfigMap = bench.object(json!({"metadata": {"name": "m", "finalizers": ["example.com/other"]}}));
    let created = api.create(&PostParams::default(), &map).await.unwrap();
    let ours = "example.com/ours";
    // somebody else writes in between: the stale object does not matter
    let theirs = json!({"data": {"a": "b"}});
    api.patch("m", &PatchParams::default(), &Patch::Merge(&theirs)).await.unwrap();
    assert!(matches!(add_finalizer(&api, &created, ours).await.unwrap(), Changed::Now(_)));
    assert!(matches!(add_finalizer(&api, &created, ours).await.unwrap(), Changed::Already(_)));

    let change = |value: Option<&str>| BTreeMap::from([("example.com/id".to_owned(), value.map(str::to_owned))]);
    let Changed::Now(set) = set_annotations(&api, &created, &change(Some("7"))).await.unwrap() else { panic!() };
    assert_eq!(set.annotations()["example.com/id"], "7");
    assert!(matches!(set_annotations(&api, &created, &change(Some("7"))).await.unwrap(), Changed::Already(_)));
    let Changed::Now(unset) = set_annotations(&api, &created, &change(None)).await.unwrap() else { panic!() };
    assert!(unset.annotations().is_empty());
    assert!(matches!(set_annotations(&api, &created, &change(None)).await.unwrap(), Changed::Already(_)));

    api.delete("m", &DeleteParams::default()).await.unwrap();
    let late = add_finalizer(&api, &created, "example.com/too-late").await.unwrap_err();
    assert_eq!(late.code(), Some(422), "an object that is being deleted takes no new finalizer: {late}");
    let Changed::Now(left) = remove_finalizer(&api, &created, ours).await.unwrap() else { panic!() };
    assert_eq!(left.finalizers(), ["example.com/other"]);
    assert!(matches!(remove_finalizer(&api, &created, ours).await.unwrap(), Changed::Already(_)));
    remove_finalizer(&api, &created, "example.com/other").await.unwrap();
    assert!(matches!(remove_finalizer(&api, &created, ours).await.unwrap(), Changed::Gone));
    // another object of the same name is not meant
    api.create(&PostParams::default(), &map).await.unwrap();
    assert!(matches!(add_finalizer(&api, &created, ours).await.unwrap(), Changed::Gone));
}

#[tokio::test]
async fn events_are_published_once_and_failures_do_not_matter() {
    let bench = Bench::new().await;
    let map: ConfigMap = bench.object(json!({"metadata": {"name": "m"}}));
    let about = bench.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap().object_ref(&());
    let publisher = Publisher::new(bench.client.clone(), "duo-operator", "duo-operator-0");
    let notice = |message: String| Notice {
        severity: Severity::Warning,
        reason: "NameTaken".into(),
        action: "Reconcile".into(),
        message,
    };
    for _ in 0..3 {
        publisher.publish(&about, notice("Name has already been taken".into())).await;
    }
    publisher.publish(&about, notice("ü".repeat(2_000))).await;
    let events: Vec<Event> = bench.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let said = |e: &&Event| e.reason.as_deref() == Some("NameTaken");
    assert_eq!(events.iter().filter(said).count(), 2, "{events:?}");
    let nobody = bench.control_plane.client_for("nobody", &[]).unwrap();
    Publisher::new(nobody, "duo-operator", "x").publish(&about, notice("not allowed".into())).await;
}
