//! `duoSettingsUpdate`.

use apollo_compiler::resolvers::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::query;
use super::resolve::{Ctx, error};
use crate::gitlab::{rights, urls};

const MAX_URL: usize = 2048;
const TIMEOUT: std::ops::RangeInclusive<i64> = 60..=600;

/// Arguments by the right they need; flagged ones are silently ignored, as their flags are off.
const SELF_HOSTED: [(&str, &str); 4] = [
    ("aiGatewayUrl", "ai_gateway_url"),
    ("aiGatewayTimeoutSeconds", "ai_gateway_timeout_seconds"),
    ("duoAgentPlatformServiceUrl", "duo_agent_platform_service_url"),
    ("selfHostedDuoAgentPlatformServiceSecure", "self_hosted_duo_agent_platform_service_secure"),
];
const CORE: [(&str, &str); 2] =
    [("duoCoreFeaturesEnabled", "duo_core_features_enabled"), ("duoCliEnabled", "duo_cli_enabled")];

/// `duoSettingsUpdate`: one forbidden argument fails the whole mutation, what is left out stays.
///
/// # Errors
/// A forbidden argument, or null where it is refused.
pub async fn update(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    let (self_hosted, core) = ctx.sim.read(|state| {
        (rights::manage_self_hosted_models(state, &ctx.caller), rights::update_duo_core_setting(state, &ctx.caller))
    });
    for (arguments, right) in [(&SELF_HOSTED[..], self_hosted), (&CORE[..], core)] {
        for (argument, setting) in arguments {
            if input.contains_key(*argument) && !right {
                return Err(error(format!("You don't have permission to update the setting {setting}.")));
            }
        }
    }
    for (argument, _) in CORE {
        if input.get(argument).is_some_and(Value::is_null) {
            return Err(error(format!("{argument} can't be null")));
        }
    }
    let gateway_url = input.get("aiGatewayUrl").map(normalised);
    let mut errors = Vec::new();
    if let Some(Some(url)) = &gateway_url {
        errors.extend(refused_url(ctx, url).await);
    }
    errors.extend(refused_timeout(input));
    let agent_url = input.get("duoAgentPlatformServiceUrl").map(normalised);
    if let Some(Some(url)) = &agent_url
        && url.chars().count() > MAX_URL
    {
        errors.push(format!("Duo agent platform service url is too long (maximum is {MAX_URL} characters)"));
    }
    if errors.is_empty() {
        ctx.sim.write(|state| {
            let before = json!(state.settings);
            let settings = &mut state.settings;
            let flag = |name: &str| input.get(name).and_then(Value::as_bool);
            if let Some(url) = gateway_url {
                settings.ai_gateway_url = url;
            }
            if let Some(url) = agent_url {
                settings.duo_agent_platform_service_url = url;
            }
            if let Some(seconds) = input.get("aiGatewayTimeoutSeconds").and_then(Value::as_i64) {
                settings.ai_gateway_timeout_seconds = seconds;
            }
            if let Some(secure) = flag("selfHostedDuoAgentPlatformServiceSecure") {
                settings.self_hosted_duo_agent_platform_service_secure = secure;
            }
            if let Some(enabled) = flag("duoCoreFeaturesEnabled") {
                settings.duo_core_features_enabled = enabled;
            }
            if let Some(enabled) = flag("duoCliEnabled") {
                settings.duo_cli_enabled = enabled;
            }
            if json!(settings) != before {
                settings.updated_at = Timestamp::now();
                state.revision += 1;
            }
        });
    }
    Ok(json!({"duoSettings": query::settings(ctx), "errors": errors}))
}

/// A blank URL becomes null, one `/` at the end is cut.
fn normalised(value: &Value) -> Option<String> {
    let text = value.as_str().unwrap_or_default();
    let text = text.strip_suffix('/').unwrap_or(text);
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// Private networks pass when saving; localhost and loopback need the allow list; the host must resolve for GitLab.
async fn refused_url(ctx: &Ctx, url: &str) -> Option<String> {
    if url.chars().count() > MAX_URL {
        return Some(format!("Ai gateway url is too long (maximum is {MAX_URL} characters)"));
    }
    let allowlist = ctx.sim.read(|state| state.instance.outbound_allowlist.clone());
    let policy = urls::Policy { local_network: true, localhost: false, allowlist: &allowlist };
    urls::check(url, policy, &ctx.sim.hosts).await.err().map(|reason| format!("Ai gateway url {reason}"))
}

fn refused_timeout(input: &Map<String, Value>) -> Option<String> {
    let value = input.get("aiGatewayTimeoutSeconds")?;
    let problem = match value.as_i64() {
        None => "is not a number".to_owned(),
        Some(seconds) if seconds < *TIMEOUT.start() => {
            format!("must be greater than or equal to {}", TIMEOUT.start())
        }
        Some(seconds) if seconds > *TIMEOUT.end() => format!("must be less than or equal to {}", TIMEOUT.end()),
        Some(_) => return None,
    };
    Some(format!("Ai gateway timeout seconds {problem}"))
}
