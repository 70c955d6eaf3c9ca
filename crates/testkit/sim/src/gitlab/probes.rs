//! The Duo health check (`cloudConnectorStatus`): which probes run, and what each finds, for real where it can.
//!
//! Set and texts of GitLab 18.9 and 19.x. GitLab's own cloud is not called: the state says whether it is reachable.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::rights::{self, Caller};
use super::sim::Sim;
use super::state::State;
use super::urls;

const HOST_TIMEOUT: Duration = Duration::from_secs(5);
const CLOUD_HOSTS: [&str; 2] = ["customers.gitlab.com", "cloud.gitlab.com"];

/// Runs all probes one after the other.
pub async fn status(sim: &Arc<Sim>, caller: &Caller) -> Value {
    let (url, agent_url, newer) = sim.read(|state| {
        (
            state.settings.ai_gateway_url.clone(),
            state.settings.duo_agent_platform_service_url.clone(),
            state.instance.version.at_least(19, 0),
        )
    });
    let vendored = sim.read(|state| state.features.values().any(|row| row.provider == "vendored"));
    let mut results = Vec::new();
    if url.is_none() || vendored {
        sim.read(|state| results.extend(default_set(state)));
    }
    if let Some(url) = &url {
        results.push(passed(
            "ai_gateway_url_presence_probe",
            format!("Self hosted AI Gateway URL is set to {url}. It can be changed in the Gitlab Duo configuration."),
        ));
        results.push(host(sim, url).await);
        results.push(sim.read(|state| code_suggestions_license(state, caller)));
        if newer {
            results.extend(sim.read(flows));
            if !sim.read(State::is_offline) {
                results.push(sim.read(cloud_agent_platform));
            }
        }
        if let Some(agent_url) = &agent_url {
            results.push(agent_platform(sim, agent_url, newer).await);
            if newer && !sim.read(State::is_offline) {
                sim.read(|state| results.extend(billing(state)));
            }
        }
    }
    let success = results.iter().all(|result| result["success"] == true);
    json!({"success": success, "probeResults": results})
}

/// HEAD with 5 s, any status counts. It does not allow local requests by itself, while real AI calls do.
async fn host(sim: &Sim, url: &str) -> Value {
    const NAME: &str = "host_probe";
    let (allowlist, local) =
        sim.read(|state| (state.instance.outbound_allowlist.clone(), state.instance.allow_local_requests));
    let Ok(parsed) = urls::parse(url) else { return failed(NAME, format!("{url} is not a valid URL.")) };
    let name = parsed.host_str().unwrap_or_default().to_owned();
    let policy = urls::Policy { local_network: local, localhost: local, allowlist: &allowlist };
    let outcome = match urls::check(url, policy, &sim.hosts).await {
        Err(reason) => Err(format!("URL is blocked: {reason}")),
        Ok(_) => match sim.http.head(url).timeout(HOST_TIMEOUT).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(super::asks::client::network_error(&error, url)),
        },
    };
    match outcome {
        Ok(()) => passed(NAME, format!("{name} reachable.")),
        Err(error) => failed(
            NAME,
            format!(
                "{name} connection failed: {error}.\n\nIf you use firewalls or proxy servers, they must allow traffic \
                 to this host."
            ),
        ),
    }
}

/// Judges the token's own user: an administrator without a seat fails it.
fn code_suggestions_license(state: &State, caller: &Caller) -> Value {
    const NAME: &str = "code_suggestions_license_probe";
    let seated = caller.user.as_ref().is_some_and(|user| rights::may_use_code_suggestions(state, user));
    let mut result = if !rights::license_includes_code_suggestions(state) {
        failed(NAME, "License does not provide access to Code Suggestions.".to_owned())
    } else if !seated {
        failed(
            NAME,
            "License includes access to Code Suggestions, but you lack the necessary permissions to use this feature."
                .to_owned(),
        )
    } else {
        passed(NAME, "License includes access to Code Suggestions.".to_owned())
    };
    result["details"] = json!({
        "instance_id": state.instance.uuid,
        "gitlab_version": state.instance.version.reported(),
        "license": state.license.as_ref().map(|license| json!({"plan": license.plan, "type": license.kind})),
    });
    result
}

/// 19.x: fail on a fresh instance, so the whole is never green without a runner.
fn flows(state: &State) -> Vec<Value> {
    let instance = &state.instance;
    vec![
        judged(
            "allow_flow_execution_probe",
            instance.allow_flow_execution,
            "Flow execution is allowed.",
            "Flow execution is not allowed. Allow it in the GitLab Duo settings.",
        ),
        judged(
            "allow_foundational_flows_probe",
            instance.allow_foundational_flows,
            "Foundational flows are allowed.",
            "Foundational flows are not allowed. Allow them in the GitLab Duo settings.",
        ),
        judged(
            "compatible_runner_probe",
            instance.compatible_runner,
            "A compatible runner is available.",
            "No instance runner with the 'gitlab--duo' tag is registered. Register one with a Docker executor.",
        ),
    ]
}

/// A gRPC call to the service: any gRPC answer without an error status counts.
async fn agent_platform(sim: &Sim, address: &str, newer: bool) -> Value {
    const NAME: &str = "duo_agent_platform_probe";
    let secure = sim.read(|state| state.settings.self_hosted_duo_agent_platform_service_secure);
    let scheme = if secure { "https" } else { "http" };
    let called = tokio::time::timeout(HOST_TIMEOUT, async {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .no_proxy()
            .dns_resolver(Arc::new(sim.hosts.clone()))
            .tls_certs_only(Vec::new())
            .build()?;
        client
            .post(format!("{scheme}://{address}/DuoWorkflow/ListTools"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(vec![0_u8; 5])
            .send()
            .await
    })
    .await;
    let operational = matches!(&called, Ok(Ok(answer)) if answer.status() == 200
        && answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
        && answer.headers().get("grpc-status").is_none_or(|status| status == "0"));
    match (newer, operational) {
        (false, true) => passed(NAME, format!("GitLab Duo Workflow Service at {address} is operational.")),
        (false, false) => failed(NAME, format!("GitLab Duo Workflow Service at {address} is not operational.")),
        (true, true) => {
            passed(NAME, format!("The self-hosted GitLab Duo Agent Platform service at {address} is operational."))
        }
        (true, false) => failed(
            NAME,
            format!(
                "The self-hosted GitLab Duo Agent Platform service at {address} is not reachable. Check that TLS is \
                 set alike on both sides."
            ),
        ),
    }
}

fn cloud_agent_platform(state: &State) -> Value {
    judged(
        "duo_agent_platform_probe",
        state.instance.cloud_reachable,
        "The cloud-connected GitLab Duo Agent Platform service at duo-workflow-svc.runway.gitlab.net:443 is operational.",
        "The cloud-connected GitLab Duo Agent Platform service at duo-workflow-svc.runway.gitlab.net:443 is not reachable.",
    )
}

fn billing(state: &State) -> Vec<Value> {
    ["billing_customers_dot_probe", "billing_cloud_ai_gateway_probe", "billing_duo_workflow_service_probe"]
        .map(|name| judged(name, state.instance.cloud_reachable, "reachable.", "connection failed."))
        .to_vec()
}

/// The probes of an instance that uses GitLab's cloud.
fn default_set(state: &State) -> Vec<Value> {
    let online = state.license.as_ref().is_some_and(|license| license.kind == "online_cloud");
    let mut results = vec![judged(
        "license_probe",
        online,
        "Subscription can be synchronized.",
        "Subscription for this instance cannot be synchronized. Contact GitLab customer support to upgrade your license.",
    )];
    for host in CLOUD_HOSTS {
        results.push(judged(
            "host_probe",
            state.instance.cloud_reachable,
            &format!("{host} reachable."),
            &format!("{host} connection failed: Net::OpenTimeout.\n\nIf you use firewalls or proxy servers, they must allow traffic to this host."),
        ));
    }
    results.push(judged(
        "access_probe",
        online,
        "Subscription synchronized successfully.",
        "Subscription has not yet been synchronized. Synchronize your subscription.",
    ));
    results.push(judged(
        "token_probe",
        online && state.instance.cloud_token,
        "Access credentials are valid.",
        "Access credentials not found. Synchronize your subscription.",
    ));
    results
}

fn judged(name: &str, success: bool, good: &str, bad: &str) -> Value {
    if success { passed(name, good.to_owned()) } else { failed(name, bad.to_owned()) }
}

fn passed(name: &str, message: String) -> Value {
    json!({"name": name, "success": true, "message": message, "details": {}, "errors": []})
}

fn failed(name: &str, message: String) -> Value {
    json!({"name": name, "success": false, "message": message, "details": {}, "errors": [message]})
}
