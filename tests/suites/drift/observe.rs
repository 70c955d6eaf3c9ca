//! `managementPolicy: Observe`.

use duo_e2e::wait::condition;
use serde_json::json;

use crate::changes::{self, GATEWAY};
use crate::{ready_world, told, until_told};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_by_hand_is_reported_once_and_left_alone() {
    let world = ready_world().await;
    let observe = json!({"spec": {"managementPolicy": "Observe"}});
    world.patch(GATEWAY.0, GATEWAY.1, observe).await.expect("a patch");
    world.until_article_is_ready().await;
    let mark = world.gitlab.journal().mark();
    let declared = world.gitlab.state();
    for change in changes::all() {
        let (kind, name) = change.about;
        let before = told(&world, "Drifted", name).await.len();
        (change.make)(&world);
        let drifted = world
            .until(kind, name, &format!("{} tells {:?}", change.condition, change.words), |object| {
                let (status, reason, message) = condition(object, change.condition);
                (status.as_str(), reason.as_str()) == ("False", "Drifted")
                    && change.words.iter().all(|word| message.contains(word))
            })
            .await;
        assert_eq!(condition(&drifted, "Ready").0, "False");
        assert_eq!(condition(&drifted, "Stalled").0, "True", "only a person can cure it");
        assert!(!(change.is_declared)(&world), "{:?} was put back", change.words);
        until_told(&world, "Drifted", name, before + 1).await;

        // Somebody puts it back by hand.
        world.gitlab.edit(|state| {
            state.settings = declared.settings.clone();
            state.models = declared.models.clone();
            state.features = declared.features.clone();
        });
        world.until_ready(kind, name).await;
        let all = told(&world, "Drifted", name).await;
        assert_eq!(all.len(), before + 1, "not one event for one drift: {all:#?}");
    }
    world.until_article_is_ready().await;
    assert_eq!(world.mutations_since(mark), Vec::<String>::new());
    world.users_are_served().await;
    world.foreign_is_untouched();

    // Back to Full: what is found changed by then is put back.
    let full = json!({"spec": {"managementPolicy": "Full"}});
    for change in changes::all().iter().take(3) {
        (change.make)(&world);
    }
    world.patch(GATEWAY.0, GATEWAY.1, full).await.expect("a patch");
    for change in changes::all().iter().take(3) {
        world.eventually("put back under Full", || (change.is_declared)(&world)).await;
    }
    world.until_article_is_ready().await;
}
