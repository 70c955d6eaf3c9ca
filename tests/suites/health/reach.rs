//! Whether GitLab cannot reach the gateway or nobody can, and what of GitLab's own probes is shown.

use duo_e2e::wait::condition;

use crate::{gitlab_status, ready_world};

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_shown_one_by_one_and_a_gateway_that_nobody_reaches_is_told_apart() {
    let world = ready_world("reach", "19.5.0").await;
    let gateway = world.get("AIGateway", "duo").await;
    let probes = gitlab_status(&gateway)["probes"].as_array().cloned().unwrap_or_default();
    let of = |name: &str| probes.iter().find(|probe| probe["name"] == name).cloned().unwrap_or_default();
    assert_eq!(of("host_probe")["condition"], "GatewayReachable", "{probes:#?}");
    assert_eq!(of("code_suggestions_license_probe")["condition"], "LicenseActive");
    // shown and not judged: every instance without a runner fails it
    let runner = of("compatible_runner_probe");
    assert_eq!((&runner["passed"], runner.get("condition")), (&false.into(), None), "{probes:#?}");
    assert_eq!(condition(&gateway, "AgentPlatformReachable").0, "", "GitLab has no address of one");

    // the name resolves for nobody any more
    world.gitlab.hosts().remove(&format!("duo.{}.svc", world.namespace));
    let lost = world.until_condition("AIGateway", "duo", "GatewayReachable", "False", "NobodyReachesGateway").await;
    let (_, _, message) = condition(&lost, "GatewayReachable");
    assert!(message.contains("the operator does not reach it at that URL either"), "{message}");
    assert_eq!(condition(&lost, "Ready").0, "False");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_platform_that_gitlab_does_not_reach_is_told_and_lowers_ready() {
    let world = ready_world("agents", "19.5.0").await;
    let set = |url: Option<&str>| {
        world.gitlab.edit(|state| state.settings.duo_agent_platform_service_url = url.map(ToOwned::to_owned));
    };
    set(Some("127.0.0.1:9"));
    let told = world.until_condition("AIGateway", "duo", "AgentPlatformReachable", "False", "NotOperational").await;
    assert_eq!(condition(&told, "Ready").0, "False");
    set(None);
    // The health check and the settings are read one after the other, and yet no pass may tell of both sides of a change.
    world
        .until("AIGateway", "duo", "Ready and nothing of an Agent Platform", |gateway| {
            let (ready, agents) = (condition(gateway, "Ready").0, condition(gateway, "AgentPlatformReachable").0);
            assert!(!(ready == "True" && agents == "Unknown"), "two sides of a change: {gateway:#}");
            ready == "True" && agents.is_empty()
        })
        .await;
}
