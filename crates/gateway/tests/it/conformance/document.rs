//! The description of the interface, as the suite reads it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where the document stands for the validator.
const ROOT: &str = "http://gateway.test/openapi.json";

/// The description with `$ref`s of everything but schemas resolved on the way.
pub struct Document {
    pub value: Value,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: String,
    pub method: reqwest::Method,
    /// Path with its parameters' examples put in.
    pub path: String,
    /// Needs a token.
    pub signed: bool,
    /// Where the request body's schema stands, and its example.
    pub body: Option<(String, Value)>,
    pub responses: BTreeMap<u16, Response>,
}

/// One status of an operation.
#[derive(Clone, Debug)]
pub struct Response {
    /// Per media type where its schema stands.
    pub content: BTreeMap<String, String>,
    /// Per header whether it must be there, and where its schema stands.
    pub headers: BTreeMap<String, (bool, String)>,
}

impl Document {
    pub fn load() -> Self {
        let text = include_str!("../../../openapi/gateway.yaml");
        let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).unwrap();
        yaml.apply_merge().unwrap();
        Self { value: serde_json::to_value(yaml).unwrap() }
    }

    /// The schema that stands at a pointer.
    pub fn schema(&self, pointer: &str) -> Schema {
        let mut compiler = boon::Compiler::new();
        compiler.add_resource(ROOT, self.value.clone()).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler
            .compile(&format!("{ROOT}#{pointer}"), &mut schemas)
            .unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        Schema { schemas, index }
    }

    pub fn operations(&self) -> Vec<Operation> {
        let mut out = Vec::new();
        for (path, item) in self.value["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("/paths/{}/{method}", escaped(path));
                out.push(self.operation(path, method, operation, &at));
            }
        }
        out
    }

    fn operation(&self, path: &str, method: &str, operation: &Value, at: &str) -> Operation {
        let mut path = path.to_owned();
        for (number, _) in operation["parameters"].as_array().into_iter().flatten().enumerate() {
            let (_, parameter) = self.resolved(&format!("{at}/parameters/{number}"));
            if parameter["in"] == "path" {
                let name = parameter["name"].as_str().unwrap();
                let example = parameter["example"].as_str().expect("a path parameter has an example");
                path = path.replace(&format!("{{{name}}}"), example);
            }
        }
        let content = "requestBody/content/application~1json";
        let body = operation.get("requestBody").map(|_| {
            let example = self.value.pointer(&format!("{at}/{content}/example")).expect("a body has an example");
            (format!("{at}/{content}/schema"), example.clone())
        });
        let statuses = operation["responses"].as_object().unwrap().keys();
        Operation {
            id: operation["operationId"].as_str().unwrap().to_owned(),
            method: method.to_uppercase().parse().unwrap(),
            path,
            signed: operation.get("security").is_none(),
            body,
            responses: statuses
                .map(|status| (status.parse().unwrap(), self.response(&format!("{at}/responses/{status}"))))
                .collect(),
        }
    }

    fn response(&self, at: &str) -> Response {
        let (at, response) = self.resolved(at);
        let media = |name: &String| (name.clone(), format!("{at}/content/{}/schema", escaped(name)));
        let header = |name: &String| {
            let (at, header) = self.resolved(&format!("{at}/headers/{}", escaped(name)));
            (name.clone(), (header["required"] == true, format!("{at}/schema")))
        };
        Response {
            content: response["content"].as_object().into_iter().flatten().map(|(name, _)| media(name)).collect(),
            headers: response["headers"].as_object().into_iter().flatten().map(|(name, _)| header(name)).collect(),
        }
    }

    /// What stands at a pointer, or where the `$ref` there leads, and that place.
    pub fn resolved(&self, at: &str) -> (String, &Value) {
        let value = self.value.pointer(at).unwrap_or_else(|| panic!("{at} is not in the document"));
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolved(reference.trim_start_matches('#')),
            None => (at.to_owned(), value),
        }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A schema that can judge.
pub struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    /// What is wrong with a value, if anything.
    pub fn faults(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}"))
    }

    pub fn is_valid(&self, value: &Value) -> bool {
        self.faults(value).is_none()
    }
}
