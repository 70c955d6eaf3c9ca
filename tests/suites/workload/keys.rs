//! Signing keys: rotated on request, with an overlap.

use std::collections::BTreeMap;
use std::sync::Arc;

use duo_e2e::{Options, World};
use duo_sim::gitlab::What;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::users::Users;
use crate::{IMAGE, article, set};

const ROTATED_AT: &str = "duo.selfhosted.dev/signing-keys-rotated-at";

/// The key that signs, the one beside it, and the marks.
async fn keys(world: &World) -> (Vec<u8>, Vec<u8>, BTreeMap<String, String>) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let secret = secrets.get("duo-credentials").await.expect("the Secret");
    let of = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).map(|value| value.0.clone());
    (
        of("signing-key.pem").expect("a signing key"),
        of("validation-key.pem").expect("a validation key"),
        secret.annotations().clone(),
    )
}

fn overlaps(marks: &BTreeMap<String, String>) -> bool {
    marks.get(ROTATED_AT).is_some_and(|at| !at.is_empty())
}

async fn request(world: &World, value: &str) {
    let patch = json!({"metadata": {"annotations": {"duo.selfhosted.dev/rotate-signing-keys": value}}});
    world.patch("AIGateway", "duo", patch).await.expect("a patch");
}

async fn until_keys(world: &World, what: &str, done: impl Fn(&(Vec<u8>, Vec<u8>, BTreeMap<String, String>)) -> bool) {
    let started = std::time::Instant::now();
    while !done(&keys(world).await) {
        assert!(started.elapsed() < duo_e2e::wait::LIMIT, "never: {what}\n{}", world.log_tail());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// As if the rotation had been long ago.
async fn let_the_overlap_pass(world: &World) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let patch = json!({"metadata": {"annotations": {ROTATED_AT: "2020-01-01T00:00:00Z"}}});
    secrets.patch("duo-credentials", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a patch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_swaps_keys_that_every_pod_takes_already_and_retires_the_old_one_later() {
    let world = Arc::new(article(Options::default()).await);
    let (pods, template) = (world.pods().await, world.pod_template().await);
    let users = Users::start(&world, &[What::CodeCompletion, What::DirectCompletion, What::Chat]);
    let (first, next, marks) = keys(&world).await;
    assert!(first != next && marks.is_empty());

    request(&world, "2026-11").await;
    until_keys(&world, "the keys are swapped", |(signing, validation, marks)| {
        *signing == next && *validation == first && overlaps(marks)
    })
    .await;
    world.until_ready("AIGateway", "duo").await;
    users.go_on(&world).await;
    world.until_event("SigningKeysRotated", "duo").await;

    // A second request waits: tokens of the first key may still be valid.
    request(&world, "2026-12").await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!((keys(&world).await.0, keys(&world).await.1), (next.clone(), first.clone()));

    // Once they have ended the previous key goes, a new next one comes, and then the second rotation.
    let_the_overlap_pass(&world).await;
    until_keys(&world, "the first key is gone and the second rotation done", |(signing, validation, marks)| {
        *signing != first && *signing != next && *validation == next && overlaps(marks)
    })
    .await;
    world.until_ready("AIGateway", "duo").await;
    users.stop(&world).await;
    assert_eq!((world.pods().await, world.pod_template().await), (pods, template), "keys are files, no restart");
    world.no_secret_is_told(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlabs_image_rotates_by_a_rollout_without_a_lost_call() {
    let world = Arc::new(article(Options::default()).await);
    set(&world, json!({"implementation": "GitLab", "image": IMAGE})).await;
    world.until("AIGateway", "duo", "GitLab's image", |gateway| gateway["status"]["implementation"] == "GitLab").await;
    world.until_article_is_ready().await;
    let pods = world.pods().await;
    let users = Users::start(&world, &[What::CodeCompletion, What::DirectCompletion]);
    let (first, next, _) = keys(&world).await;
    request(&world, "now").await;
    until_keys(&world, "the keys are swapped", |(signing, validation, _)| *signing == next && *validation == first)
        .await;
    let rolled = async {
        while !world.pods().await.is_disjoint(&pods) {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), rolled).await.expect("all pods are replaced");
    world
        .until("AIGateway", "duo", "all pods rolled", |gateway| {
            duo_e2e::wait::condition(gateway, "ConfigAccepted").0 == "True"
                && duo_e2e::wait::condition(gateway, "WorkloadAvailable").0 == "True"
                && gateway["status"]["replicas"] == 2
        })
        .await;
    users.stop(&world).await;
    assert!(world.pods().await.is_disjoint(&pods));
}
