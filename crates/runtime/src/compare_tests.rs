use serde_json::{Value, json};

use super::*;

const US: &str = "gateway-controller";

/// A live Deployment as the API server gives it: our fields, defaults, another writer's annotation, status.
fn live() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "duo", "namespace": "x", "uid": "u", "resourceVersion": "7", "generation": 2,
            "labels": {"app": "duo"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "o", "controller": true}],
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:status": {}}},
                {"manager": US, "operation": "Apply", "fieldsType": "FieldsV1", "apiVersion": "apps/v1", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}, "f:ownerReferences": {"k:{\"uid\":\"o\"}": {}},
                                   "f:finalizers": {"v:\"a\"": {}}},
                    "f:spec": {
                        "f:replicas": {},
                        "f:selector": {},
                        "f:template": {"f:spec": {
                            "f:containers": {"k:{\"name\":\"gateway\"}": {
                                ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                                "f:ports": {
                                    "k:{\"containerPort\":5052,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:name": {}},
                                    "k:{\"containerPort\":8082,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}
                                },
                                "f:securityContext": {"f:capabilities": {"f:drop": {}}}
                            }},
                            "f:volumes": {"k:{\"name\":\"config\"}": {".": {}, "f:name": {}, "f:projected": {"f:sources": {}}},
                                          "k:{\"name\":\"tmp\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}},
                            "f:tolerations": {}
                        }}
                    }
                }}
            ]
        },
        "spec": {
            "replicas": 2, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "duo"}},
            "template": {"spec": {
                "restartPolicy": "Always",
                "containers": [{"name": "gateway", "image": "i:1", "args": ["a", "b"], "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 5052, "name": "api", "protocol": "TCP"}, {"containerPort": 8082, "protocol": "TCP"}],
                    "securityContext": {"capabilities": {"drop": ["ALL"]}}}],
                "volumes": [
                    {"name": "config", "projected": {"defaultMode": 420, "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                        {"secret": {"name": "s"}}]}},
                    {"name": "tmp", "emptyDir": {}}],
                "tolerations": [{"key": "k", "operator": "Exists"}]
            }}
        },
        "status": {"replicas": 2}
    })
    .as_object()
    .map(|o| {
        let mut o = o.clone();
        o["metadata"]["finalizers"] = json!(["other", "a"]);
        Value::Object(o)
    })
    .unwrap()
}

/// What we declare: no defaults, no status.
fn desired() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "duo", "namespace": "x", "labels": {"app": "duo"}, "finalizers": ["a"], "annotations": {},
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "o", "controller": true}]},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "duo"}},
            "template": {"spec": {
                "containers": [{"name": "gateway", "image": "i:1", "args": ["a", "b"],
                    "ports": [{"containerPort": 5052, "name": "api"}, {"containerPort": 8082}],
                    "securityContext": {"capabilities": {"drop": ["ALL"]}}}],
                "volumes": [
                    {"name": "config", "projected": {"sources": [
                        {"serviceAccountToken": {"path": "token"}}, {"secret": {"name": "s"}}]}},
                    {"name": "tmp", "emptyDir": {}}],
                "tolerations": [{"key": "k", "operator": "Exists"}]
            }}
        }
    })
}

fn change(mut value: Value, pointer: &str, to: Value) -> Value {
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = to;
    value
}

fn remove(mut value: Value, pointer: &str, key: &str) -> Value {
    value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    value
}

#[test]
fn defaults_status_and_fields_of_others_are_no_difference() {
    assert_eq!(difference(&declaration(desired()), &live(), US), None);
}

#[test]
fn each_kind_of_change_to_the_declaration_is_found() {
    let pod = "/spec/template/spec";
    let cases = [
        ("value", change(desired(), "/spec/replicas", json!(3)), ".spec.replicas", "different"),
        ("keyed item", change(desired(), &format!("{pod}/containers/0/image"), json!("i:2")), "image", "different"),
        ("atomic list", change(desired(), &format!("{pod}/containers/0/args"), json!(["b", "a"])), "args", "different"),
        (
            "new field",
            change(desired(), "/metadata/annotations", json!({"a": "b"})),
            ".metadata.annotations",
            "not owned",
        ),
        ("removed field", remove(desired(), "/spec", "replicas"), ".spec.replicas", "owned but no longer declared"),
        (
            "removed field in a keyed item",
            remove(desired(), &format!("{pod}/containers/0/ports/0"), "name"),
            "name",
            "owned but no longer declared",
        ),
        (
            "removed item",
            change(desired(), &format!("{pod}/containers/0/ports"), json!([{"containerPort": 5052, "name": "api"}])),
            "ports",
            "an owned item is no longer declared",
        ),
        (
            "removed field inside an atomic list",
            change(desired(), &format!("{pod}/tolerations"), json!([{"key": "k"}])),
            "tolerations",
            "different",
        ),
        (
            "order of a keyed list",
            change(
                desired(),
                &format!("{pod}/containers/0/ports"),
                json!([{"containerPort": 8082}, {"containerPort": 5052, "name": "api"}]),
            ),
            "ports",
            "items are in another order",
        ),
        ("set", change(desired(), "/metadata/finalizers", json!(["a", "b"])), "finalizers", "an item is not owned"),
        (
            "emptied set",
            change(desired(), "/metadata/finalizers", json!([])),
            "finalizers",
            "owned but no longer declared",
        ),
    ];
    for (name, desired, path, what) in cases {
        let found = difference(&declaration(desired), &live(), US).unwrap_or_else(|| panic!("{name}: nothing found"));
        assert!(found.path.contains(path), "{name}: {found:?}");
        assert_eq!(found.what, what, "{name}: {found:?}");
    }
}

#[test]
fn each_kind_of_change_by_somebody_else_is_found() {
    let pod = "/spec/template/spec";
    let managed = "/metadata/managedFields/1/fieldsV1";
    let cases = [
        ("value", change(live(), "/spec/replicas", json!(5)), "different"),
        ("label removed", remove(live(), "/metadata/labels", "app"), "missing"),
        (
            "item removed",
            change(live(), &format!("{pod}/volumes"), json!([{"name": "tmp", "emptyDir": {}}])),
            "an item is missing",
        ),
        (
            "item added to an atomic list",
            change(live(), &format!("{pod}/containers/0/args"), json!(["a", "b", "c"])),
            "different",
        ),
        (
            "field of an atomic item",
            change(
                live(),
                &format!("{pod}/tolerations/0"),
                json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}),
            ),
            "different",
        ),
        ("taken over with the same value", remove(live(), &format!("{managed}/f:spec"), "f:replicas"), "not owned"),
        (
            "never applied",
            change(live(), "/metadata/managedFields/1/manager", json!("kubectl")),
            "never applied by this manager",
        ),
        (
            "updated, not applied",
            change(live(), "/metadata/managedFields/1/operation", json!("Update")),
            "never applied by this manager",
        ),
    ];
    for (name, live, what) in cases {
        let found = difference(&declaration(desired()), &live, US).unwrap_or_else(|| panic!("{name}: nothing found"));
        assert_eq!(found.what, what, "{name}: {found:?}");
    }
}

#[test]
fn two_ports_of_one_number_are_told_apart_by_protocol() {
    let owned = json!({
        "k:{\"port\":53,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
        "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:port": {}, "f:protocol": {}}
    });
    let have = [json!({"port": 53, "protocol": "UDP"}), json!({"port": 53, "protocol": "TCP"})];
    let want = [json!({"port": 53, "protocol": "UDP"}), json!({"port": 53})];
    assert_eq!(list(&want, &have, owned.as_object().unwrap(), ".ports"), None);
}
