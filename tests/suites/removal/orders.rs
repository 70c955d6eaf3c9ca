//! Gateway, two models and two assignments, one after the other or several at a time. The order is a permutation, cut into
//! groups; a group is deleted at once, and the next one when what can go of it has gone.

use std::net::IpAddr;
use std::time::Duration;

use duo_e2e::{Options, World, hand};

const PREVIOUS: &str = "http://gateway.before.example:5052";
const FEATURES: [&str; 4] = ["code_generations", "code_completions", "duo_chat", "duo_chat_explain_code"];

/// A small generator of its own: the same orders in each run, with a number to name them by.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// The gateway stands in the last group: without it nobody can be asked, which `deletion` shows.
fn groups(seed: u64) -> Vec<Vec<(&'static str, &'static str)>> {
    let mut dice = Dice(seed);
    let mut left = World::article_objects()[1..].to_vec();
    let mut groups = vec![Vec::new()];
    while !left.is_empty() {
        let next = left.remove(dice.below(left.len()));
        if dice.below(2) == 0 && !groups.last().expect("a group").is_empty() {
            groups.push(Vec::new());
        }
        groups.last_mut().expect("a group").push(next);
    }
    let gateway = World::article_objects()[0];
    if dice.below(2) == 0 {
        let last = groups.last_mut().expect("a group");
        last.insert(dice.below(last.len() + 1), gateway);
    } else {
        groups.push(vec![gateway]);
    }
    groups
}

/// A model whose assignment stays waits; everything else that was deleted is gone.
async fn settled(world: &World, deleted: &[(&'static str, &'static str)]) {
    let serves = [("mixtral-8x7b", "code-suggestions"), ("claude-3-sonnet", "chat")];
    for (kind, name) in deleted {
        let user = serves.iter().find(|(model, _)| model == name).map(|(_, user)| ("FeatureAssignment", *user));
        if user.is_some_and(|user| !deleted.contains(&user)) {
            world.until_condition(kind, name, "Synced", "False", "InUse").await;
        } else {
            world.until_gone(kind, name).await;
        }
    }
}

async fn one_life_after_the_other(seeds: std::ops::Range<u64>) {
    let world = World::start("orders", Options::default()).await;
    world.add_what_is_foreign();
    world.gitlab.hosts().insert("gateway.before.example", IpAddr::from([127, 0, 0, 1]));
    world.gitlab.edit(|state| state.settings.ai_gateway_url = Some(PREVIOUS.to_owned()));
    for seed in seeds {
        world.apply_article().await;
        world.until_article_is_ready().await;
        let groups = groups(seed);
        let mut deleted = Vec::new();
        for group in &groups {
            for (kind, name) in group {
                world.delete(kind, name).await;
            }
            deleted.extend(group.iter().copied());
            settled(&world, &deleted).await;
        }
        let told = format!("order {seed}: {groups:?}\n{}", world.log_tail());
        assert_eq!(world.models_in_gitlab(), [hand::FOREIGN_MODEL], "{told}");
        assert_eq!(world.gitlab.state().settings.ai_gateway_url.as_deref(), Some(PREVIOUS), "{told}");
        for feature in FEATURES {
            let (provider, model) = world.feature_in_gitlab(feature);
            assert!(provider != "self_hosted" && model.is_none(), "{feature}: {provider} {model:?}\n{told}");
        }
        world.foreign_is_untouched();
        // Pods of the former life are gone before the next one begins.
        while !world.pods().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let left = world.events().await.into_iter().filter(|event| event.0 == "LeftBehind").collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_order_nothing_of_ours_is_left_and_nothing_foreign_is_touched() {
    one_life_after_the_other(0..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_order_nothing_of_ours_is_left_second_half() {
    one_life_after_the_other(5..10).await;
}
