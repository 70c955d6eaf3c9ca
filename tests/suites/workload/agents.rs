//! GitLab Duo Agent Platform beside the gateway.

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, manifests};
use serde_json::json;

use crate::{article, set};

/// What stood in GitLab before.
fn before(world: &World) {
    world.gitlab.edit(|state| {
        state.settings.duo_agent_platform_service_url = Some("old.example.com:443".to_owned());
        state.settings.self_hosted_duo_agent_platform_service_secure = true;
    });
}

fn in_gitlab(world: &World) -> (Option<String>, bool) {
    let settings = world.gitlab.state().settings;
    (settings.duo_agent_platform_service_url, settings.self_hosted_duo_agent_platform_service_secure)
}

fn ours(world: &World) -> (Option<String>, bool) {
    (Some(format!("duo-agent-platform.{}.svc:50052", world.namespace)), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_is_told_of_it_and_gets_back_what_it_had() {
    let world = article(Options::default()).await;
    before(&world);
    set(&world, json!({"agentPlatform": {"image": "mirror/agents:1"}})).await;
    world.eventually("GitLab knows the service", || in_gitlab(&world) == ours(&world)).await;
    // Pods of this image are only there: nobody answers GitLab's probe, and that alone keeps Ready from being True.
    let told = world.until_condition("AIGateway", "duo", "AgentPlatformConfigured", "True", "Configured").await;
    assert_eq!(condition(&told, "AgentPlatformAvailable").0, "True", "{:#}", told["status"]);

    // By hand.
    world.gitlab.edit(|state| state.settings.self_hosted_duo_agent_platform_service_secure = true);
    world.eventually("drift is put back", || in_gitlab(&world) == ours(&world)).await;

    // Another address is still ours when it goes.
    set(&world, json!({"agentPlatform": {"url": "agents.example.com:443", "secure": true}})).await;
    let elsewhere = (Some("agents.example.com:443".to_owned()), true);
    world.eventually("the declared address", || in_gitlab(&world) == elsewhere).await;
    set(&world, json!({"agentPlatform": null})).await;
    let old = (Some("old.example.com:443".to_owned()), true);
    world.eventually("what was there before", || in_gitlab(&world) == old).await;
    world
        .until("AIGateway", "duo", "no condition of what is not declared", |gateway| {
            condition(gateway, "AgentPlatformConfigured").0.is_empty()
        })
        .await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_puts_it_back_and_leaves_what_somebody_else_set() {
    for (by_hand, left) in [(None, "old.example.com:443"), (Some("clicked.example.com:1"), "clicked.example.com:1")] {
        let world = article(Options::default()).await;
        before(&world);
        set(&world, json!({"agentPlatform": {"image": "mirror/agents:1"}})).await;
        world.eventually("GitLab knows the service", || in_gitlab(&world) == ours(&world)).await;
        if let Some(url) = by_hand {
            set(&world, json!({"managementPolicy": "Full", "suspend": true})).await;
            world.gitlab.edit(|state| state.settings.duo_agent_platform_service_url = Some(url.to_owned()));
            // Only a deletion that is allowed to write proves that it leaves this alone.
            world.kill_operator();
            set(&world, json!({"suspend": false})).await;
        }
        for (kind, name) in World::article_objects().into_iter().rev() {
            world.delete(kind, name).await;
        }
        if by_hand.is_some() {
            world.start_operator_again();
        }
        world.until_gone("AIGateway", "duo").await;
        assert_eq!(in_gitlab(&world).0.as_deref(), Some(left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_gitlab_gets_only_what_it_has() {
    // 18.9 has the address and no setting for TLS.
    let world = article(Options { gitlab: "18.9.0", ..Options::default() }).await;
    set(&world, json!({"agentPlatform": {"image": "mirror/agents:1"}})).await;
    world.eventually("GitLab knows the service", || in_gitlab(&world).0 == ours(&world).0).await;
    let told = world.until_event("AgentPlatformTLSNotSettable", "duo").await;
    assert!(told.contains("DUO_AGENT_PLATFORM_SERVICE_SECURE=false"), "{told}");
    world.until_condition("AIGateway", "duo", "AgentPlatformConfigured", "True", "Configured").await;
    let sent = world.gitlab.journal().since(0);
    assert!(sent.iter().all(|entry| !entry.variables.to_string().contains("ServiceSecure")));
}

/// The service calls models itself, so GitLab has to send it the key: for models that an assignment gives to it, and
/// for no others.
#[tokio::test(flavor = "multi_thread")]
async fn gitlab_holds_the_key_of_a_model_only_while_agents_use_it() {
    let world = article(Options::default()).await;
    set(&world, json!({"agentPlatform": {"image": "mirror/agents:1"}})).await;
    let model = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
        "metadata": {"name": "own", "namespace": world.namespace},
        "spec": {
            "gatewayRef": {"name": "duo"}, "displayName": "Our own", "platform": "OpenAICompatible", "family": "GPT",
            "identifier": "custom_openai/own", "endpoint": "http://127.0.0.1:9/v1",
            "apiKeySecretRef": {"name": "vllm", "key": "token"},
        },
    });
    world.apply(&model.to_string()).await;
    world.until_condition("SelfHostedModel", "own", "Synced", "True", "").await;
    let token = || world.model_in_gitlab("Our own").api_token.filter(|token| !token.is_empty());
    assert_eq!(token(), None);
    let agents = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "FeatureAssignment",
        "metadata": {"name": "agents", "namespace": world.namespace},
        "spec": {"gatewayRef": {"name": "duo"}, "features": ["DuoAgentPlatformAgenticChat"], "modelRef": {"name": "own"}},
    });
    world.apply(&agents.to_string()).await;
    world.eventually("GitLab has the key", || token().as_deref() == Some(manifests::VLLM_KEY)).await;
    world.delete("FeatureAssignment", "agents").await;
    world.until_gone("FeatureAssignment", "agents").await;
    world.eventually("GitLab forgot the key", || token().is_none()).await;
}
