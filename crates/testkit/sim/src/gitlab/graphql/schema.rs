//! The schema of a release: GitLab's documented SDL of its line, minus what the release does not have yet.

use apollo_compiler::response::JsonMap;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema, introspection};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::gitlab::catalog;
use crate::gitlab::version::Version;

const NEWER: &str = include_str!("../../../schema/gitlab-19.5.graphql");
const OLDER: &str = include_str!("../../../schema/gitlab-18.9.graphql");
const INTROSPECTION: &str = include_str!("../../../schema/introspection.graphql");

/// A field that every object type of the executed schema has and that always reads as null; fields dropped by
/// `@gl_introduced` are replaced by it. It is not in the published schema.
pub const ABSENT: &str = "glAbsent_";

/// A release's schema, ready to execute and to publish.
pub struct Schemas {
    /// What requests are validated against and executed with.
    pub executed: Valid<Schema>,
    /// The stored answer to every introspection query.
    pub introspection: Bytes,
    /// Which documented line it derives from: `19.5` or `18.9`.
    pub line: &'static str,
    /// Nothing was taken out of that line.
    pub whole: bool,
}

/// Builds the schema of a release. `filler_types` unrelated types swell the stored introspection answer to the size a
/// real instance's has.
///
/// # Errors
/// The SDL does not parse or does not validate.
pub fn build(version: Version, filler_types: usize) -> Result<Schemas, String> {
    let (sdl, line) = if version.has_model_provider() { (NEWER, "19.5") } else { (OLDER, "18.9") };
    let mut schema = Schema::parse(format!("{sdl}\ndirective @gl_introduced(version: String!) on FIELD\n"), line)
        .map_err(|error| error.to_string())?;
    remove_newer(&mut schema, version);
    let published = schema.clone().validate().map_err(|error| error.to_string())?;
    let introspection = introspect(&published, filler_types)?;

    let mut text = schema.to_string();
    for (name, ty) in &schema.types {
        if matches!(ty, ExtendedType::Object(_)) && !name.starts_with("__") {
            text.push_str(&format!("\nextend type {name} {{ {ABSENT}: Boolean }}\n"));
        }
    }
    let executed = Schema::parse_and_validate(text, "executed.graphql").map_err(|error| error.to_string())?;
    let whole = version.at_least(19, 1) || (version.at_least(18, 7) && !version.has_model_provider());
    Ok(Schemas { executed, introspection, line, whole })
}

/// Takes out what came after `version`.
fn remove_newer(schema: &mut Schema, version: Version) {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    let both = |fields: &mut Vec<(&str, &str)>, names: &[&'static str]| {
        for name in names {
            fields.push(("DuoSettings", name));
            fields.push(("DuoSettingsUpdateInput", name));
        }
    };
    if !version.at_least(19, 1) {
        fields.push(("Mutation", "aiFeatureSettingModelAllowlistUpdate"));
        fields.push(("AiFeatureSetting", "allowList"));
    }
    if !version.at_least(18, 7) {
        both(&mut fields, &["aiGatewayTimeoutSeconds", "minimumAccessLevelExecute"]);
        both(&mut fields, &["minimumAccessLevelExecuteAsync", "minimumAccessLevelManage"]);
        both(&mut fields, &["minimumAccessLevelEnableOnProjects"]);
    }
    if !version.at_least(18, 4) {
        both(&mut fields, &["duoAgentPlatformServiceUrl"]);
    }
    if !version.at_least(18, 0) {
        both(&mut fields, &["duoCoreFeaturesEnabled"]);
    }
    for (type_name, field) in fields {
        match schema.types.get_mut(type_name) {
            Some(ExtendedType::Object(object)) => {
                object.make_mut().fields.shift_remove(field);
            }
            Some(ExtendedType::InputObject(input)) => {
                input.make_mut().fields.shift_remove(field);
            }
            _ => {}
        }
    }
    if let Some(ExtendedType::Enum(features)) = schema.types.get_mut("AiFeatures") {
        for feature in catalog::all_features() {
            if catalog::find(version, feature.key).is_none() {
                features.make_mut().values.shift_remove(feature.key.to_uppercase().as_str());
            }
        }
    }
}

fn introspect(schema: &Valid<Schema>, filler_types: usize) -> Result<Bytes, String> {
    let document = ExecutableDocument::parse_and_validate(schema, INTROSPECTION, "introspection.graphql")
        .map_err(|error| error.to_string())?;
    let operation = document.operations.get(None).map_err(|error| error.message().to_string())?;
    let answer = introspection::partial_execute(
        schema,
        &schema.implementers_map(),
        &document,
        operation,
        &Valid::assume_valid(JsonMap::new()),
    )
    .map_err(|error| error.message().to_string())?;
    let mut answer = serde_json::to_value(&answer).map_err(|error| error.to_string())?;
    if let Some(Value::Array(types)) = answer.pointer_mut("/data/__schema/types") {
        types.extend((0..filler_types).map(filler));
    }
    serde_json::to_vec(&answer).map(Bytes::from).map_err(|error| error.to_string())
}

/// One of the thousands of types of a real GitLab that have nothing to do with Duo; about 2 kB.
fn filler(number: usize) -> Value {
    let fields: Vec<Value> = (0..10)
        .map(|field| {
            json!({"name": format!("field{field}"), "description": "Some property of an unrelated type.", "args": [],
                   "type": {"kind": "SCALAR", "name": "String", "ofType": null},
                   "isDeprecated": false, "deprecationReason": null})
        })
        .collect();
    json!({"kind": "OBJECT", "name": format!("UnrelatedType{number}"), "description": "Not about Duo.",
           "fields": fields, "inputFields": null, "interfaces": [], "enumValues": null, "possibleTypes": null})
}
