//! `suspend: true` on each kind.

use duo_e2e::World;
use serde_json::json;

use crate::changes::{self, CHAT, CODE, Change, GATEWAY, MIXTRAL};
use crate::ready_world;

/// The operator has looked at GitLab several times since.
async fn periods_pass(world: &World, mark: u64) {
    let looks = || world.gitlab.journal().since(mark).iter().filter(|entry| !entry.mutation).count();
    world.eventually("the operator looks at GitLab", || looks() >= 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_resource_is_left_as_people_make_it_and_put_back_afterwards() {
    let world = ready_world().await;
    let of = |about: (&str, &str)| changes::all().into_iter().find(|change| change.about == about).expect("a change");
    for (kind, name) in [MIXTRAL, CODE] {
        let (suspended, other) = (of((kind, name)), of(CHAT));
        world.patch(kind, name, json!({"spec": {"suspend": true}})).await.expect("a patch");
        (suspended.make)(&world);
        (other.make)(&world);
        // The others go on.
        world.eventually("the others are put back", || (other.is_declared)(&world)).await;
        periods_pass(&world, world.gitlab.journal().mark()).await;
        assert!(!(suspended.is_declared)(&world), "{kind} {name} was written to");
        world.patch(kind, name, json!({"spec": {"suspend": false}})).await.expect("a patch");
        world.eventually("it is put back", || (suspended.is_declared)(&world)).await;
        world.until_article_is_ready().await;
    }
}

/// Nothing at all is written, neither to GitLab nor to the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_gateway_stops_all_writing_of_its_models_and_assignments() {
    let world = ready_world().await;
    world.patch(GATEWAY.0, GATEWAY.1, json!({"spec": {"suspend": true}})).await.expect("a patch");
    // What was under way when the switch came has ended.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mark = world.mark().await;
    // One that is renamed cannot be found by its name for the next change.
    let all: Vec<Change> = changes::all().into_iter().filter(|change| !change.words[0].starts_with("name")).collect();
    for change in &all {
        (change.make)(&world);
    }
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert_eq!(world.writes_since(&mark).await, Vec::<String>::new());
    world.patch(GATEWAY.0, GATEWAY.1, json!({"spec": {"suspend": false}})).await.expect("a patch");
    for change in &all {
        world.eventually(&format!("put back: {:?}", change.words), || (change.is_declared)(&world)).await;
    }
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
