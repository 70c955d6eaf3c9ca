//! What people see and do with `kubectl`, by the program itself.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use duo_e2e::programs;
use duo_testkit::control_plane::ControlPlane;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{api, control_plane, object};

fn output(control_plane: &ControlPlane, args: &[&str], input: Option<&str>) -> Output {
    let mut child = Command::new(control_plane.program("kubectl"))
        .args(args)
        .env("KUBECONFIG", control_plane.kubeconfig_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    child.stdin.take().expect("a pipe").write_all(input.unwrap_or_default().as_bytes()).expect("kubectl reads");
    child.wait_with_output().expect("kubectl ends")
}

/// What `kubectl` prints; it must succeed.
pub fn run(control_plane: &ControlPlane, args: &[&str], input: Option<&str>) -> String {
    let output = output(control_plane, args, input);
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `kubectl` complains of; it must fail.
pub fn refused(control_plane: &ControlPlane, args: &[&str], input: &str) -> String {
    let output = output(control_plane, args, Some(input));
    assert!(!output.status.success(), "kubectl {args:?} was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A namespace with one object of each kind, with a status as the operator writes it.
async fn populated(control_plane: &ControlPlane) -> String {
    let client = control_plane.client().expect("a client");
    let namespace = control_plane.namespace("kubectl").await.expect("a namespace");
    let ready = json!([{"type": "Ready", "status": "False", "reason": "GatewayUnreachable", "message": "refused",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let statuses = [
        (
            "AIGateway",
            json!({"conditions": ready, "readyReplicas": 2, "replicas": 2, "gitlab": {"version": "18.9.1-ee"},
                   "url": "http://duo.svc:5052", "models": 3, "features": 4, "selector": "app=duo"}),
        ),
        ("SelfHostedModel", json!({"conditions": ready, "gitlabId": "gid://gitlab/Ai::SelfHostedModel/7"})),
        ("FeatureAssignment", json!({"conditions": ready})),
    ];
    for (kind, status) in statuses {
        let api = api(&client, &namespace, kind);
        api.create(&PostParams::default(), &object(kind, "duo", &json!({}))).await.expect("a valid object");
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status("duo", &PatchParams::default(), &patch).await.expect("a valid status");
    }
    namespace
}

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_the_columns_that_people_look_for() {
    let control_plane = control_plane().await;
    let namespace = populated(control_plane).await;
    let tables = |extra: &[&str]| {
        let kinds = "aigateway,selfhostedmodel,featureassignment";
        let text = run(control_plane, &[&["get", kinds, "-n", &namespace], extra].concat(), None);
        // words separated by blanks; a column's name may hold one
        text.split("\n\n")
            .map(|table| table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
            .collect::<Vec<Vec<String>>>()
    };
    let narrow = tables(&[]);
    assert_eq!(narrow[0][0], "NAME READY REASON REPLICAS GITLAB URL AGE");
    assert_eq!(narrow[1][0], "NAME READY REASON GATEWAY FAMILY PLATFORM AGE");
    assert_eq!(narrow[2][0], "NAME READY REASON GATEWAY MODEL AGE");
    let wide = tables(&["-o", "wide"]);
    assert_eq!(wide[0][0], "NAME READY REASON REPLICAS GITLAB URL MODELS FEATURES MESSAGE AGE");
    assert_eq!(wide[1][0], "NAME READY REASON GATEWAY FAMILY PLATFORM IDENTIFIER GITLAB ID MESSAGE AGE");
    assert_eq!(wide[2][0], "NAME READY REASON GATEWAY MODEL PROVIDER FEATURES MESSAGE AGE");
    // and they are filled: a wrong path prints nothing
    let starts = |row: &str, with: &str| assert!(row.starts_with(with), "{row}");
    starts(
        &wide[0][1],
        "aigateway.duo.selfhosted.dev/duo False GatewayUnreachable 2 18.9.1-ee http://duo.svc:5052 3 4 refused",
    );
    starts(
        &wide[1][1],
        "selfhostedmodel.duo.selfhosted.dev/duo False GatewayUnreachable duo Mistral OpenAICompatible \
         custom_openai/mistral gid://gitlab/Ai::SelfHostedModel/7 refused",
    );
    starts(
        &wide[2][1],
        r#"featureassignment.duo.selfhosted.dev/duo False GatewayUnreachable duo mistral ["CodeCompletions"] refused"#,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn short_names_and_the_category_find_the_objects() {
    let control_plane = control_plane().await;
    let namespace = populated(control_plane).await;
    for (short, kind) in [("aigw", "aigateway"), ("shm", "selfhostedmodel"), ("fa", "featureassignment")] {
        let found = run(control_plane, &["get", short, "-n", &namespace, "-o", "name"], None);
        assert_eq!(found.trim(), format!("{kind}.duo.selfhosted.dev/duo"));
    }
    let all = run(control_plane, &["get", "duo", "-n", &namespace, "-o", "name"], None);
    assert_eq!(all.lines().count(), 3, "{all}");
    let mine = run(
        control_plane,
        &["get", "shm,fa", "-n", &namespace, "--field-selector", "spec.gatewayRef.name=duo", "-o", "name"],
        None,
    );
    assert_eq!(mine.lines().count(), 2, "{mine}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_sets_replicas_within_the_limits_and_tells_the_pods_selector() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = populated(control_plane).await;
    run(control_plane, &["scale", "aigateway/duo", "--replicas=3", "-n", &namespace], None);
    let gateways = api(&client, &namespace, "AIGateway");
    assert_eq!(gateways.get("duo").await.expect("the gateway").data["spec"]["replicas"], 3);
    let scale = gateways.get_scale("duo").await.expect("the scale subresource");
    let status = scale.status.expect("a status");
    assert_eq!((status.replicas, status.selector.as_deref()), (2, Some("app=duo")), "what an autoscaler looks at");
    let refused = refused(control_plane, &["scale", "aigw/duo", "--replicas=101", "-n", &namespace], "");
    assert!(refused.contains("spec.replicas"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_a_subresource_of_its_own() {
    let control_plane = control_plane().await;
    let client = control_plane.client().expect("a client");
    let namespace = populated(control_plane).await;
    for kind in crate::cases::KINDS {
        let api = api(&client, &namespace, kind);
        let before = api.get("duo").await.expect("the object");
        let forged = Patch::Merge(json!({"status": {"conditions": [], "observedGeneration": 99}}));
        api.patch("duo", &PatchParams::default(), &forged).await.expect("what is not the status is taken");
        let after = api.get("duo").await.expect("the object");
        assert_eq!(after.data["status"], before.data["status"], "{kind}: a user's write reached the status");
        let suspended = Patch::Merge(json!({"spec": {"suspend": true}, "status": {"conditions": []}}));
        let written = api.patch_status("duo", &PatchParams::default(), &suspended).await.expect("the status is taken");
        assert!(written.data["spec"].get("suspend").is_none(), "{kind}: a write of the status reached the spec");
        assert_eq!(written.metadata.generation, before.metadata.generation, "{kind}: a status changes no generation");
    }
}

/// `kubectl apply` stores the whole object in an annotation, of which Kubernetes admits 256 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn the_installation_applies_client_side() {
    let control_plane = control_plane().await;
    let crds = programs::checkout("crds");
    let applied = run(control_plane, &["apply", "-k", crds.to_str().expect("a path")], None);
    assert_eq!(applied.lines().count(), 3, "{applied}");
    for plural in ["aigateways", "selfhostedmodels", "featureassignments"] {
        let path = r"jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}";
        let crd = format!("{plural}.{}", duo_api::GROUP);
        let stored = run(control_plane, &["get", "crd", &crd, "-o", path], None);
        assert!(!stored.is_empty() && stored.len() < 256 * 1024, "{plural}: {} bytes", stored.len());
    }
    let base = programs::checkout("deploy/kustomize/base");
    run(control_plane, &["apply", "--dry-run=server", "-k", base.to_str().expect("a path")], None);
}

/// The operator's container in what `kubectl kustomize` prints for a folder.
fn operators_container(control_plane: &ControlPlane, folder: &str) -> serde_json::Value {
    use serde::Deserialize as _;
    let printed = run(control_plane, &["kustomize", programs::checkout(folder).to_str().expect("a path")], None);
    let objects = serde_yaml_ng::Deserializer::from_str(&printed)
        .map(|document| serde_json::Value::deserialize(document).expect("YAML"))
        .collect::<Vec<_>>();
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_and_a_shard_beside_it_apply_and_name_settings_that_the_program_knows() {
    let control_plane = control_plane().await;
    let operator = programs::program("duo-operator");
    let help = Command::new(&operator).args(["run", "--help"]).output().expect("the operator runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for folder in ["deploy/kustomize/base", "deploy/kustomize/shard"] {
        let path = programs::checkout(folder);
        let applied = run(control_plane, &["apply", "-k", path.to_str().expect("a path")], None);
        assert!(applied.contains("deployment.apps/duo-operator"), "{folder}: {applied}");
        let container = operators_container(control_plane, folder);
        let mut command = Command::new(&operator);
        for arg in container["args"].as_array().expect("arguments") {
            command.arg(arg.as_str().expect("an argument"));
        }
        for variable in container["env"].as_array().expect("variables") {
            let name = variable["name"].as_str().expect("a name");
            assert!(help.contains(&format!("[env: {name}=")), "{folder}: the operator does not know {name}");
            command.env(name, variable["value"].as_str().unwrap_or("duo-operator"));
        }
        // It gets as far as looking for its cluster: what stands in the manifest is understood.
        let ended = command.env("KUBECONFIG", "/does/not/exist").output().expect("the operator ends");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{folder}: {told}");
        assert!(told.contains("/does/not/exist"), "{folder}: {told}");
    }
    // The shard's Lease is the one that its rights name.
    let environment = operators_container(control_plane, "deploy/kustomize/shard")["env"].clone();
    let shard = environment.as_array().and_then(|all| all.iter().find(|one| one["name"] == "SHARD_NAME")).cloned();
    let lease =
        format!("leases.coordination.k8s.io/duo-operator-{}", shard.expect("a name")["value"].as_str().expect("text"));
    let service_account = "--as=system:serviceaccount:duo-operator:duo-operator";
    for right in [["update", &lease], ["create", "leases.coordination.k8s.io"], ["list", "leases.coordination.k8s.io"]]
    {
        let answer =
            run(control_plane, &["auth", "can-i", right[0], right[1], "-n", "duo-operator", service_account], None);
        assert_eq!(answer.trim(), "yes", "{right:?}");
    }
    run(control_plane, &["delete", "deployment", "-n", "duo-operator", "--all", "--wait=false"], None);
}
