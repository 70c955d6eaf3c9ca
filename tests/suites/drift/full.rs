//! `managementPolicy: Full`.

use duo_e2e::wait::condition;

use crate::{changes, ready_world, told, until_told};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_by_hand_is_put_back_and_told_once() {
    let world = ready_world().await;
    for change in changes::all() {
        let (kind, name) = change.about;
        let before = told(&world, "DriftCorrected", name).await.len();
        let mark = world.gitlab.journal().mark();
        (change.make)(&world);
        assert!(!(change.is_declared)(&world), "{:?}: the change by hand changed nothing", change.words);
        // The condition tells it until the next look, which comes soon: it is waited for first.
        world
            .until(kind, name, "the condition tells what was put back", |object| {
                let (status, _, message) = condition(object, change.condition);
                let put_back = message.contains("put back") || message.contains("made anew");
                status == "True" && put_back && change.words.iter().all(|word| message.contains(word))
            })
            .await;
        world.eventually(&format!("put back: {:?}", change.words), || (change.is_declared)(&world)).await;
        let all = until_told(&world, "DriftCorrected", name, before + 1).await;
        assert_eq!(all.len(), before + 1, "not one event for one drift: {all:#?}");
        let fits = |text: &&String| change.words.iter().all(|word| text.contains(word));
        assert_eq!(all.iter().filter(fits).count(), 1, "{:?} are not told: {all:#?}", change.words);
        let writes = world.mutations_since(mark);
        let most = if kind == "SelfHostedModel" && change.words[0].starts_with("create") { 3 } else { 1 };
        assert!(writes.len() <= most, "{:?} took {writes:#?}", change.words);
    }
    world.until_article_is_ready().await;
    world.users_are_served().await;
    world.foreign_is_untouched();
    world.no_secret_is_told(&[changes::TYPED_KEY.to_owned()]).await;
}
