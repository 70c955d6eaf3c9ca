//! What an administrator changes by hand in GitLab: put back under `Full`, reported under `Observe`, left alone under
//! `suspend`, and fought about with another controller only for a few rounds.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program has no API and ends where its world cannot go on"
)]

mod changes;
mod contest;
mod full;
mod observe;
mod suspend;

use duo_e2e::{Options, World};

async fn ready_world() -> World {
    let world = World::start("drift", Options::default()).await;
    world.add_what_is_foreign();
    world.apply_article().await;
    world.until_article_is_ready().await;
    world
}

/// Waits until there are this many events with this reason about this object; their texts.
async fn until_told(world: &World, reason: &str, name: &str, count: usize) -> Vec<String> {
    let started = std::time::Instant::now();
    loop {
        let all = told(world, reason, name).await;
        if all.len() >= count {
            return all;
        }
        assert!(started.elapsed() < duo_e2e::wait::LIMIT, "no {count} events {reason} about {name}: {all:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Texts of the events with this reason about this object.
async fn told(world: &World, reason: &str, name: &str) -> Vec<String> {
    let events = world.events().await;
    events.into_iter().filter(|event| event.0 == reason && event.1 == name).map(|event| event.2).collect()
}
