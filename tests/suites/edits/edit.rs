//! Edits of specs as people make them: valid ones, at the limits, taken back at once, and mistaken.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::declared::{Assignment, Declared, FEATURES, Model, Target};

/// Identifiers that the simulated Bedrock serves.
const IDENTIFIERS: [&str; 4] = [
    "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
    "bedrock/mistral.mistral-7b-instruct-v0:2",
    "bedrock/mistral.mistral-small-2402-v1:0",
    "bedrock/mistral.mistral-large-2402-v1:0",
];
const MODELS: usize = 4;
const ASSIGNMENTS: usize = 4;

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Creates or changes a resource: kind, name, spec.
    Apply(&'static str, String, Value),
    /// The same, and back at once.
    ApplyAndRevert(&'static str, String, Value, Value),
    /// Deletes a resource.
    Delete(&'static str, String),
    /// A patch of the spec that the API server refuses.
    Refused(&'static str, String, Value),
}

/// The spec of a model as the world has it.
pub fn model_spec(model: &Model) -> Value {
    json!({
        "gatewayRef": {"name": "duo"}, "displayName": model.display_name, "platform": "Bedrock",
        "family": if model.identifier.contains("mixtral") { "Mixtral" } else { "Mistral" },
        "identifier": model.identifier,
    })
}

/// The spec of an assignment as the world has it.
pub fn assignment_spec(item: &Assignment) -> Value {
    let features: Vec<&str> = item.features.iter().map(|feature| FEATURES[*feature].0).collect();
    let (model, provider) = match &item.target {
        Target::Model(name) => (json!({"name": name}), Value::Null),
        Target::Disabled => (Value::Null, json!("Disabled")),
    };
    json!({"gatewayRef": {"name": "duo"}, "features": features, "modelRef": model, "provider": provider})
}

/// The next edit; `declared` becomes what it leads to.
pub fn next(rng: &mut Rng, declared: &mut Declared) -> Edit {
    loop {
        let few = declared.models.len() < 2 && rng.u8(..3) > 0;
        let edit = match rng.u8(..20) {
            _ if few => add_or_change_model(rng, declared),
            0..4 => add_or_change_model(rng, declared),
            4..9 => add_or_change_assignment(rng, declared),
            9..11 => timeout(rng, declared),
            11..13 => reverted(rng, declared),
            13..15 => refused(rng, declared),
            15 => name_of_another(rng, declared),
            16 => delete_model(rng, declared),
            17 => delete_assignment(rng, declared),
            _ => missing_model(rng, declared),
        };
        if let Some(edit) = edit {
            declared.settle();
            return edit;
        }
    }
}

fn display_name(rng: &mut Rng) -> String {
    let plain = format!("Model {:04x}", rng.u16(..));
    match rng.u8(..8) {
        // at the limit, and what a form would let through
        0 => format!("{plain} {}", "x".repeat(255 - plain.len() - 1)),
        1 => format!("{plain} \"grün\" & <b> \\ 模型"),
        _ => plain,
    }
}

fn living(declared: &Declared) -> Vec<String> {
    declared.models.iter().filter(|(_, model)| !model.deleting).map(|(name, _)| name.clone()).collect()
}

fn chosen<T: Clone>(rng: &mut Rng, list: &[T]) -> Option<T> {
    (!list.is_empty()).then(|| list[rng.usize(..list.len())].clone())
}

fn free(prefix: &str, count: usize, taken: impl Fn(&String) -> bool) -> Option<String> {
    (0..count).map(|at| format!("{prefix}{at}")).find(|name| !taken(name))
}

fn applied_model(declared: &Declared, name: String) -> Edit {
    let spec = model_spec(&declared.models[&name]);
    Edit::Apply("SelfHostedModel", name, spec)
}

fn add_or_change_model(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let identifier = chosen(rng, &IDENTIFIERS)?.to_owned();
    if let Some(name) = free("m", MODELS, |name| declared.models.contains_key(name)).filter(|_| rng.bool()) {
        let (age, display_name) = (declared.age(), display_name(rng));
        let model = Model { age, display_name, identifier, deleting: false, held: None, synced: false };
        declared.models.insert(name.clone(), model);
        return Some(applied_model(declared, name));
    }
    let name = chosen(rng, &living(declared))?;
    let model = declared.models.get_mut(&name)?;
    if rng.bool() {
        model.display_name = display_name(rng);
    } else {
        model.identifier = identifier;
    }
    Some(applied_model(declared, name))
}

fn some_features(rng: &mut Rng) -> std::collections::BTreeSet<usize> {
    match rng.u8(..6) {
        0 => (0..FEATURES.len()).collect(),
        1 => [rng.usize(..FEATURES.len())].into(),
        _ => {
            let mut some: std::collections::BTreeSet<usize> =
                (0..FEATURES.len()).filter(|_| rng.u8(..3) == 0).collect();
            some.insert(rng.usize(..FEATURES.len()));
            some
        }
    }
}

fn some_target(rng: &mut Rng, declared: &Declared) -> Target {
    let synced: Vec<String> =
        declared.models.iter().filter(|(_, model)| model.synced).map(|(name, _)| name.clone()).collect();
    chosen(rng, &synced).filter(|_| rng.u8(..5) > 0).map_or(Target::Disabled, Target::Model)
}

fn add_or_change_assignment(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let (features, target) = (some_features(rng), some_target(rng, declared));
    let fresh = free("f", ASSIGNMENTS, |name| declared.assignments.contains_key(name)).filter(|_| rng.bool());
    let name = match fresh {
        Some(name) => {
            let age = declared.age();
            declared.assignments.insert(name.clone(), Assignment { age, features, target });
            name
        }
        None => {
            let names: Vec<String> = declared.assignments.keys().cloned().collect();
            let name = chosen(rng, &names)?;
            let item = declared.assignments.get_mut(&name)?;
            match rng.u8(..3) {
                0 => item.features = features,
                1 => item.target = target,
                _ => (item.features, item.target) = (features, target),
            }
            name
        }
    };
    let spec = assignment_spec(&declared.assignments[&name]);
    Some(Edit::Apply("FeatureAssignment", name, spec))
}

fn timeout(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    declared.timeout = [60, 600, rng.u64(61..600)][rng.usize(..3)];
    let spec = json!({"requestTimeout": format!("{}s", declared.timeout)});
    Some(Edit::Apply("AIGateway", "duo".to_owned(), spec))
}

/// An edit that is taken back before anybody can have seen all of it.
fn reverted(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    if rng.bool() {
        let there = living(declared);
        let names: Vec<String> = there.into_iter().filter(|name| declared.models[name].synced).collect();
        let name = chosen(rng, &names)?;
        let back = model_spec(&declared.models[&name]);
        let there = json!({"displayName": display_name(rng)});
        return Some(Edit::ApplyAndRevert("SelfHostedModel", name, there, back));
    }
    let names: Vec<String> = declared.assignments.keys().filter(|name| declared.is_ready(name)).cloned().collect();
    let name = chosen(rng, &names)?;
    let back = assignment_spec(&declared.assignments[&name]);
    let there = json!({"modelRef": null, "provider": "Disabled"});
    Some(Edit::ApplyAndRevert("FeatureAssignment", name, there, back))
}

/// What the CRDs refuse: nothing changes.
fn refused(rng: &mut Rng, declared: &Declared) -> Option<Edit> {
    let (model, assignment) =
        (chosen(rng, &living(declared))?, chosen(rng, &declared.assignments.keys().cloned().collect::<Vec<_>>())?);
    let both = match &declared.assignments[&assignment].target {
        Target::Model(_) => json!({"provider": "Disabled"}),
        Target::Disabled => json!({"modelRef": {"name": "m0"}}),
    };
    let (gateway, shm, fa) = ("AIGateway", "SelfHostedModel", "FeatureAssignment");
    let mistakes = [
        (gateway, "duo".to_owned(), json!({"requestTimeout": "59s"})),
        (gateway, "duo".to_owned(), json!({"requestTimeout": "601s"})),
        (gateway, "duo".to_owned(), json!({"requestTimeout": "1.5m"})),
        (gateway, "duo".to_owned(), json!({"replicas": -1})),
        (shm, model.clone(), json!({"identifier": "mistral.mixtral-8x7b-instruct-v0:1"})),
        (shm, model.clone(), json!({"displayName": ""})),
        (shm, model.clone(), json!({"displayName": "x".repeat(256)})),
        (shm, model.clone(), json!({"gatewayRef": {"name": "other"}})),
        (shm, model.clone(), json!({"endpoint": "http://vllm.example/v1"})),
        (shm, model, json!({"family": "Mixtrall"})),
        (fa, assignment.clone(), json!({"features": []})),
        (fa, assignment.clone(), json!({"features": ["DuoChat", "DuoChat"]})),
        (fa, assignment.clone(), json!({"features": ["duo_chat"]})),
        (fa, assignment.clone(), json!({"gatewayRef": {"name": "other"}})),
        (fa, assignment, both),
    ];
    let (kind, name, spec) = chosen(rng, &mistakes)?;
    Some(Edit::Refused(kind, name, spec))
}

/// A model takes the name of another one: the older of the two wins.
fn name_of_another(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let names = living(declared);
    let (name, other) = (chosen(rng, &names)?, chosen(rng, &names)?);
    if name == other {
        return None;
    }
    let display_name = declared.models[&other].display_name.clone();
    declared.models.get_mut(&name)?.display_name = display_name;
    Some(applied_model(declared, name))
}

/// Also one that is in use, which has to wait then.
fn delete_model(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let name = chosen(rng, &living(declared))?;
    let named = declared.users_of(&name).count() > 0;
    let set = declared.settings.values().any(|(_, on)| on.as_ref() == Some(&name));
    // a feature that nobody declares any more would be waited for, for minutes
    if set && !named {
        return None;
    }
    declared.models.get_mut(&name)?.deleting = true;
    Some(Edit::Delete("SelfHostedModel", name))
}

fn delete_assignment(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let names: Vec<String> = declared.assignments.keys().cloned().collect();
    let name = chosen(rng, &names)?;
    declared.assignments.remove(&name);
    Some(Edit::Delete("FeatureAssignment", name))
}

/// An assignment names a model that does not exist; its features stay as they are.
fn missing_model(rng: &mut Rng, declared: &mut Declared) -> Option<Edit> {
    let deleting = |target: &Target| match target {
        Target::Model(name) => declared.models.get(name).is_some_and(|model| model.deleting),
        Target::Disabled => false,
    };
    let names: Vec<String> =
        declared.assignments.iter().filter(|(_, item)| !deleting(&item.target)).map(|(name, _)| name.clone()).collect();
    let name = chosen(rng, &names)?;
    let item = declared.assignments.get_mut(&name)?;
    item.target = Target::Model("nowhere".to_owned());
    let spec = assignment_spec(item);
    Some(Edit::Apply("FeatureAssignment", name, spec))
}
