//! Reads the few facts needed out of GitLab's introspection answer while it streams by.
//!
//! A production instance answers every introspection query with its whole stored schema, several MB. Each type is parsed
//! and dropped unless it is one of the four that matter, so memory stays at the size of the largest type.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::graphql::TopError;

/// Longest introspection answer that is read.
pub(crate) const INTROSPECTION_LIMIT: usize = 32 * 1024 * 1024;

/// The part of the schema that matters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Fields of `AiSelfHostedModelCreateInput`, and whether each is required.
    pub(crate) create_input: BTreeMap<String, bool>,
    /// Fields of `DuoSettingsUpdateInput`, and whether each is required.
    pub(crate) settings_input: BTreeMap<String, bool>,
    /// Fields of `DuoSettings`.
    pub(crate) settings_fields: BTreeSet<String>,
    /// Values of `AiAcceptedSelfHostedModels`.
    pub(crate) families: BTreeSet<String>,
    /// Values of `AiFeatures`.
    pub(crate) features: BTreeSet<String>,
}

/// What an introspection answer was.
pub(crate) enum Answer {
    /// The schema.
    Schema(Summary),
    /// Top-level errors instead.
    Refused(Vec<TopError>),
}

/// Why an answer could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Longer than the limit.
    TooLarge,
    /// The connection broke; what the reader said.
    Io(io::Error),
    /// Not JSON, or not of that form.
    Form(String),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<TopError>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "__schema", default)]
    schema: Option<Schema>,
}

#[derive(Deserialize)]
struct Schema {
    types: Types,
}

struct Types(Summary);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Type {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    fields: Option<Vec<Named>>,
    #[serde(default)]
    input_fields: Option<Vec<InputField>>,
    #[serde(default)]
    enum_values: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputField {
    name: String,
    #[serde(rename = "type")]
    type_: TypeRef,
    #[serde(default)]
    default_value: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct TypeRef {
    kind: String,
}

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Picker;
        impl<'de> Visitor<'de> for Picker {
            type Value = Types;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of types")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Types, A::Error> {
                let mut summary = Summary::default();
                while let Some(found) = seq.next_element::<Type>()? {
                    summary.take(found);
                }
                Ok(Types(summary))
            }
        }
        deserializer.deserialize_seq(Picker)
    }
}

impl Summary {
    fn take(&mut self, found: Type) {
        let names = |list: Option<Vec<Named>>| list.unwrap_or_default().into_iter().map(|n| n.name).collect();
        let inputs = |list: Option<Vec<InputField>>| {
            let required = |f: &InputField| f.type_.kind == "NON_NULL" && f.default_value.is_none();
            list.unwrap_or_default().into_iter().map(|f| (f.name.clone(), required(&f))).collect()
        };
        match found.name.as_deref() {
            Some("AiSelfHostedModelCreateInput") => self.create_input = inputs(found.input_fields),
            Some("DuoSettingsUpdateInput") => self.settings_input = inputs(found.input_fields),
            Some("DuoSettings") => self.settings_fields = names(found.fields),
            Some("AiAcceptedSelfHostedModels") => self.families = names(found.enum_values),
            Some("AiFeatures") => self.features = names(found.enum_values),
            _ => {}
        }
    }
}

/// Reads an answer of at most `limit` bytes. Blocking: for a blocking thread.
pub(crate) fn read(source: impl Read, limit: usize) -> Result<Answer, ReadError> {
    let mut bounded = Bounded { inner: io::BufReader::with_capacity(64 * 1024, source), left: limit };
    let mut json = serde_json::Deserializer::from_reader(&mut bounded);
    let envelope = Envelope::deserialize(&mut json);
    match envelope {
        Ok(Envelope { data: Some(Data { schema: Some(schema) }), .. }) => Ok(Answer::Schema(schema.types.0)),
        Ok(Envelope { errors, .. }) if !errors.is_empty() => Ok(Answer::Refused(errors)),
        Ok(_) => Err(ReadError::Form("JSON with neither a schema nor errors".into())),
        Err(e) if e.is_io() => {
            let e = io::Error::from(e);
            if e.get_ref().is_some_and(|inner| inner.is::<LimitReached>()) {
                Err(ReadError::TooLarge)
            } else {
                Err(ReadError::Io(e))
            }
        }
        Err(e) => Err(ReadError::Form(format!("invalid JSON at line {} column {}", e.line(), e.column()))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("limit reached")]
struct LimitReached;

struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left = self.left.checked_sub(n).ok_or_else(|| io::Error::other(LimitReached))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"data":{"__schema":{"queryType":{"name":"Query"},"types":[
        {"kind":"OBJECT","name":"User","description":"x","fields":[{"name":"id","args":[]}],"inputFields":null,"enumValues":null},
        {"kind":"INPUT_OBJECT","name":"AiSelfHostedModelCreateInput","fields":null,"inputFields":[
            {"name":"endpoint","type":{"kind":"NON_NULL","name":null,"ofType":{"kind":"SCALAR","name":"String"}},"defaultValue":null},
            {"name":"identifier","type":{"kind":"SCALAR","name":"String"}}],"enumValues":null},
        {"kind":"OBJECT","name":"DuoSettings","fields":[{"name":"aiGatewayUrl"}]},
        {"kind":"ENUM","name":"AiFeatures","enumValues":[{"name":"DUO_CHAT"}]}
    ]}}}"#;

    fn schema(json: &str) -> Summary {
        match read(json.as_bytes(), INTROSPECTION_LIMIT) {
            Ok(Answer::Schema(s)) => s,
            Ok(Answer::Refused(_)) => panic!("refused"),
            Err(e) => panic!("{e:?}"),
        }
    }

    #[test]
    fn keeps_only_the_types_that_matter() {
        let summary = schema(SMALL);
        assert_eq!(summary.create_input.get("endpoint"), Some(&true));
        assert_eq!(summary.create_input.get("identifier"), Some(&false));
        assert_eq!(summary.settings_fields.len(), 1);
        assert_eq!(summary.features.len(), 1);
    }

    #[test]
    fn trap_introspection_answers_the_whole_schema_of_several_megabytes() {
        let filler =
            r#"{"kind":"OBJECT","name":"Filler","fields":[{"name":"a","description":"some words","args":[]}]},"#;
        let big = SMALL.replacen("\"types\":[", &format!("\"types\":[{}", filler.repeat(60_000)), 1);
        assert!(big.len() > 5_000_000);
        assert_eq!(schema(&big), schema(SMALL));
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let endless = io::Read::chain(&br#"{"data":{"__schema":{"types":["#[..], io::repeat(b' '));
        assert!(matches!(read(endless, 100_000), Err(ReadError::TooLarge)));
    }

    #[test]
    fn a_refusal_and_garbage_are_told_apart() {
        let refused = br#"{"errors":[{"message":"Introspection is off"}]}"#;
        assert!(matches!(read(&refused[..], 1_000), Ok(Answer::Refused(e)) if e[0].message == "Introspection is off"));
        assert!(matches!(read(&b"<html>"[..], 1_000), Err(ReadError::Form(_))));
        assert!(matches!(read(&br#"{"data":{}}"#[..], 1_000), Err(ReadError::Form(_))));
    }
}
