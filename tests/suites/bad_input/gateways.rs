//! AIGateways that name what is no GitLab, or a GitLab that another one manages.

use duo_e2e::{Options, World, manifests};
use duo_sim::openai;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::{Cure, Told, nothing_written};

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_no_gitlab_is_told_and_of_two_gateways_for_one_gitlab_the_older_counts() {
    let world = World::start("gateways", Options::default()).await;
    let other = openai::start(openai::Config::default()).await.expect("a server that is no GitLab");
    let mark = world.gitlab.journal().mark();
    world.apply(&manifests::article(&world.namespace, &other.url(), &world.bedrock.url())).await;
    Told {
        object: ("AIGateway", "duo"),
        condition: ("TokenValid", "Unknown", "UnexpectedStatus"),
        words: &["404", "check spec.gitlab.url"],
        cure: Cure::Person,
    }
    .until(&world)
    .await;
    nothing_written(&world, mark);
    let right = json!({"spec": {"gitlab": {"url": world.gitlab.url()}}});
    world.patch("AIGateway", "duo", right).await.expect("a patch");
    world.until_article_is_ready().await;

    // One GitLab has one URL of a gateway: the younger keeps its hands off.
    let url = world.gitlab.state().settings.ai_gateway_url;
    let second = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "AIGateway",
        "metadata": {"name": "second", "namespace": world.namespace},
        "spec": {"gitlab": {"url": format!("{}/", world.gitlab.url()), "tokenSecretRef": {"name": "gitlab-admin"}},
                 "replicas": 1},
    });
    world.apply(&second.to_string()).await;
    Told {
        object: ("AIGateway", "second"),
        condition: ("GatewayURLConfigured", "False", "InstanceClaimed"),
        words: &["older AIGateway", "/duo", "delete one of the two"],
        cure: Cure::Person,
    }
    .until(&world)
    .await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, url);
    world.delete("AIGateway", "second").await;
    world.until_gone("AIGateway", "second").await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, url, "what was never taken is not given back");
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

/// The names of the gateway's objects are simple ones: somebody may have had them before.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_the_same_names_that_others_made_are_not_taken_over() {
    let world = World::start("squatted", Options::default()).await;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "duo", "namespace": world.namespace, "labels": {"app": "theirs"}},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    });
    world.apply(&foreign.to_string()).await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), &world.namespace);
    let before = services.get("duo").await.expect("the Service").metadata;
    world.apply_article().await;
    Told {
        object: ("AIGateway", "duo"),
        condition: ("WorkloadAvailable", "False", "ObjectNotOurs"),
        words: &["Service duo", "delete or rename it"],
        cure: Cure::Person,
    }
    .until(&world)
    .await;
    let after = services.get("duo").await.expect("the Service").metadata;
    assert_eq!((&after.resource_version, &after.owner_references), (&before.resource_version, &None));

    services.delete("duo", &DeleteParams::default()).await.expect("it is deleted");
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
