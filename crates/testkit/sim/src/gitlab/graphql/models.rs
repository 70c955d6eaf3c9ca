//! Creating, changing and deleting self-hosted models.

use apollo_compiler::resolvers::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resolve::{Ctx, error};
use super::variables::model_id;
use crate::gitlab::state::{Model, State};
use crate::gitlab::version::Version;
use crate::gitlab::{rights, urls};

/// The gateway takes 255 only: a longer one saves here and fails there.
const MAX_ENDPOINT: usize = 2048;
const MAX_IDENTIFIER: usize = 255;
/// A database check, not a validation: longer names end as HTTP 500.
const MAX_NAME: usize = 255;

/// `aiSelfHostedModelCreate`.
///
/// # Errors
/// No right; a crash for a name only the database refuses.
pub fn create(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.write(|state| {
        authorize(state, ctx)?;
        let now = Timestamp::now();
        let model = with_input(
            Model {
                id: state.next_model_id,
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
        let errors = invalid(state, &model);
        if !errors.is_empty() {
            return Ok(json!({"selfHostedModel": null, "errors": [errors.join(", ")]}));
        }
        if model.name.chars().count() > MAX_NAME {
            return Err(ctx.crash());
        }
        let id = model.id;
        state.next_model_id += 1;
        state.models.insert(id, model);
        state.revision += 1;
        Ok(json!({"selfHostedModel": {"$model": id}, "errors": []}))
    })
}

/// `aiSelfHostedModelUpdate`. An unknown id is not caught by GitLab's code: HTTP 500.
///
/// # Errors
/// No right, ill-formed id, or a crash.
pub fn update(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.write(|state| {
        authorize(state, ctx)?;
        let id = model_id(input.get("id").unwrap_or(&Value::Null)).map_err(error)?;
        let Some(stored) = state.models.get(&id).cloned() else { return Err(ctx.crash()) };
        let mut model = with_input(stored.clone(), input);
        let errors = invalid(state, &model);
        if !errors.is_empty() {
            return Ok(json!({"selfHostedModel": null, "errors": [errors.join(", ")]}));
        }
        if model.name.chars().count() > MAX_NAME {
            return Err(ctx.crash());
        }
        // the encrypted column differs on every assignment, so a token that is sent is always a change
        let token_sent = input.get("apiToken").and_then(Value::as_str).is_some_and(|token| !token.is_empty());
        if token_sent || differs(&stored, &model) {
            model.updated_at = Timestamp::now();
            state.models.insert(id, model);
            state.revision += 1;
        }
        Ok(json!({"selfHostedModel": {"$model": id}, "errors": []}))
    })
}

/// `aiSelfHostedModelDelete`: never refused for a model in use; the rows of its features vanish with it.
///
/// # Errors
/// No right, or an ill-formed id.
pub fn delete(ctx: &Ctx, input: &Map<String, Value>) -> Result<Value, FieldError> {
    ctx.sim.write(|state| {
        authorize(state, ctx)?;
        let id = model_id(input.get("id").unwrap_or(&Value::Null)).map_err(error)?;
        if state.destroy_model(id) {
            state.revision += 1;
            Ok(json!({"errors": []}))
        } else {
            Ok(json!({"errors": ["Self-hosted model not found"]}))
        }
    })
}

/// A model with the input's attributes assigned; what the input leaves out stays.
pub fn with_input(mut model: Model, input: &Map<String, Value>) -> Model {
    let text = |name: &str| input.get(name).map(|value| value.as_str().unwrap_or_default().to_owned());
    if let Some(name) = text("name") {
        model.name = name;
    }
    if let Some(family) = text("model") {
        model.family = family.to_lowercase();
    }
    if let Some(endpoint) = text("endpoint") {
        model.endpoint = (!endpoint.is_empty()).then_some(endpoint);
    }
    if let Some(identifier) = text("identifier") {
        model.identifier = identifier;
    }
    if let Some(token) = text("apiToken") {
        model.api_token = (!token.is_empty()).then_some(token);
    }
    if let Some(provider) = text("provider") {
        model.provider = provider;
    }
    model
}

fn authorize(state: &State, ctx: &Ctx) -> Result<(), FieldError> {
    if rights::manage_self_hosted_models(state, &ctx.caller) { Ok(()) } else { Err(error(rights::ACCESS_ERROR)) }
}

fn differs(before: &Model, after: &Model) -> bool {
    before.name != after.name
        || before.family != after.family
        || before.endpoint != after.endpoint
        || before.identifier != after.identifier
        || before.provider != after.provider
        || before.api_token.is_some() != after.api_token.is_some()
}

/// GitLab's full messages; empty for a valid model. Nothing checks the identifier's prefix.
fn invalid(state: &State, model: &Model) -> Vec<String> {
    let mut errors = Vec::new();
    if model.name.trim().is_empty() {
        errors.push("Name can't be blank".to_owned());
    } else if state.models.values().any(|other| other.id != model.id && other.name == model.name) {
        errors.push("Name has already been taken".to_owned());
    }
    if needs_endpoint(state.instance.version, model) {
        match model.endpoint.as_deref().filter(|endpoint| !endpoint.trim().is_empty()) {
            None => {
                errors.push("Endpoint can't be blank".to_owned());
                errors.push("Endpoint must be a valid URL".to_owned());
            }
            Some(endpoint) => {
                if endpoint.chars().count() > MAX_ENDPOINT {
                    errors.push(format!("Endpoint is too long (maximum is {MAX_ENDPOINT} characters)"));
                } else if let Err(reason) = urls::parse(endpoint) {
                    errors.push(format!("Endpoint is blocked: {reason}"));
                }
            }
        }
    }
    if model.identifier.chars().count() > MAX_IDENTIFIER {
        errors.push(format!("Identifier is too long (maximum is {MAX_IDENTIFIER} characters)"));
    }
    errors
}

/// From 19.0 only for the provider `API`.
fn needs_endpoint(version: Version, model: &Model) -> bool {
    !version.has_model_provider() || model.provider == "API"
}
