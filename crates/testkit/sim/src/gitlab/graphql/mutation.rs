//! The root fields of mutations: what all have in common, then each by its name.

use std::sync::Arc;

use apollo_compiler::resolvers::FieldError;
use serde_json::{Map, Value, json};

use super::resolve::{Ctx, error};
use super::{features, models, settings};
use crate::gitlab::{connection_check, rights};

/// A payload's business errors.
pub type Errors = Vec<String>;

/// A root field of a mutation.
///
/// # Errors
/// No `api` scope, no right, a read-only instance, or a crash (HTTP 500).
pub async fn resolve(ctx: &Arc<Ctx>, name: &str, args: &Map<String, Value>) -> Result<Value, FieldError> {
    if ctx.caller.user.is_none() || !ctx.caller.has_scope("api") {
        return Err(error(rights::ACCESS_ERROR));
    }
    if ctx.sim.read(|state| state.instance.read_only) {
        return Err(error("You cannot perform write operations on a read-only instance"));
    }
    let empty = Map::new();
    let input = args.get("input").and_then(Value::as_object).unwrap_or(&empty);
    let mut payload = match name {
        "aiSelfHostedModelCreate" => models::create(ctx, input)?,
        "aiSelfHostedModelUpdate" => models::update(ctx, input)?,
        "aiSelfHostedModelDelete" => models::delete(ctx, input)?,
        "aiSelfHostedModelConnectionCheck" => {
            if !ctx.sim.read(|state| rights::manage_self_hosted_models(state, &ctx.caller)) {
                return Err(error(rights::ACCESS_ERROR));
            }
            let result = connection_check::run(&ctx.sim, &ctx.caller, input).await;
            json!({"result": result, "errors": []})
        }
        "aiFeatureSettingUpdate" => features::update(ctx, input)?,
        "aiFeatureSettingModelAllowlistUpdate" => features::update_allow_list(ctx, input)?,
        "duoSettingsUpdate" => settings::update(ctx, input).await?,
        _ => return Ok(Value::Null),
    };
    if let Some(errors) = payload.get("errors").and_then(Value::as_array) {
        let errors: Errors = errors.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        ctx.note(&errors);
    }
    if let (Some(id), Some(payload)) = (input.get("clientMutationId"), payload.as_object_mut()) {
        payload.insert("clientMutationId".to_owned(), id.clone());
    }
    Ok(payload)
}
