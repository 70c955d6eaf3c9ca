//! A gateway's label changes: its shard ends what it began, then the other one goes on, and nothing is lost in GitLab.

use std::time::Duration;

use duo_sim::gitlab::{Action, Entry, Fault};
use serde_json::json;

use crate::{FEATURES, caller, declare, is_served, only, operator, switch_off, told, until_all_is_ready, world};

/// When GitLab had answered.
fn end(entry: &Entry) -> jiff::Timestamp {
    entry.at + jiff::SignedDuration::from_millis(i64::try_from(entry.duration_ms).expect("a short time"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_changes_hands_without_two_writers_and_with_nothing_lost() {
    let world = world(&["east", "west"]).await;
    let (_east, _west) = (operator(&world, "east", "shard=east").await, operator(&world, "west", "shard=west").await);
    declare(&world, "duo", "east", &world.gitlab).await;
    until_all_is_ready(&world, "duo").await;
    let models = world.gitlab.state().models;
    let annotations = world.get("SelfHostedModel", "duo").await["metadata"]["annotations"].clone();

    // A GitLab so slow that the work under way lasts longer than any pause after the change.
    world.gitlab.faults().add(Fault::new(Action::Delay { ms: 6000 }).on("aiFeatureSettingUpdate"));
    let mark = world.gitlab.journal().mark();
    FEATURES.iter().for_each(|feature| switch_off(&world.gitlab, feature));
    world.eventually("east puts them back", || !world.gitlab.journal().writes(mark).is_empty()).await;
    world.patch("AIGateway", "duo", json!({"metadata": {"labels": {"shard": "west"}}})).await.expect("a label");
    world
        .until("AIGateway", "duo", "the other shard's note", |gateway| {
            gateway["metadata"]["annotations"]["duo.selfhosted.dev/shard"] == "west"
        })
        .await;
    world.gitlab.faults().clear();
    world.patch("AIGateway", "duo", json!({"spec": {"requestTimeout": "90s"}})).await.expect("an edit");
    world.eventually("west works", || world.gitlab.state().settings.ai_gateway_timeout_seconds == 90).await;
    for feature in FEATURES {
        world.eventually("each feature is as declared", || is_served(&world.gitlab, feature)).await;
    }
    until_all_is_ready(&world, "duo").await;

    let entries = world.gitlab.journal().since(mark);
    let by = |shard: &str| entries.iter().filter(|entry| caller(entry).as_deref() == Some(shard)).collect::<Vec<_>>();
    let (east, west) = (by("east"), by("west"));
    let began = west.iter().map(|entry| entry.at).min().expect("west called");
    let ended = east.iter().map(|entry| end(entry)).max().expect("east called");
    assert!(ended <= began, "east ended at {ended}, west began at {began}");
    let work = east.iter().filter(|entry| entry.is_write()).map(|entry| entry.at).collect::<Vec<_>>();
    let lasted = work.iter().max().expect("writes").duration_since(*work.iter().min().expect("writes"));
    assert!(
        lasted > jiff::SignedDuration::from_secs(15),
        "the work under way was too short to prove anything: {lasted}"
    );

    // The same models under the same ids, none made anew or deleted, and the marks are as they were.
    let now = world.gitlab.state().models;
    let ids = |models: &std::collections::BTreeMap<u64, _>| models.keys().copied().collect::<Vec<_>>();
    assert_eq!(ids(&now), ids(&models));
    let mutations = world.mutations_since(mark);
    assert!(!mutations.iter().any(|text| text.contains("Create") || text.contains("Delete")), "{mutations:#?}");
    assert_eq!(world.get("SelfHostedModel", "duo").await["metadata"]["annotations"], annotations);
    assert_eq!(told(&world, "ShardsOverlap", "duo").await, Vec::<String>::new(), "a handover is no overlap");

    // From now on only the new one calls.
    let mark = world.gitlab.journal().mark();
    switch_off(&world.gitlab, "duo_chat");
    world.eventually("west mends", || is_served(&world.gitlab, "duo_chat")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(crate::callers(&world.gitlab, mark), only("west"));
}
