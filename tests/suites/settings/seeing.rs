//! What calls cost, and the documentation that is searched.

use std::collections::BTreeMap;

use duo_e2e::{Options, programs};
use duo_sim::gitlab::TokenOptions;
use serde_json::json;

use crate::scene::{address, completes, curl, declare, metrics, on, vllm, world};

#[tokio::test(flavor = "multi_thread")]
async fn cost_is_counted_in_the_declared_currency() {
    let (world, server) = (world(Options::default(), &json!({"currency": "EUR"})).await, vllm().await);
    let price = json!({"price": {"inputPerMillionTokens": "1000.00", "outputPerMillionTokens": "2000.00"}});
    declare(&world, "code", &on(&server, &price), &["CodeCompletions"]).await;
    completes(&world).await;
    let text = metrics(&world).await;
    let cost = text.lines().find(|line| line.starts_with("duo_gateway_cost") && line.contains("EUR"));
    let cost: f64 = cost.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(cost > 0.0, "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_documentation_is_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (docs, volume) = (folder.path().join("docs"), folder.path().join("volume"));
    std::fs::create_dir_all(&docs).expect("a folder");
    std::fs::create_dir_all(&volume).expect("a folder");
    std::fs::write(
        docs.join("squash.md"),
        "# Squash and merge\n\nA pangolin squashes all commits of a merge request.\n",
    )
    .expect("a page");
    let index = tokio::process::Command::new(programs::program("duo-gateway"))
        .arg("index-docs")
        .arg(&docs)
        .arg("--output")
        .arg(volume.join("docs.index"))
        .output()
        .await
        .expect("the program runs");
    assert!(index.status.success(), "{}", String::from_utf8_lossy(&index.stderr));
    let options = Options { claims: BTreeMap::from([("docs".to_owned(), volume)]), ..Options::default() };
    let spec = json!({"docsIndex": {"claimName": "docs", "file": "docs.index"}});
    let world = world(options, &spec).await;
    world.until_ready("AIGateway", "duo").await;

    let token = world.gitlab.issue_token(&TokenOptions::default()).expect("a token");
    let instance = world.gitlab.state().instance;
    let body = json!({"type": "search", "metadata": {"source": "GitLab EE", "version": "19.5.0"},
                      "payload": {"query": "pangolin squashes commits", "page_size": 4}});
    let (bearer, id) = (format!("authorization: Bearer {token}"), format!("x-gitlab-instance-id: {}", instance.uuid));
    let body = body.to_string();
    let mut args = vec!["-H", &bearer, "-H", &id, "-H", "content-type: application/json"];
    args.extend(["-H", "x-gitlab-authentication-type: oidc", "-H", "x-gitlab-realm: self-managed", "--data", &body]);
    let found =
        curl(&args, &format!("http://{}:5052/v1/search/gitlab-docs", address(&world))).await.expect("an answer");
    assert!(found.contains("pangolin"), "{found}");
}
