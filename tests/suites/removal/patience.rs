//! When waiting ends, with the limits shortened.

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, hand};
use serde_json::json;

async fn ready_world(operator_args: Vec<&'static str>) -> World {
    let world = World::start("patience", Options { operator_args, ..Options::default() }).await;
    world.add_what_is_foreign();
    world.apply_article().await;
    world.until_article_is_ready().await;
    world
}

async fn delete_everything(world: &World) {
    for (kind, name) in World::article_objects() {
        world.delete(kind, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_that_stays_on_a_model_by_hand_is_unassigned_in_the_end_and_told() {
    let world = ready_world(vec!["--hand-assigned-grace", "20"]).await;
    let claude = world.model_in_gitlab("Claude 3 Sonnet").id;
    world.feature_by_hand("duo_chat_write_tests", "self_hosted", Some(claude));
    for (kind, name) in [("FeatureAssignment", "chat"), ("SelfHostedModel", "claude-3-sonnet")] {
        world.delete(kind, name).await;
    }
    let waiting = world.until_condition("SelfHostedModel", "claude-3-sonnet", "Synced", "False", "InUse").await;
    let (_, _, message) = condition(&waiting, "Synced");
    assert!(message.contains("duo_chat_write_tests") && message.contains("unassigned in"), "{message}");
    world.until_gone("SelfHostedModel", "claude-3-sonnet").await;
    let told = world.until_event("FeatureUnassigned", "claude-3-sonnet").await;
    assert!(told.contains("duo_chat_write_tests"), "{told}");
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B", hand::FOREIGN_MODEL]);
    // With an explicit null: a row that keeps the model would have vanished with it.
    assert_eq!(world.feature_in_gitlab("duo_chat_write_tests"), ("unassigned".to_owned(), None));
    world.foreign_is_untouched();
}

/// Nobody can clean up with a revoked token: a person is called, then the objects go and what stays is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_calls_a_person_and_holds_up_deletion_for_a_while_only() {
    let port = duo_testkit::process::free_ports(1).expect("a port")[0];
    let address: &'static str = Box::leak(format!("127.0.0.1:{port}").into_boxed_str());
    let world = ready_world(vec!["--gitlab-gone-after", "8", "--metrics-addr", address]).await;
    let before = world.gitlab.state();
    world.gitlab.edit(|state| state.tokens.iter_mut().for_each(|token| token.revoked = true));
    world.until_condition("AIGateway", "duo", "TokenValid", "False", "TokenInvalid").await;
    delete_everything(&world).await;
    let waiting = world.until_condition("FeatureAssignment", "chat", "Synced", "False", "TokenInvalid").await;
    assert_eq!(condition(&waiting, "Stalled").0, "True", "{waiting:#}");
    let waiting = world
        .until("AIGateway", "duo", "what it waits for", |object| {
            object.is_null() || condition(object, "GatewayURLConfigured").1 == "WaitingForDependents"
        })
        .await;
    assert!(condition(&waiting, "GatewayURLConfigured").2.contains("SelfHostedModel mixtral-8x7b"), "{waiting:#}");
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
        world.until_event("LeftBehind", name).await;
    }
    let metrics = scrape(address);
    let counted = metrics.lines().find(|line| line.contains("left_behind") && !line.starts_with('#'));
    assert!(counted.is_some_and(|line| line.ends_with(" 5")), "{counted:?}\n{metrics}");
    let after = world.gitlab.state();
    assert_eq!(
        (after.models.len(), after.settings.ai_gateway_url),
        (before.models.len(), before.settings.ai_gateway_url)
    );
    world.foreign_is_untouched();
}

/// Edits that came with the deletion have not reached GitLab: what is there is of before, and ours all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_edited_just_before_its_deletion_is_taken_out_as_it_was() {
    let world = ready_world(Vec::new()).await;
    world.kill_operator();
    let url = json!({"spec": {"url": "http://elsewhere.example:5052"}});
    world.patch("AIGateway", "duo", url).await.expect("a patch");
    let name = json!({"spec": {"displayName": "Renamed"}});
    world.patch("SelfHostedModel", "mixtral-8x7b", name).await.expect("a patch");
    let moved = json!({"spec": {"features": ["DuoChatFixCode"], "modelRef": {"name": "claude-3-sonnet"}}});
    world.patch("FeatureAssignment", "code-suggestions", moved).await.expect("a patch");
    delete_everything(&world).await;
    world.start_operator_again();
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
    }
    assert_eq!(world.models_in_gitlab(), [hand::FOREIGN_MODEL]);
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, None);
    for feature in ["code_completions", "code_generations", "duo_chat"] {
        assert_eq!(world.feature_in_gitlab(feature), ("unassigned".to_owned(), None));
    }
    world.foreign_is_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn abandon_lets_go_of_each_kind_at_once_and_writes_nothing_to_gitlab() {
    let world = ready_world(Vec::new()).await;
    let abandon = json!({"metadata": {"annotations": {"duo.selfhosted.dev/abandon": "true"}}});
    for (kind, name) in World::article_objects() {
        world.patch(kind, name, abandon.clone()).await.expect("a patch");
    }
    let mark = world.gitlab.journal().mark();
    delete_everything(&world).await;
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
        world.until_event("LeftBehind", name).await;
    }
    assert_eq!(world.mutations_since(mark), Vec::<String>::new());
    assert_eq!(world.models_in_gitlab().len(), 3);
}

fn scrape(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the metrics' port");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}
