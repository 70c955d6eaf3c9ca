//! Shards beside each other: whose gateways are whose, who takes over, whose selectors overlap, and who is left out.

use duo_e2e::operator::Operator;

use crate::{callers, declare, is_served, only, operator, switch_off, told, until_all_is_ready, world};

fn leads(operator: &Operator) -> bool {
    operator.log().contains("caches are filled")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_works_on_its_own_and_a_dead_one_is_replaced_by_its_standby_only() {
    let world = world(&["east", "west"]).await;
    let other = world.another_gitlab().await;
    let mut first = operator(&world, "east", "shard=east").await;
    world.eventually("east leads", || leads(&first)).await;
    let mut standby = operator(&world, "east", "shard=east").await;
    let _west = operator(&world, "west", "shard in (west)").await;
    declare(&world, "alpha", "east", &world.gitlab).await;
    declare(&world, "beta", "west", &other).await;
    for name in ["alpha", "beta"] {
        until_all_is_ready(&world, name).await;
    }
    assert_eq!((callers(&world.gitlab, 0), callers(&other, 0)), (only("east"), only("west")));

    // The standby takes the lease over; the other shard mends its own meanwhile and leaves this one alone.
    assert!(!leads(&standby), "two lead at once:\n{}", standby.log());
    first.kill();
    switch_off(&world.gitlab, "duo_chat");
    switch_off(&other, "duo_chat");
    world.eventually("west mends its own", || is_served(&other, "duo_chat")).await;
    world.eventually("the standby mends east's", || is_served(&world.gitlab, "duo_chat")).await;
    assert!(leads(&standby));
    assert_eq!((callers(&world.gitlab, 0), callers(&other, 0)), (only("east"), only("west")));

    // Without any replica its gateway stands still, however long the other one goes on.
    standby.kill();
    let mark = world.gitlab.journal().mark();
    for _ in 0..4 {
        switch_off(&world.gitlab, "duo_chat");
        switch_off(&other, "duo_chat");
        world.eventually("west goes on", || is_served(&other, "duo_chat")).await;
    }
    assert!(!is_served(&world.gitlab, "duo_chat"));
    assert!(callers(&world.gitlab, mark).is_empty(), "somebody else works on it");
    // That nobody takes its labels any more is told once its lease has run out.
    let text = world.until_event("NoShard", "alpha").await;
    assert!(text.contains("west (shard=west, in "), "{text}");
    first.start_again();
    world.eventually("east is back", || is_served(&world.gitlab, "duo_chat")).await;
    for reason in ["ShardsOverlap", "NoShard"] {
        assert_eq!(told(&world, reason, "beta").await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_selectors_and_gateways_that_nobody_takes_are_told() {
    let world = world(&["east", "wide", "north"]).await;
    let other = world.another_gitlab().await;
    let _east = operator(&world, "east", "shard=east").await;
    declare(&world, "alpha", "east", &world.gitlab).await;
    declare(&world, "gamma", "north", &other).await;
    until_all_is_ready(&world, "alpha").await;
    let wide = operator(&world, "wide", "shard notin (north)").await;
    let text = world.until_event("ShardsOverlap", "alpha").await;
    assert!(text.contains("shard east works on this gateway; shard wide would take it as well"), "{text}");

    // Nobody touches what nobody takes, and one of the two says so.
    let text = world.until_event("NoShard", "gamma").await;
    for word in ["east (shard=east", "wide (shard!=north"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let object = world.get("AIGateway", "gamma").await;
    let unseen = object["status"]["observedGeneration"] == -1;
    assert!(unseen && object["metadata"]["finalizers"].is_null(), "{object:#}");
    assert!(callers(&other, 0).is_empty());
    assert_eq!(callers(&world.gitlab, 0), only("east"));

    // The one that held back takes it over when its labels leave the first. Both told once.
    let _north = operator(&world, "north", "shard=north").await;
    until_all_is_ready(&world, "gamma").await;
    assert_eq!(callers(&other, 0), only("north"));
    for (reason, name) in [("ShardsOverlap", "alpha"), ("NoShard", "gamma")] {
        assert_eq!(told(&world, reason, name).await.len(), 1, "{reason}\n{}", wide.log());
    }
    assert_eq!(told(&world, "NoShard", "alpha").await, Vec::<String>::new());
}
