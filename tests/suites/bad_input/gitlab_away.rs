//! GitLab that is down, behind a broken proxy, overloaded, or refuses halfway.

use duo_e2e::{Options, World};
use duo_sim::gitlab::{Action, Fault};

use crate::{Cure, Told, nothing_written};

const GATEWAY: (&str, &str) = ("AIGateway", "duo");

fn told<'a>(reason: &'a str, words: &'a [&'a str]) -> Told<'a> {
    Told { object: GATEWAY, condition: ("TokenValid", "Unknown", reason), words, cure: Cure::Time }
}

/// From now on the API answers so; the published keys, which the gateway's pods need to become ready, are served.
fn api(world: &World, action: Action) {
    world.gitlab.faults().clear();
    for kind in ["graphql", "rest"] {
        world.gitlab.faults().add(Fault { kind: Some(kind.to_owned()), ..Fault::new(action.clone()) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_that_is_down_or_overloaded_is_waited_for() {
    let world = World::start("away", Options::default()).await;
    let mark = world.gitlab.journal().mark();
    api(&world, Action::Cut);
    world.apply_article().await;
    told("Unreachable", &["cannot be reached"]).until(&world).await;
    // The pods do not wait for the API.
    world.until_condition("AIGateway", "duo", "WorkloadAvailable", "True", "").await;

    api(&world, Action::Html);
    told("ServerError", &["502"]).until(&world).await;
    api(&world, Action::Status { code: 429, retry_after: Some(3) });
    told("RateLimited", &["limits the rate of requests", "wait 3 s"]).until(&world).await;
    api(&world, Action::Oversized { bytes: 64 << 20 });
    let too_large = Told { cure: Cure::Person, ..told("AnswerTooLarge", &["longer than"]) };
    too_large.until(&world).await;
    api(&world, Action::Status { code: 500, retry_after: None });
    told("ServerError", &["500"]).until(&world).await;
    nothing_written(&world, mark);

    world.gitlab.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;

    // All of it away while everything runs: nobody can say whether users are served, and nothing is taken apart.
    let mark = world.gitlab.journal().mark();
    world.gitlab.faults().add(Fault::new(Action::Cut));
    told("Unreachable", &["cannot be reached"]).until(&world).await;
    world.until_condition("FeatureAssignment", "chat", "Ready", "Unknown", "GatewayNotReady").await;
    world.gitlab.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;
    nothing_written(&world, mark);
}

/// Reading works, writing does not: nothing that was not written counts as done.
#[tokio::test(flavor = "multi_thread")]
async fn what_gitlab_did_not_take_is_not_reported_as_done() {
    let world = World::start("half", Options::default()).await;
    world.gitlab.edit(|state| state.instance.read_only = true);
    let url = |reason, words| Told {
        object: GATEWAY,
        condition: ("GatewayURLConfigured", "False", reason),
        words,
        cure: Cure::Time,
    };
    let failing = |operation: &str| Fault {
        mutations_only: true,
        ..Fault::new(Action::Status { code: 500, retry_after: None }).on(operation)
    };
    world.apply_article().await;
    url("ReadOnlyInstance", &["read-only"]).until(&world).await;

    for operation in ["duoSettingsUpdate", "aiSelfHostedModelCreate"] {
        world.gitlab.faults().add(failing(operation));
    }
    url("ServerError", &["500"]).until(&world).await;
    for model in ["mixtral-8x7b", "claude-3-sonnet"] {
        Told {
            object: ("SelfHostedModel", model),
            condition: ("Synced", "False", "ServerError"),
            words: &["500"],
            cure: Cure::Time,
        }
        .until(&world)
        .await;
    }
    // Only now: a create that was under way when the faults came is refused by the read-only instance, not let through.
    world.gitlab.edit(|state| state.instance.read_only = false);
    world.until_condition("FeatureAssignment", "chat", "ModelResolved", "Unknown", "ModelNotSynced").await;
    let state = world.gitlab.state();
    assert!(state.settings.ai_gateway_url.is_none() && state.models.is_empty() && state.features.is_empty());

    // Now models can be made, but the second feature of each assignment fails.
    world.gitlab.faults().clear();
    world.gitlab.faults().add(Fault { skip: 1, ..failing("aiFeatureSettingUpdate") });
    let half = world.until_condition("FeatureAssignment", "chat", "Synced", "False", "ServerError").await;
    let (_, _, message) = duo_e2e::wait::condition(&half, "Synced");
    assert!(message.contains("duo_chat"), "{message}");
    world.until_condition("FeatureAssignment", "code-suggestions", "Synced", "False", "ServerError").await;
    // The models do not suffer.
    world.until_ready("SelfHostedModel", "mixtral-8x7b").await;

    world.gitlab.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(world.gitlab.state().models.len(), 2, "an unclear create was not repeated blindly");
}
