//! `aiSelfHostedModelConnectionCheck`: really calls the gateway with an unsaved model and judges its answer as Rails.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::asks::client::{self, GatewayCall};
use super::asks::{metadata, token};
use super::graphql::models;
use super::rights::Caller;
use super::sim::Sim;
use super::state::Model;

const NAME: &str = "model_configuration_probe";
const UNKNOWN: &str = "Unknown error. Make sure your self-hosted model is running and that your AI Gateway URL is \
                       configured correctly.";

/// The probe result for the input of the mutation.
///
/// Up to 18.x the gateway has 3 s, from 19.0 15 s.
pub async fn run(sim: &Arc<Sim>, caller: &Caller, input: &Map<String, Value>) -> Value {
    let (url, version) = sim.read(|state| (state.settings.ai_gateway_url.clone(), state.instance.version));
    let Some(url) = url else {
        return failed(
            "You have not configured your local AI gateway URL. Configure the URL in the GitLab Duo configuration \
             settings.",
        );
    };
    let now = jiff::Timestamp::now();
    let model = models::with_input(
        Model {
            id: 0,
            name: String::new(),
            family: String::new(),
            endpoint: None,
            identifier: String::new(),
            api_token: None,
            provider: "API".to_owned(),
            created_at: now,
            updated_at: now,
        },
        input,
    );
    let call = GatewayCall {
        url: format!("{url}/v1/prompts/model_configuration%2Fcheck"),
        // the check's unit primitive is that of code completion, whatever the model is for
        token: token::for_feature(sim, "code_completions"),
        user: caller.user.clone(),
        body: json!({"inputs": {}, "stream": false, "model_metadata": metadata::of(&model)}),
        timeout: Duration::from_secs(if version.at_least(19, 0) { 15 } else { 3 }),
        extra_headers: Vec::new(),
    };
    match client::post(sim, &call).await {
        Ok(answer) if answer.status == 200 => json!({
            "name": NAME, "success": true, "message": "Successfully connected to the self-hosted model",
            "details": {}, "errors": [],
        }),
        Ok(answer) => failed(&format!("ERROR: {}", judged(answer.status, &answer.body))),
        Err(error) => failed(&format!("ERROR: {error}")),
    }
}

/// Only 421 and a list `detail` tell the administrator anything.
fn judged(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let detail = &body["detail"];
    if status == 421 {
        let text = detail.as_str().unwrap_or_default();
        return format!("The self-hosted model server returned code {text}");
    }
    let reason = match detail {
        Value::Array(list) => list.first().and_then(|first| first["msg"].as_str()).unwrap_or(UNKNOWN),
        // the reason of `{"error": …}` is lost
        Value::Null if body.get("error").is_some() => "",
        _ => UNKNOWN,
    };
    format!("AI Gateway returned code {status}: {reason}")
}

fn failed(message: &str) -> Value {
    json!({"name": NAME, "success": false, "message": message, "details": {}, "errors": [message]})
}
