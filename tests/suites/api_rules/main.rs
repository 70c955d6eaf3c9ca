//! What the API server itself refuses: one case for each rule and each limit of the CRDs, and what `kubectl` shows.

#![allow(missing_docs, reason = "a test program has no API")]
#![allow(clippy::expect_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

mod cases;
mod kubectl;
mod schema;

use std::collections::BTreeSet;

use cases::{Case, Do};
use duo_e2e::programs;
use duo_testkit::conditions::{Kstatus, check_conditions, kstatus};
use duo_testkit::control_plane::ControlPlane;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The shared API server with the installation of `deploy/`.
async fn control_plane() -> &'static ControlPlane {
    ControlPlane::shared(&programs::installation()).await.expect("a control plane")
}

fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: duo_api::GROUP.to_owned(),
        version: duo_api::VERSION.to_owned(),
        api_version: format!("{}/{}", duo_api::GROUP, duo_api::VERSION),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// A valid object of the kind with a JSON merge patch over it.
fn object(kind: &str, name: &str, patch: &Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": format!("{}/{}", duo_api::GROUP, duo_api::VERSION),
        "kind": kind,
        "metadata": {"name": name},
        "spec": cases::base(kind),
    });
    merge(&mut object, patch);
    serde_json::from_value(object).expect("an object")
}

/// JSON merge patch, RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// What the API server answers to one declaration: nothing, or status code and message of its refusal.
async fn answer(client: &Client, namespace: &str, case: &Case, patch: &Value) -> Result<(), (u16, String)> {
    let api = api(client, namespace, case.kind);
    let done = match case.does {
        Do::Create => {
            let params = PostParams { dry_run: true, ..PostParams::default() };
            api.create(&params, &object(case.kind, "candidate", patch)).await
        }
        Do::Update => {
            let params = PatchParams { dry_run: true, ..PatchParams::default() };
            api.patch("existing", &params, &Patch::Merge(patch)).await
        }
    };
    match done {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message)),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_and_each_limit_refuses_with_field_and_cure_and_admits_what_is_next_to_it() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = control_plane.namespace("rules").await.expect("a namespace");
    for kind in cases::KINDS {
        let existing = object(kind, "existing", &json!({}));
        api(&client, &namespace, kind).create(&PostParams::default(), &existing).await.expect("the base is valid");
    }

    let mut hit = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in cases::all() {
        let name = format!("{} {}", case.kind, case.limit);
        match answer(&client, &namespace, &case, &case.bad).await {
            Ok(()) => wrong.push(format!("{name}: accepted: {}", case.bad)),
            Err((422, message)) => {
                wrong.extend(
                    case.says
                        .iter()
                        .filter(|words| !message.contains(words.as_str()))
                        .map(|words| format!("{name}: not said: {words}\n    {message}")),
                );
            }
            Err((code, message)) => wrong.push(format!("{name}: answered {code}, not 422: {message}")),
        }
        if let Err((code, message)) = answer(&client, &namespace, &case, &case.good).await {
            wrong.push(format!("{name}: refused, though valid ({code}): {}\n    {message}", case.good));
        }
        hit.insert(name);
    }
    let known: BTreeSet<String> = schema::definitions().iter().flat_map(schema::limits).collect();
    wrong.extend(known.difference(&hit).map(|limit| format!("no case: {limit}")));
    wrong.extend(hit.difference(&known).map(|limit| format!("a case for what crds/*.yaml does not have: {limit}")));
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

/// Flux and Argo CD ask kstatus, which takes an object without a word in its status for done.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_object_is_in_progress_before_anybody_has_looked_at_it() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = control_plane.namespace("unseen").await.expect("a namespace");
    for kind in cases::KINDS {
        let new = object(kind, "new", &json!({}));
        let created = api(&client, &namespace, kind).create(&PostParams::default(), &new).await.expect("it is valid");
        let read = api(&client, &namespace, kind).get("new").await.expect("it is there");
        for object in [created, read] {
            let object = serde_json::to_value(object).expect("JSON");
            assert_eq!(kstatus(&object), Kstatus::InProgress, "{object:#}");
            assert!(check_conditions(&object).is_empty(), "{object:#}");
        }
    }
}

/// The known sets are complete: each value is accepted, one at a time.
#[tokio::test(flavor = "multi_thread")]
async fn each_feature_and_each_family_of_gitlab_is_known() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = control_plane.namespace("known").await.expect("a namespace");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for feature in duo_api::Feature::ALL {
        let patch = json!({"spec": {"features": [feature.to_string()]}});
        let candidate = object("FeatureAssignment", "candidate", &patch);
        api(&client, &namespace, "FeatureAssignment").create(&dry, &candidate).await.expect("a known feature");
    }
    for family in duo_api::Family::ALL {
        let patch = json!({"spec": {"family": family.to_string()}});
        let candidate = object("SelfHostedModel", "candidate", &patch);
        api(&client, &namespace, "SelfHostedModel").create(&dry, &candidate).await.expect("a known family");
    }
    // GitLab's own spelling is refused with the list of ours
    let patch = json!({"spec": {"features": ["CODE_COMPLETIONS"]}});
    let candidate = object("FeatureAssignment", "candidate", &patch);
    let refused = api(&client, &namespace, "FeatureAssignment").create(&dry, &candidate).await.expect_err("refused");
    assert!(refused.to_string().contains("CodeCompletions"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_declared_values_are_the_api_servers_defaults() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = control_plane.namespace("defaults").await.expect("a namespace");
    let expected = [
        (
            "AIGateway",
            json!({"managementPolicy": "Full", "deletionPolicy": "Delete", "implementation": "Embedded", "replicas": 2}),
        ),
        ("SelfHostedModel", json!({"adoptionPolicy": "Never", "deletionPolicy": "Delete"})),
        ("FeatureAssignment", json!({"deletionPolicy": "Delete"})),
    ];
    for (kind, defaults) in expected {
        let created = api(&client, &namespace, kind)
            .create(&PostParams::default(), &object(kind, "plain", &json!({})))
            .await
            .expect("the base is valid");
        for (field, value) in defaults.as_object().expect("an object") {
            assert_eq!(&created.data["spec"][field], value, "{kind} spec.{field}");
        }
    }
}

/// The design's scenario is a promise: these names and nestings stay.
#[tokio::test(flavor = "multi_thread")]
async fn the_scenario_of_the_design_and_the_samples_are_accepted_as_they_are() {
    let control_plane = control_plane().await;
    control_plane
        .apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: gitlab-duo}}")
        .await
        .expect("a namespace");
    control_plane.apply_yaml(cases::SCENARIO).await.expect("the scenario");
    for kind in cases::KINDS {
        // strict: a field that the schema does not know is refused, not dropped
        kubectl::run(control_plane, &["delete", &kind.to_lowercase(), "--all", "-n", "gitlab-duo"], None);
    }
    kubectl::run(control_plane, &["apply", "--validate=strict", "-f", "-"], Some(cases::SCENARIO));
    control_plane
        .apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: company}}")
        .await
        .expect("a namespace");
    for samples in ["deploy/samples", "deploy/samples/settings", "deploy/demo/settings"] {
        let samples = programs::checkout(samples);
        let samples = samples.to_str().expect("a path");
        kubectl::run(control_plane, &["apply", "--validate=strict", "--dry-run=server", "-f", samples], None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_does_not_exist_is_named_by_kubectl() {
    let control_plane = control_plane().await;
    let wrong =
        cases::SCENARIO.replace("modelRef:", "modleRef:").replace("namespace: gitlab-duo", "namespace: default");
    let refused = kubectl::refused(control_plane, &["apply", "-f", "-"], &wrong);
    assert!(refused.contains("spec.modleRef") && refused.contains("unknown field"), "{refused}");
}
