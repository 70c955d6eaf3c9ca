//! Child objects come and go with their fields, and nobody else's go with them.

use std::fmt::Debug;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{IMAGE, article, set};

/// Names of all objects of a kind in the world's namespace.
async fn names<K>(world: &World) -> Vec<String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(world.client.clone(), &world.namespace);
    let mut names: Vec<String> =
        api.list(&ListParams::default()).await.expect("a list").iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

async fn until_names<K>(world: &World, expected: &[&str])
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let started = std::time::Instant::now();
    while names::<K>(world).await != expected {
        let found = names::<K>(world).await;
        assert!(
            started.elapsed() < duo_e2e::wait::LIMIT,
            "{}: {found:?} is not {expected:?}\n{}",
            K::kind(&()),
            world.log_tail()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Somebody's objects that carry our labels but not our owner.
async fn foreign(world: &World) {
    let meta = json!({
        "name": "somebodys", "namespace": world.namespace,
        "labels": {"duo.selfhosted.dev/aigateway": "duo", "app.kubernetes.io/managed-by": "duo-operator"},
    });
    for object in [
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": {"podSelector": {}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [{"host": "x.example.com"}]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": {"maxUnavailable": 1}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 1}]}}),
    ] {
        world.apply(&object.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_children_go_and_what_only_looks_like_ours_stays() {
    let world = article(Options::default()).await;
    foreign(&world).await;
    set(
        &world,
        json!({
            "ingress": {"host": "ai.example.com"},
            "networkPolicy": {"from": [{"cidr": "127.0.0.0/8"}]},
            "agentPlatform": {"image": "mirror/agents:1", "replicas": 2},
            "pod": {"topologySpreadConstraints": [{"topologyKey": "zone"}]},
        }),
    )
    .await;
    // Nobody answers at the agent platform's address here, and GitLab says so: Ready is not waited for.
    world.until_condition("AIGateway", "duo", "AgentPlatformConfigured", "True", "Configured").await;
    until_names::<Ingress>(&world, &["duo", "somebodys"]).await;
    until_names::<NetworkPolicy>(&world, &["duo", "duo-agent-platform", "somebodys"]).await;
    until_names::<Deployment>(&world, &["duo", "duo-agent-platform"]).await;
    until_names::<Service>(&world, &["duo", "duo-agent-platform", "somebodys"]).await;
    until_names::<PodDisruptionBudget>(&world, &["duo", "duo-agent-platform", "somebodys"]).await;
    let status = world.get("AIGateway", "duo").await;
    for type_ in ["Exposed", "AgentPlatformAvailable", "AgentPlatformConfigured"] {
        assert_eq!(condition(&status, type_).0, "True", "{type_}: {:#}", status["status"]);
    }
    // What GitLab calls stays what was declared: the Ingress only stands in for a URL that is left out.
    assert_eq!(status["status"]["url"], format!("http://duo.{}.svc:5052", world.namespace));

    // A converged world is not written to, however much is declared. What GitLab finds out of the new address is told a
    // moment later than what was waited for.
    world.rests_for(std::time::Duration::from_secs(6)).await;

    set(&world, json!({"ingress": null, "networkPolicy": null, "agentPlatform": null, "replicas": 1})).await;
    until_names::<Ingress>(&world, &["somebodys"]).await;
    until_names::<NetworkPolicy>(&world, &["somebodys"]).await;
    until_names::<Deployment>(&world, &["duo"]).await;
    until_names::<Service>(&world, &["duo", "somebodys"]).await;
    until_names::<PodDisruptionBudget>(&world, &["somebodys"]).await;
    let bare = world.until_ready("AIGateway", "duo").await;
    assert_eq!(condition(&bare, "Exposed").0, "", "a condition of what is not declared is not there");
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_url_gitlab_is_given_the_host_of_the_ingress() {
    let world = article(Options::default()).await;
    // GitLab resolves the name by the same map as all its Services.
    world.gitlab.hosts().insert("ai.example.com", "127.0.0.1".parse().expect("an address"));
    set(&world, json!({"url": null, "ingress": {"host": "ai.example.com", "tls": {}}})).await;
    world
        .eventually("GitLab has the Ingress' URL", || {
            world.gitlab.state().settings.ai_gateway_url.as_deref() == Some("https://ai.example.com")
        })
        .await;
}

/// The minimal definition of what the operator applies.
fn route_crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "httproutes.gateway.networking.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2466"},
        },
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Namespaced",
            "names": {"kind": "HTTPRoute", "plural": "httproutes"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_the_gateway_api_is_told_and_heals_when_it_is_installed() {
    let world = article(Options::default()).await;
    set(&world, json!({"httpRoute": {"parentRefs": [{"name": "edge"}], "hostnames": ["ai.example.com"]}})).await;
    let told = world.until_condition("AIGateway", "duo", "Exposed", "False", "GatewayAPINotInstalled").await;
    assert_eq!(condition(&told, "Ready").1, "GatewayAPINotInstalled");
    assert_eq!(condition(&told, "WorkloadAvailable").0, "True", "the rest goes on");

    world.apply(&route_crd().to_string()).await;
    world.until_condition("AIGateway", "duo", "Exposed", "True", "Applied").await;
    world.until_ready("AIGateway", "duo").await;

    // A Gateway that does not take it says why.
    let routes: Api<duo_core::desired::HTTPRoute> = Api::namespaced(world.client.clone(), &world.namespace);
    let refusal = json!({"status": {"parents": [{"conditions": [
        {"type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no such listener"},
    ]}]}});
    routes.patch_status("duo", &PatchParams::default(), &Patch::Merge(&refusal)).await.expect("a status");
    let refused = world.until_condition("AIGateway", "duo", "Exposed", "False", "RouteNotAccepted").await;
    assert!(condition(&refused, "Exposed").2.contains("no such listener"));

    set(&world, json!({"httpRoute": null})).await;
    until_names::<duo_core::desired::HTTPRoute>(&world, &[]).await;
    world.until_ready("AIGateway", "duo").await;
}

/// Who owns the Deployment's number of pods, by field manager.
fn owners(deployment: &Deployment) -> Vec<String> {
    let entries = deployment.metadata.managed_fields.clone().unwrap_or_default();
    let owns = |fields: &Value| fields.pointer("/f:spec/f:replicas").is_some();
    entries
        .into_iter()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)))
        .filter_map(|entry| entry.manager)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_decides_and_the_number_never_falls_on_the_way() {
    let world = article(Options::default()).await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    let number = || async {
        let deployment = deployments.get("duo").await.expect("the Deployment");
        (deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default(), owners(&deployment))
    };
    set(&world, json!({"replicas": 3})).await;
    world.until("AIGateway", "duo", "3 pods", |gateway| gateway["status"]["readyReplicas"] == 3).await;
    world.until_ready("AIGateway", "duo").await;
    assert_eq!(number().await, (3, vec!["duo-operator".to_owned()]));

    let generation = deployments.get("duo").await.expect("the Deployment").metadata.generation;
    set(&world, json!({"replicas": null, "autoscaling": {"minReplicas": 2, "maxReplicas": 6}})).await;
    until_names::<HorizontalPodAutoscaler>(&world, &["duo"]).await;
    world.until_ready("AIGateway", "duo").await;
    let (there, owners_now) = number().await;
    assert_eq!(there, 3);
    assert!(!owners_now.contains(&"duo-operator".to_owned()), "{owners_now:?}");
    let after = deployments.get("duo").await.expect("the Deployment").metadata.generation;
    assert_eq!(generation, after, "nothing of the Deployment's spec was ever another, its number of pods least of all");

    // What the autoscaler does: it writes by the scale subresource, under a name of its own.
    let patch = json!({"spec": {"replicas": 5}});
    let manager = PatchParams { field_manager: Some("kube-controller-manager".into()), ..PatchParams::default() };
    deployments.patch_scale("duo", &manager, &Patch::Merge(&patch)).await.expect("scaled");
    world.until("AIGateway", "duo", "5 pods", |gateway| gateway["status"]["readyReplicas"] == 5).await;
    let ready = world.until_ready("AIGateway", "duo").await;
    assert!(condition(&ready, "WorkloadAvailable").2.contains("5 of 5"), "{:#}", ready["status"]);
    // nor does the operator fight the autoscaler
    world.rests_for(std::time::Duration::from_secs(5)).await;
    assert_eq!(number().await.0, 5);

    set(&world, json!({"autoscaling": null, "replicas": 2})).await;
    until_names::<HorizontalPodAutoscaler>(&world, &[]).await;
    world.until("AIGateway", "duo", "2 pods", |gateway| gateway["status"]["readyReplicas"] == 2).await;
    world.until_ready("AIGateway", "duo").await;
    assert_eq!(number().await.0, 2);
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_gateway_with_an_autoscaler_begins_with_its_fewest_pods() {
    let world = World::start("work", Options::default()).await;
    let spec = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "AIGateway",
        "metadata": {"name": "duo", "namespace": world.namespace},
        "spec": {
            "gitlab": {"url": world.gitlab.url(), "tokenSecretRef": {"name": "gitlab-admin"}},
            "autoscaling": {"minReplicas": 3, "maxReplicas": 5},
        },
    });
    world.apply(&spec.to_string()).await;
    world.until("AIGateway", "duo", "3 pods", |gateway| gateway["status"]["readyReplicas"] == 3).await;
    world.until_condition("AIGateway", "duo", "WorkloadAvailable", "True", "Available").await;
    // An image may be named with any gateway.
    set(&world, json!({ "image": IMAGE })).await;
    world.until_condition("AIGateway", "duo", "WorkloadAvailable", "True", "Available").await;
}

/// What only the API server's own rules for a child object find.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_of_a_child_is_told_and_heals() {
    let world = article(Options::default()).await;
    set(&world, json!({"pod": {"labels": {"team": "not a label"}}})).await;
    let told = world.until_condition("AIGateway", "duo", "ConfigAccepted", "False", "ObjectRefused").await;
    assert!(condition(&told, "ConfigAccepted").2.contains("not a label"), "{:#}", told["status"]);
    assert_eq!(condition(&told, "Stalled").0, "True");
    world.users_are_served().await;
    set(&world, json!({"pod": {"labels": {"team": "a-label"}}})).await;
    world.until_article_is_ready().await;
}

/// GitLab waits as long as it is told to; the pods need not be started anew for it.
#[tokio::test(flavor = "multi_thread")]
async fn another_request_timeout_restarts_no_pod() {
    let world = article(Options::default()).await;
    let (pods, template) = (world.pods().await, world.pod_template().await);
    set(&world, json!({"requestTimeout": "5m"})).await;
    world.eventually("GitLab waits 300 s", || world.gitlab.state().settings.ai_gateway_timeout_seconds == 300).await;
    world.until_article_is_ready().await;
    assert_eq!((world.pods().await, world.pod_template().await), (pods, template));
}
