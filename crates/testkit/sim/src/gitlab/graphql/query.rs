//! The root fields of queries, and the fields of a self-hosted model.

use std::sync::Arc;

use apollo_compiler::resolvers::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::features;
use super::resolve::{Ctx, error};
use super::variables::model_id;
use crate::gitlab::state::State;
use crate::gitlab::{catalog, probes, rest, rights};

/// A root field of a query.
///
/// # Errors
/// GitLab's access error, or a crash (HTTP 500) for an unknown id.
pub async fn resolve(ctx: &Arc<Ctx>, name: &str, args: &Map<String, Value>) -> Result<Value, FieldError> {
    let caller = &ctx.caller;
    match name {
        "aiSelfHostedModels" => models(ctx, args),
        "aiFeatureSettings" => {
            fetch_definitions(ctx).await;
            features::list(ctx, args)
        }
        "duoSettings" => Ok(if caller.user.is_some() { settings(ctx) } else { Value::Null }),
        "metadata" => Ok(ctx
            .sim
            .read(|state| caller.user.as_ref().map_or(Value::Null, |_| rest::metadata(state, ctx.sim.external_url())))),
        "currentLicense" => admin_only(ctx, current_license),
        "addOnPurchases" => admin_only(ctx, add_ons),
        "cloudConnectorStatus" => {
            if !caller.is_admin() {
                return Err(error(rights::ACCESS_ERROR));
            }
            Ok(probes::status(&ctx.sim, caller).await)
        }
        _ => Ok(Value::Null),
    }
}

/// On an online licence GitLab asks its cloud for model definitions (5 s timeout, cached 30 min): a firewalled
/// instance answers slowly.
async fn fetch_definitions(ctx: &Ctx) {
    let firewalled = ctx.sim.read(|state| {
        let online = state.license.as_ref().is_some_and(|license| license.kind == "online_cloud");
        online && !state.instance.cloud_reachable
    });
    if firewalled && ctx.sim.definitions_due() {
        tokio::time::sleep(ctx.sim.pace.cloud_timeout).await;
    }
}

fn admin_only(ctx: &Ctx, read: fn(&State) -> Value) -> Result<Value, FieldError> {
    if ctx.caller.is_admin() { Ok(ctx.sim.read(read)) } else { Err(error(rights::ACCESS_ERROR)) }
}

/// Newest first; without accepted terms models of beta families are left out, but found by id.
fn models(ctx: &Ctx, args: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.read(|state| {
        if !rights::manage_self_hosted_models(state, &ctx.caller) {
            return Ok(Value::Null);
        }
        if let Some(id) = args.get("id").filter(|id| !id.is_null()) {
            let id = model_id(id).map_err(error)?;
            return if state.models.contains_key(&id) { Ok(json!([{"$model": id}])) } else { Err(ctx.crash()) };
        }
        let listed = state
            .models
            .values()
            .rev()
            .filter(|model| state.terms_accepted || !catalog::family_is_beta(&model.family))
            .map(|model| json!({"$model": model.id}));
        Ok(Value::Array(listed.collect()))
    })
}

/// A field of a stored model.
pub fn model_field(ctx: &Ctx, id: u64, name: &str) -> Value {
    ctx.sim.read(|state| {
        let Some(model) = state.models.get(&id) else { return Value::Null };
        match name {
            "id" => json!(model.gid()),
            "name" => json!(model.name),
            "model" => json!(model.family),
            "modelDisplayName" => json!(catalog::family_display_name(&model.family)),
            "endpoint" => json!(model.endpoint),
            "identifier" => json!(model.identifier),
            "apiToken" => json!(model.api_token),
            "hasApiToken" => json!(model.api_token.is_some()),
            "provider" => json!(model.provider),
            "releaseState" => json!(if catalog::family_is_beta(&model.family) { "BETA" } else { "GA" }),
            "createdAt" => time(model.created_at),
            "updatedAt" => time(model.updated_at),
            "featureSettings" => features::using(state, id),
            _ => Value::Null,
        }
    })
}

/// Each field is authorised on its own and reads as null without the right.
pub fn settings(ctx: &Ctx) -> Value {
    ctx.sim.read(|state| {
        let settings = &state.settings;
        let mut answer = Map::new();
        answer.insert("updatedAt".to_owned(), time(settings.updated_at));
        if rights::manage_self_hosted_models(state, &ctx.caller) {
            answer.insert("aiGatewayUrl".to_owned(), json!(settings.ai_gateway_url));
            answer.insert("aiGatewayTimeoutSeconds".to_owned(), json!(settings.ai_gateway_timeout_seconds));
            answer.insert("duoAgentPlatformServiceUrl".to_owned(), json!(settings.duo_agent_platform_service_url));
            answer.insert(
                "selfHostedDuoAgentPlatformServiceSecure".to_owned(),
                json!(settings.self_hosted_duo_agent_platform_service_secure),
            );
        }
        if rights::update_duo_core_setting(state, &ctx.caller) {
            answer.insert("duoCoreFeaturesEnabled".to_owned(), json!(settings.duo_core_features_enabled));
            answer.insert("duoCliEnabled".to_owned(), json!(settings.duo_cli_enabled));
        }
        Value::Object(answer)
    })
}

fn current_license(state: &State) -> Value {
    state.license.as_ref().map_or(Value::Null, |license| {
        json!({
            "id": "gid://gitlab/License/1",
            "type": license.kind,
            "plan": license.plan,
            "startsAt": license.starts_at,
            "expiresAt": license.expires_at,
            "blockChangesAt": license.expires_at,
            "createdAt": license.starts_at,
            "activatedAt": license.starts_at,
            "trial": license.trial,
            "lastSync": if license.kind == "online_cloud" { time(Timestamp::now()) } else { Value::Null },
            "usersInLicenseCount": license.users,
            "billableUsersCount": state.users.len(),
            "maximumUserCount": state.users.len(),
            "usersOverLicenseCount": 0,
            "name": "Simulated", "company": "Simulated", "email": "licence@example.com",
        })
    })
}

fn add_ons(state: &State) -> Value {
    let seats = state.users.iter().filter(|user| user.duo_seat).count();
    let listed = state.add_ons.iter().enumerate().filter(|(_, add_on)| add_on.active).map(|(index, add_on)| {
        json!({
            "id": format!("gid://gitlab/GitlabSubscriptions::AddOnPurchase/{}", index + 1),
            "name": add_on.name.to_uppercase(),
            "purchasedQuantity": add_on.purchased,
            "assignedQuantity": seats,
        })
    });
    Value::Array(listed.collect())
}

/// ISO 8601 with whole seconds, as GitLab's `Time`.
pub fn time(at: Timestamp) -> Value {
    Value::String(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
