//! GitLab's calls that the gateway refuses: told while users meet it, and not to be brought about by strangers.

use duo_e2e::World;
use duo_e2e::wait::condition;
use duo_sim::gitlab::{Action, Fault, TokenOptions, What};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::{comes_to_rest, ready_world};

const GATEWAY: (&str, &str) = ("AIGateway", "duo");

/// Calls every pod of the gateway with this token; the statuses of their answers.
async fn knock(world: &World, token: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let pods = pods.list(&ListParams::default()).await.expect("pods");
    let mut statuses = Vec::new();
    for address in pods.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()) {
        let (bearer, id) = (format!("authorization: Bearer {token}"), world.gitlab.state().instance.uuid);
        let answer = tokio::process::Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["-H", &bearer, "-H", &format!("x-gitlab-instance-id: {id}"), "-H", "x-gitlab-realm: self-managed"])
            .args(["-H", "x-gitlab-authentication-type: oidc", "--data", "{}"])
            .arg(format!("http://{address}:5052/v2/code/completions"))
            .output()
            .await
            .expect("curl runs");
        statuses.push(String::from_utf8_lossy(&answer.stdout).into_owned());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_rotate_while_the_pods_cannot_fetch_them_are_told_and_back_by_itself() {
    let world = ready_world("keys", "19.5.0").await;
    let cut = Fault { kind: Some("oidc".into()), ..Fault::new(Action::Status { code: 503, retry_after: None }) };
    world.gitlab.faults().add(cut);
    world.gitlab.rotate_keys(false).expect("a key");
    let refused = world.ask(What::CodeCompletion).await;
    assert!(!refused.ok, "the break does not reach the user: {refused:#?}");
    let told = world.until_condition(GATEWAY.0, GATEWAY.1, "GatewayReachable", "False", "SigningKeysUnavailable").await;
    let (ready, reason, message) = condition(&told, "Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "SigningKeysUnavailable"));
    for word in ["401", "503", "caBundleRef", "try again by themselves"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    world.until_condition("FeatureAssignment", "chat", "Ready", "False", "").await;

    // nobody asks any more, and yet it is noticed that the keys can be fetched
    world.gitlab.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_strangers_make_up_do_not_lower_ready() {
    let world = ready_world("junk", "19.5.0").await;
    // a token as GitLab makes it, instance id and all, whose key nobody publishes
    let stranger = world.another_gitlab().await;
    let claims = json!({"iss": world.gitlab.url(), "sub": world.gitlab.state().instance.uuid});
    let claims = claims.as_object().cloned().unwrap_or_default();
    let junk = stranger.issue_token(&TokenOptions { claims, ..TokenOptions::default() }).expect("a token");
    world.until_condition(GATEWAY.0, GATEWAY.1, "CodeSuggestionsModelAssigned", "True", "").await;
    let before = world.get(GATEWAY.0, GATEWAY.1).await["status"]["conditions"].clone();
    for _ in 0..3 {
        assert_eq!(knock(&world, &junk).await, ["401", "401"]);
        comes_to_rest(&world).await;
    }
    assert_eq!(world.get(GATEWAY.0, GATEWAY.1).await["status"]["conditions"], before);
    world.users_are_served().await;
}
