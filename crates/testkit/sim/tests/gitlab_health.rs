//! The Duo health check and the connection check, both of which really call a gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use duo_sim::gitlab::{Handle, Version};
use gitlab_support::*;
use serde_json::{Value, json};

const STATUS: &str = "{ cloudConnectorStatus { success probeResults { name success message details errors } } }";

async fn probes(gitlab: &Handle) -> Vec<Value> {
    let reply = admin(gitlab, STATUS, json!({})).await;
    reply.data("/cloudConnectorStatus/probeResults").as_array().unwrap().clone()
}

fn find<'a>(probes: &'a [Value], name: &str) -> &'a Value {
    probes.iter().find(|probe| probe["name"] == name).unwrap_or_else(|| panic!("no {name} in {probes:?}"))
}

fn allow_loopback(gitlab: &Handle) {
    gitlab.edit(|state| state.instance.outbound_allowlist = vec!["127.0.0.0/8".to_owned()]);
}

#[tokio::test]
async fn the_health_check_is_for_administrators() {
    let gitlab = gitlab(OLD).await;
    let reply = as_token(&gitlab, duo_sim::gitlab::state::USER_TOKEN, STATUS, json!({})).await;
    assert_eq!(reply.error(), ACCESS_ERROR);
}

#[tokio::test]
async fn a_green_18_9_instance_runs_three_probes_and_never_calls_the_model() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    allow_loopback(&gitlab);
    gitlab.edit(|state| state.users[0].duo_seat = true);
    gateway.then(401, "application/json", json!({"error": "No authorization header presented"}));
    let probes = probes(&gitlab).await;
    let names: Vec<&str> = probes.iter().map(|probe| probe["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ai_gateway_url_presence_probe", "host_probe", "code_suggestions_license_probe"]);
    assert!(probes.iter().all(|probe| probe["success"] == true), "{probes:?}");
    assert_eq!(find(&probes, "host_probe")["message"], "127.0.0.1 reachable.");
    assert_eq!((gateway.last().method.as_str(), gateway.count()), ("HEAD", 1), "any status counts");
}

#[tokio::test]
async fn trap_the_host_probe_refuses_private_addresses_that_real_calls_reach() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    let probe = find(&probes(&gitlab).await, "host_probe").clone();
    assert_eq!(probe["success"], false);
    assert!(probe["message"].as_str().unwrap().starts_with("127.0.0.1 connection failed: URL is blocked"), "{probe}");
    assert!(probe["message"].as_str().unwrap().contains("\n\nIf you use firewalls"), "{probe}");
    assert_eq!(probe["errors"][0], probe["message"]);
    assert_eq!(gateway.count(), 0);
    let reply = admin(&gitlab, CHECK, json!({"input": {"name": "a", "model": "GPT", "endpoint": "http://a/v1"}})).await;
    assert_eq!(reply.data("/aiSelfHostedModelConnectionCheck/result/success"), &json!(true));
    gitlab.edit(|state| state.instance.allow_local_requests = true);
    assert_eq!(find(&probes(&gitlab).await, "host_probe")["success"], true);
}

#[tokio::test]
async fn a_gateway_that_is_down_fails_the_host_probe() {
    let gitlab = gitlab(OLD).await;
    allow_loopback(&gitlab);
    gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://127.0.0.1:9".to_owned()));
    let probe = find(&probes(&gitlab).await, "host_probe").clone();
    assert!(probe["message"].as_str().unwrap().contains("Connection refused"), "{probe}");
    gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://gone.invalid:9".to_owned()));
    let probe = find(&probes(&gitlab).await, "host_probe").clone();
    assert!(probe["message"].as_str().unwrap().starts_with("gone.invalid connection failed:"), "{probe}");
}

#[tokio::test]
async fn trap_the_licence_probe_judges_the_tokens_own_user() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    let probe = find(&probes(&gitlab).await, "code_suggestions_license_probe").clone();
    assert_eq!(
        probe["message"],
        "License includes access to Code Suggestions, but you lack the necessary permissions to use this feature."
    );
    assert_eq!(probe["details"]["instance_id"], gitlab.state().instance.uuid);
    gitlab.edit(|state| state.add_ons.clear());
    let probe = find(&probes(&gitlab).await, "code_suggestions_license_probe").clone();
    assert_eq!(probe["message"], "License does not provide access to Code Suggestions.");
}

#[tokio::test]
async fn trap_on_19_x_the_whole_is_red_merely_for_lack_of_a_runner() {
    let (gitlab, gateway) = (gitlab(NEW).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    allow_loopback(&gitlab);
    gitlab.edit(|state| state.users[0].duo_seat = true);
    let reply = admin(&gitlab, STATUS, json!({})).await;
    assert_eq!(reply.data("/cloudConnectorStatus/success"), &json!(false));
    let runner = find(&probes(&gitlab).await, "compatible_runner_probe").clone();
    assert!(
        runner["message"].as_str().unwrap().starts_with("No instance runner with the 'gitlab--duo' tag"),
        "{runner}"
    );
    gitlab.edit(|state| {
        state.instance.compatible_runner = true;
        state.instance.allow_flow_execution = true;
        state.instance.allow_foundational_flows = true;
    });
    let reply = admin(&gitlab, STATUS, json!({})).await;
    assert_eq!(reply.data("/cloudConnectorStatus/success"), &json!(true), "{}", reply.body);
}

#[tokio::test]
async fn without_a_gateway_url_or_with_a_vendored_feature_the_cloud_is_probed_too() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    let without = probes(&gitlab).await;
    assert_eq!(find(&without, "license_probe")["success"], false, "an offline licence");
    assert!(without.iter().all(|probe| probe["name"] != "ai_gateway_url_presence_probe"));
    assert_eq!(without.iter().filter(|probe| probe["name"] == "host_probe").count(), 2, "names repeat");
    use_gateway(&gitlab, &gateway);
    gitlab.edit(|state| {
        let row = duo_sim::gitlab::state::FeatureRow {
            provider: "vendored".to_owned(),
            model_id: None,
            offered_model_ref: None,
        };
        state.features.insert("duo_chat".to_owned(), row);
    });
    assert_eq!(probes(&gitlab).await.iter().filter(|probe| probe["name"] == "host_probe").count(), 3);
}

#[tokio::test]
async fn an_agent_platform_url_is_probed_for_real() {
    let (old, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&old, &gateway);
    old.edit(|state| state.settings.duo_agent_platform_service_url = Some("127.0.0.1:9".to_owned()));
    let probe = find(&probes(&old).await, "duo_agent_platform_probe").clone();
    assert_eq!(probe["message"], "GitLab Duo Workflow Service at 127.0.0.1:9 is not operational.");
}

async fn check(gitlab: &Handle) -> Value {
    let mut input = json!({"name": "a", "model": "CLAUDE_3", "endpoint": "http://b.example.com", "identifier": "bedrock/x",
                           "apiToken": "key"});
    if gitlab.state().instance.version.has_model_provider() {
        input["provider"] = json!("BEDROCK");
    }
    let reply = admin(gitlab, CHECK, json!({"input": input})).await;
    assert_eq!(reply.data("/aiSelfHostedModelConnectionCheck/errors"), &json!([]), "always empty");
    reply.data("/aiSelfHostedModelConnectionCheck/result").clone()
}

#[tokio::test]
async fn the_connection_check_sends_what_rails_sends() {
    for version in [OLD, NEW] {
        let (gitlab, gateway) = (gitlab(version).await, Gateway::start().await);
        use_gateway(&gitlab, &gateway);
        let result = check(&gitlab).await;
        assert_eq!(result["name"], "model_configuration_probe");
        assert_eq!(result["message"], "Successfully connected to the self-hosted model");
        let seen = gateway.last();
        assert_eq!(seen.path, "/v1/prompts/model_configuration%2Fcheck");
        let expected = json!({"inputs": {}, "stream": false, "model_metadata": {"provider": "openai", "name": "claude_3",
            "endpoint": "http://b.example.com", "api_key": "key", "identifier": "bedrock/x"}});
        assert_eq!(seen.body, expected);
        assert_eq!(seen.headers["x-gitlab-authentication-type"], "oidc");
        assert_eq!(seen.headers["x-gitlab-instance-id"], gitlab.state().instance.uuid.as_str());
        assert!(gitlab.state().models.is_empty(), "nothing is saved");
        assert!(gitlab.journal().writes(0).is_empty(), "and it is no write");
    }
}

#[tokio::test]
async fn trap_only_421_and_list_details_reach_the_administrator() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    let unknown = "Unknown error. Make sure your self-hosted model is running and that your AI Gateway URL is \
                   configured correctly.";
    let cases = [
        (
            421,
            json!({"detail": "404: Not Found"}),
            "The self-hosted model server returned code 404: Not Found".to_owned(),
        ),
        (422, json!({"detail": [{"msg": "no such model"}]}), "AI Gateway returned code 422: no such model".to_owned()),
        (422, json!({"detail": "Validation error"}), format!("AI Gateway returned code 422: {unknown}")),
        (401, json!({"error": "Forbidden by auth provider"}), "AI Gateway returned code 401: ".to_owned()),
        (500, json!("Internal Server Error"), format!("AI Gateway returned code 500: {unknown}")),
    ];
    for (status, body, expected) in cases {
        gateway.then(status, "application/json", body);
        let result = check(&gitlab).await;
        assert_eq!((&result["success"], &result["message"]), (&json!(false), &json!(format!("ERROR: {expected}"))));
    }
}

#[tokio::test]
async fn without_a_gateway_url_the_connection_check_says_so() {
    let gitlab = gitlab(OLD).await;
    assert!(
        check(&gitlab).await["message"].as_str().unwrap().starts_with("You have not configured your local AI gateway")
    );
}

#[tokio::test]
async fn trap_the_connection_check_of_18_9_gives_a_slow_model_three_seconds() {
    let gitlab = gitlab(OLD).await;
    // accepts and never answers
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    gitlab.edit(|state| state.settings.ai_gateway_url = Some(url));
    let started = std::time::Instant::now();
    let result = check(&gitlab).await;
    assert!(started.elapsed() >= std::time::Duration::from_secs(3));
    assert_eq!(result["message"], "ERROR: Net::ReadTimeout with #<TCPSocket:(closed)>");
}

#[tokio::test]
async fn trap_an_offline_instance_sends_an_empty_bearer_before_code_completion_is_self_hosted() {
    let (gitlab, gateway) = (gitlab(Version::new(18, 9, 0)).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    check(&gitlab).await;
    assert_eq!(gateway.last().headers["authorization"].to_str().unwrap().trim(), "Bearer");
    let id = create(&gitlab, json!({"name": "a", "model": "CLAUDE_3", "endpoint": "http://b.example.com"})).await;
    assign(&gitlab, "DUO_CHAT", &id).await;
    check(&gitlab).await;
    assert_eq!(gateway.last().headers["authorization"].to_str().unwrap().trim(), "Bearer", "chat does not help");
    assign(&gitlab, "CODE_COMPLETIONS", &id).await;
    check(&gitlab).await;
    let token = gateway.last().headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    assert_eq!(token.split('.').count(), 3, "signed by the instance: {token}");
}

#[tokio::test]
async fn an_agent_platform_service_that_answers_grpc_is_operational() {
    let (gitlab, gateway) = (gitlab(NEW).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    let address = gateway.url.trim_start_matches("http://").to_owned();
    gitlab.edit(|state| {
        state.settings.duo_agent_platform_service_url = Some(address.clone());
        state.settings.self_hosted_duo_agent_platform_service_secure = false;
    });
    gateway.then(200, "application/grpc", "");
    let probe = find(&probes(&gitlab).await, "duo_agent_platform_probe").clone();
    let expected = format!("The self-hosted GitLab Duo Agent Platform service at {address} is operational.");
    assert_eq!(probe["message"], expected);
    gitlab.edit(|state| state.settings.self_hosted_duo_agent_platform_service_secure = true);
    let probe = find(&probes(&gitlab).await, "duo_agent_platform_probe").clone();
    assert_eq!(probe["success"], false, "TLS where there is none: {probe}");
}

#[tokio::test]
async fn silent_mode_stops_calls_to_the_gateway_but_not_the_host_probe() {
    let (gitlab, gateway) = (gitlab(OLD).await, Gateway::start().await);
    use_gateway(&gitlab, &gateway);
    allow_loopback(&gitlab);
    gitlab.edit(|state| state.instance.silent_mode = true);
    assert!(check(&gitlab).await["message"].as_str().unwrap().contains("silent mode"));
    assert_eq!(find(&probes(&gitlab).await, "host_probe")["success"], true);
}
