//! Feature settings: reading them, and assigning features to models.

use apollo_compiler::resolvers::FieldError;
use serde_json::{Map, Value, json};

use super::resolve::{Ctx, error};
use super::variables::model_id;
use crate::gitlab::catalog::{self, Feature};
use crate::gitlab::rights;
use crate::gitlab::state::{AllowList, FeatureRow, State};

/// `aiFeatureSettings`: one entry for each allowed feature, or the rows of one model. Not authorised as a list.
///
/// # Errors
/// An ill-formed id.
pub fn list(ctx: &Ctx, args: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.read(|state| {
        if let Some(id) = args.get("selfHostedModelId").filter(|id| !id.is_null()) {
            return Ok(using(state, model_id(id).map_err(error)?));
        }
        let listed = allowed(state).map(|feature| json!({"$feature": feature.key}));
        Ok(Value::Array(listed.collect()))
    })
}

/// Stable features, with accepted terms the beta ones too; two are not offered on Premium.
pub fn allowed(state: &State) -> impl Iterator<Item = &'static Feature> {
    let terms = state.terms_accepted;
    let premium = state.license.as_ref().is_some_and(|license| license.plan == "premium");
    catalog::features(state.instance.version)
        .filter(move |feature| (feature.always_listed || terms) && !(premium && feature.hidden_on_premium))
}

/// The rows of a model, whatever their provider says.
pub fn using(state: &State, model: u64) -> Value {
    let rows = state.features.iter().filter(|(_, row)| row.model_id == Some(model));
    Value::Array(rows.map(|(key, _)| json!({"$feature": key})).collect())
}

/// A field of a feature setting.
pub fn field(ctx: &Ctx, key: &str, name: &str) -> Value {
    ctx.sim.read(|state| {
        let version = state.instance.version;
        let row = state.features.get(key);
        let feature = catalog::find(version, key);
        let may_manage = rights::manage_self_hosted_models(state, &ctx.caller);
        match name {
            "feature" => json!(key),
            "title" => json!(feature.map(|feature| feature.title)),
            "mainFeature" => json!(feature.map(|feature| feature.main_feature)),
            "releaseState" => json!(feature.map(|feature| feature.release_state)),
            "compatibleLlms" => json!(feature.map(|feature| feature.families(version))),
            "provider" => json!(row.map_or("unassigned", |row| row.provider.as_str())),
            "selfHostedModel" if may_manage => {
                row.and_then(|row| row.model_id).map_or(Value::Null, |id| json!({"$model": id}))
            }
            // GitLab fills this list only when it finds the word in the query's text
            "validModels" if may_manage && ctx.query.contains("validModels") => {
                let families = feature.map(|feature| feature.families(version)).unwrap_or_default();
                let valid = state.models.values().rev().filter(|model| {
                    families.contains(&model.family.as_str())
                        && (state.terms_accepted || !catalog::family_is_beta(&model.family))
                });
                Value::Array(valid.map(|model| json!({"$model": model.id})).collect())
            }
            "validModels" => json!([]),
            "validGitlabModels" if vendored(state) && ctx.query.contains("validGitlabModels") => offered(),
            "validGitlabModels" => json!([]),
            "defaultGitlabModel" if vendored(state) => offered()[0].clone(),
            "gitlabModel" => row.and_then(|row| row.offered_model_ref.as_deref()).map_or(Value::Null, offered_model),
            "allowList" => state.allow_lists.get(key).map_or(Value::Null, allow_list),
            _ => Value::Null,
        }
    })
}

/// GitLab-managed models are there: online licence, no Amazon Q, GitLab's cloud reachable.
fn vendored(state: &State) -> bool {
    !state.is_offline() && !state.instance.amazon_q && state.instance.cloud_reachable
}

fn offered() -> Value {
    json!([offered_model("claude_sonnet_simulated"), offered_model("gpt_simulated")])
}

fn offered_model(reference: &str) -> Value {
    json!({"ref": reference, "name": reference, "modelProvider": "Simulated", "modelDescription": null,
           "costIndicator": null})
}

/// `aiFeatureSettingUpdate`: each feature is upserted on its own, failures do not name the feature.
///
/// # Errors
/// No right at all, or not for one of the arguments.
pub fn update(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.write(|state| {
        let self_hosted = rights::manage_self_hosted_models(state, &ctx.caller);
        let managed = rights::manage_instance_model_selection(state, &ctx.caller);
        if !self_hosted && !managed {
            return Err(error(rights::ACCESS_ERROR));
        }
        for (argument, right) in [("aiSelfHostedModelId", self_hosted), ("offeredModelRef", managed)] {
            // without the wider right an offered model is refused by what it lacks, not by a missing permission
            let refused = !right && input.get(argument).is_some_and(|value| !value.is_null());
            if refused && !(argument == "offeredModelRef" && state.is_offline()) {
                let name = if argument == "offeredModelRef" { "offered_model_ref" } else { "ai_self_hosted_model_id" };
                return Err(error(format!("You don't have permission to update the setting {name}.")));
            }
        }
        let named: Vec<String> = input
            .get("features")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect())
            .unwrap_or_default();
        if named.is_empty() {
            return Ok(json!({"aiFeatureSettings": [], "errors": ["At least one feature is required"]}));
        }
        let mut done = Vec::new();
        let mut errors = Vec::new();
        for key in named {
            match upsert(state, &key, input) {
                Ok(changed) => {
                    state.revision += u64::from(changed);
                    done.push(json!({"$feature": key}));
                }
                Err(message) => errors.push(message),
            }
        }
        Ok(json!({"aiFeatureSettings": done, "errors": errors}))
    })
}

/// Stores one feature's row; says whether it differs from before.
fn upsert(state: &mut State, key: &str, input: &Map<String, Value>) -> Result<bool, String> {
    let provider = input.get("provider").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let before = state.features.get(key).cloned();
    let mut row = before.clone().unwrap_or(FeatureRow {
        provider: "unassigned".to_owned(),
        model_id: None,
        offered_model_ref: None,
    });
    row.provider = provider;
    match input.get("aiSelfHostedModelId") {
        Some(Value::Null) => row.model_id = None,
        Some(id) => row.model_id = Some(model_id(id)?),
        None => {}
    }
    match row.provider.as_str() {
        "self_hosted" => {
            let Some(model) = row.model_id.and_then(|id| state.models.get(&id)) else {
                return Err("Self hosted model can't be blank".to_owned());
            };
            let feature = catalog::find(state.instance.version, key);
            if let Some(feature) = feature
                && !feature.families(state.instance.version).contains(&model.family.as_str())
            {
                let family = catalog::capitalise(&model.family);
                return Err(format!("{family} is incompatible with the {} feature", feature.title));
            }
        }
        "vendored" => {
            let reference = input.get("offeredModelRef").and_then(Value::as_str).filter(|text| !text.is_empty());
            if state.is_offline() {
                if reference.is_some() {
                    return Err("No model definition given for validation".to_owned());
                }
            } else if !state.instance.cloud_reachable {
                return Err("Failed to fetch model definitions".to_owned());
            }
            row.model_id = None;
            row.offered_model_ref = reference.map(str::to_owned);
        }
        _ => {}
    }
    let changed = before.as_ref() != Some(&row);
    state.features.insert(key.to_owned(), row);
    Ok(changed)
}

/// `aiFeatureSettingModelAllowlistUpdate` (19.1): GitLab-managed models only.
///
/// # Errors
/// No right, or an offline licence.
pub fn update_allow_list(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.write(|state| {
        if !rights::manage_instance_model_selection(state, &ctx.caller) {
            return Err(error(rights::ACCESS_ERROR));
        }
        let refs = input.get("allowlistModelRefs").and_then(Value::as_array).cloned().unwrap_or_default();
        let list = AllowList {
            enabled: input.get("allowlistEnabled").and_then(Value::as_bool).unwrap_or_default(),
            refs: refs.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        };
        let answer = allow_list(&list);
        let feature = input.get("feature").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        state.allow_lists.insert(feature, list);
        state.revision += 1;
        Ok(json!({"allowList": answer, "errors": []}))
    })
}

fn allow_list(list: &AllowList) -> Value {
    let models: Vec<Value> = list
        .refs
        .iter()
        .map(|name| json!({"ref": name, "name": name, "allowed": true, "currentlyChosenModelForFeature": false}))
        .collect();
    json!({"enabled": list.enabled, "models": models})
}
