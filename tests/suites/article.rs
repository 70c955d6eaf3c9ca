//! The article's scenario on real parts: Mixtral 8x7B for code, Claude 3 Sonnet for chat, both on Bedrock.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program has no API, ends where it cannot go on and says what it did"
)]

use std::time::Duration;

use duo_e2e::{Options, World};
use duo_sim::gitlab::What;

/// Installs the article's manifests and checks that users are served, that nothing more is written then, and that no
/// secret is told anywhere.
async fn works_and_comes_to_rest(gitlab: &'static str) {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("requests.jsonl");
    let options = Options { gitlab, record: Some(record.clone()), ..Options::default() };
    let world = World::start("article", options).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    let chat = world.ask(What::Chat).await;
    assert_eq!(chat.model.as_deref(), Some("Claude 3 Sonnet"));
    let completion = world.ask(What::CodeCompletion).await;
    assert_eq!(completion.model.as_deref(), Some("Mixtral 8x7B"));
    assert_eq!(world.gitlab.state().models.len(), 2);

    // The last changes of status wake other controllers once more; then several periods pass without a write.
    let mark = world.rests_for(Duration::from_secs(7)).await;
    let seen = world.gitlab.journal().since(mark.1);
    assert!(!seen.is_empty(), "no period passed: the test proves nothing");

    world.no_secret_is_told(&[]).await;

    // Two engines that nobody here wrote: graphql-core judges what the operator sent, botocore what the gateway sent.
    oracle(&["graphql", &record.to_string_lossy()]).await;
    oracle(&["bedrock", "--journal", &world.bedrock.url()]).await;
}

async fn oracle(args: &[&str]) {
    let script = duo_e2e::programs::checkout("tests/oracles/run.sh");
    let output = tokio::process::Command::new(script).args(args).output().await.expect("the oracle runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    println!("{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn works_with_gitlab_19_5() {
    works_and_comes_to_rest("19.5.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_with_the_older_schema_of_gitlab_18_9() {
    works_and_comes_to_rest("18.9.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_with_gitlab_17_10() {
    works_and_comes_to_rest("17.10.0").await;
}
