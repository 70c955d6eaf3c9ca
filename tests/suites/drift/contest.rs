//! Another controller that writes other values, each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duo_e2e::World;
use duo_e2e::wait::condition;

use crate::changes::{CLAUDE, CODE, GATEWAY, edit};
use crate::{ready_world, told};

/// Looks of the operator at GitLab since a mark.
fn looks(world: &World, mark: u64) -> usize {
    let entries = world.gitlab.journal().since(mark);
    entries.iter().filter(|entry| entry.fields.iter().any(|field| field == "aiFeatureSettings")).count()
}

/// When a condition turned to what it is.
fn turned(object: &serde_json::Value, type_: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().expect("conditions");
    let condition = conditions.iter().find(|condition| condition["type"] == type_).expect("the condition");
    condition["lastTransitionTime"].as_str().expect("a time").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_few_rounds_a_person_is_called_and_writing_backs_off_until_the_other_stops() {
    let world = Arc::new(ready_world().await);
    let goes_on = Arc::new(AtomicBool::new(true));
    let rival = tokio::spawn({
        let (world, goes_on) = (Arc::clone(&world), Arc::clone(&goes_on));
        async move {
            while goes_on.load(Ordering::SeqCst) {
                world.gitlab.edit(|state| state.settings.ai_gateway_timeout_seconds = 600);
                edit(&world, "Claude 3 Sonnet", |model| "bedrock/theirs".clone_into(&mut model.identifier));
                world.feature_by_hand("code_completions", "disabled", None);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let contested = [(GATEWAY, "GatewayURLConfigured"), (CLAUDE, "Synced"), (CODE, "Synced")];
    let mut since = Vec::new();
    for ((kind, name), type_) in contested {
        let object = world.until_condition(kind, name, type_, "False", "ContestedByAnother").await;
        since.push(turned(&object, type_));
        assert_eq!(condition(&object, "Stalled").1, "ContestedByAnother", "{object:#}");
        assert_eq!(condition(&object, "Ready").0, "False");
    }
    let (_, _, message) = condition(&world.get(CLAUDE.0, CLAUDE.1).await, "Synced");
    for word in [
        "identifier",
        "\"bedrock/theirs\"",
        "bedrock/anthropic.claude-3-sonnet",
        "next try not before",
        "over when nobody changes it for",
    ] {
        assert!(message.contains(word), "{word} is not told: {message}");
    }
    // What nobody fights about stays as declared, and is put back as before.
    world.feature_by_hand("code_generations", "disabled", None);
    let back = ("self_hosted".to_owned(), Some("Mixtral 8x7B".to_owned()));
    world.eventually("the other feature is put back", || world.feature_in_gitlab("code_generations") == back).await;

    // Many looks, few writes: without backing off each look, which all objects share, would lead to three.
    let mark = world.gitlab.journal().mark();
    world.eventually("the operator looks on", || looks(&world, mark) >= 12).await;
    let writes = world.mutations_since(mark);
    assert!(writes.len() * 2 < looks(&world, mark) * 3, "{writes:#?}");
    for (((kind, name), type_), since) in contested.into_iter().zip(since) {
        let object = world.get(kind, name).await;
        let (status, reason, _) = condition(&object, type_);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ContestedByAnother"), "{kind} {name}: {object:#}");
        assert_eq!(turned(&object, type_), since, "{kind} {name}: it was told as over in between");
        assert!(told(&world, "DriftCorrected", name).await.len() <= 4, "a storm of events about {name}");
        let told = told(&world, "ContestedByAnother", name).await;
        assert_eq!(told.len(), 1, "one fight is one event about {kind} {name}: {told:#?}");
    }

    goes_on.store(false, Ordering::SeqCst);
    rival.await.expect("the rival ends");
    world.until_article_is_ready().await;
    world.users_are_served().await;
    world.foreign_is_untouched();
}
