//! Several versions of GitLab, upgrades and a downgrade under the running operator, and a schema that is not shown.
//! The article suite runs 17.10, 18.9 and 19.5.

use duo_e2e::{Options, World};
use duo_sim::gitlab::{Action, Fault};

use crate::{assignment, comes_to_rest, ready_world};

/// What GitLab's own form sends for Bedrock where every model needs an endpoint.
const PLACEHOLDER: &str = "http://bedrockselfhostedmodel.com";

async fn works(gitlab: &'static str) {
    let world = ready_world("version", gitlab).await;
    world.users_are_served().await;
    // the version decides what can be assigned, and the refusal says what needs which
    world.apply(&assignment(&world, "newer", &["SecurityReview", "ReviewMergeRequest"], "claude-3-sonnet")).await;
    let minor = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
    let set = || world.feature_in_gitlab("review_merge_request").1.as_deref() == Some("Claude 3 Sonnet");
    if minor(gitlab) >= vec![19, 0] {
        world.until_condition("FeatureAssignment", "newer", "Accepted", "False", "FeatureNotListed").await;
    } else {
        let told =
            world.until_condition("FeatureAssignment", "newer", "Accepted", "False", "FeatureNotSupported").await;
        let text = told["status"].to_string();
        assert!(text.contains("SecurityReview (since 18.10 to 19.5)"), "{text}");
    }
    world.eventually("what the version has is set", set).await;
    comes_to_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_article_works_with_gitlab_18_4() {
    works("18.4.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_article_works_with_gitlab_18_7() {
    works("18.7.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_article_works_with_gitlab_19_0() {
    works("19.0.0").await;
}

/// Up over both shapes of the schema, down again, and up: the same rows all the time, and only what has to be written.
#[tokio::test(flavor = "multi_thread")]
async fn upgrades_and_a_downgrade_are_noticed_and_cost_only_the_writes_that_they_need() {
    let world = ready_world("upgrade", "17.10.0").await;
    let ids = || world.gitlab.state().models.keys().copied().collect::<Vec<_>>();
    let before = ids();
    // from 18.7 on GitLab has the timeout, which is declared; from 19.0 on models have a provider
    for (version, most, providers) in [
        ("18.7.0", 1, "API"),
        ("18.9.0", 0, "API"),
        ("19.5.0", 2, "BEDROCK"),
        ("18.9.0", 0, "API"),
        ("19.5.0", 2, "BEDROCK"),
    ] {
        let mark = world.gitlab.journal().mark();
        world.gitlab.edit(|state| {
            let newer = version.parse().expect("a version");
            if newer < state.instance.version {
                // GitLab goes back with its backup only, which holds the rows as that version had them
                for model in state.models.values_mut() {
                    (model.endpoint, model.provider) = (Some(PLACEHOLDER.to_owned()), "API".to_owned());
                }
            }
            state.instance.version = newer;
        });
        world
            .until("AIGateway", "duo", version, |gateway| {
                gateway["status"]["gitlab"]["version"].as_str().is_some_and(|found| found.starts_with(version))
            })
            .await;
        world
            .eventually("providers", || world.gitlab.state().models.values().all(|model| model.provider == providers))
            .await;
        world.until_article_is_ready().await;
        comes_to_rest(&world).await;
        let writes = world.mutations_since(mark);
        assert!(writes.len() <= most, "{version}: {writes:#?}");
        assert_eq!(ids(), before, "{version}: a model was made anew");
        world.users_are_served().await;
    }
}

/// Off, refused, cut off for its length: the operator goes by the version and one probing query.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_shown_is_concluded_from_the_version() {
    for (gitlab, providers) in [("18.4.0", "API"), ("19.5.0", "BEDROCK")] {
        let world = World::start("hidden", Options { gitlab, operator: false, ..Options::default() }).await;
        world.gitlab.edit(|state| state.instance.introspection = false);
        world.apply_article().await;
        let options = Options::default();
        let operator = duo_e2e::operator::Operator::start(
            world.control_plane,
            &world.namespace,
            options.resync_seconds,
            &options.operator_args,
        )
        .await;
        world.with_operator(|slot| *slot = Some(operator));
        world.until_article_is_ready().await;
        assert!(world.gitlab.state().models.values().all(|model| model.provider == providers), "{gitlab}");
        world.users_are_served().await;
        comes_to_rest(&world).await;
    }
    let world = World::start("large", Options { operator: false, ..Options::default() }).await;
    world.gitlab.faults().add(Fault::new(Action::Oversized { bytes: 40 << 20 }).on("IntrospectionQuery"));
    world.apply_article().await;
    let operator = duo_e2e::operator::Operator::start(world.control_plane, &world.namespace, 2, &[]).await;
    world.with_operator(|slot| *slot = Some(operator));
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
