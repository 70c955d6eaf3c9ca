//! Every endpoint that asks a model.

use serde_json::{Value, json};

use super::World;

/// A model as requests name it.
#[derive(Clone)]
pub struct Model {
    pub family: &'static str,
    pub identifier: &'static str,
    pub endpoint: String,
}

/// A request of an endpoint.
pub struct Endpoint {
    pub path: &'static str,
    pub body: Value,
    /// The model is asked for a stream.
    pub stream: bool,
}

impl Endpoint {
    /// Whether a stream that breaks off ends in an error line, as GitLab's chat reads it, and not in a broken connection.
    pub fn tells_errors(&self) -> bool {
        self.path == "/v2/chat/agent"
    }
}

/// With and without a stream, where there are both.
pub fn endpoints(world: &World, model: &Model) -> Vec<Endpoint> {
    let metadata = json!({
        "provider": "openai", "name": model.family, "endpoint": model.endpoint, "api_key": "request-key",
        "identifier": model.identifier,
    });
    let completion = |stream: bool, prompt: Value| {
        let mut body = world.completion();
        body["stream"] = stream.into();
        body["prompt"] = prompt;
        body["model_name"] = model.family.into();
        body["model_identifier"] = model.identifier.into();
        body["model_endpoint"] = model.endpoint.as_str().into();
        body
    };
    let component = |kind: &str, stream: bool| {
        let mut body = world.generation(stream);
        body["model_metadata"] = metadata.clone();
        if kind == "code_editor_completion" {
            body["prompt_components"][0] = json!({
                "type": kind,
                "payload": {
                    "file_name": "test.rb", "content_above_cursor": "# hello\n", "content_below_cursor": "",
                    "language_identifier": "Ruby", "stream": stream,
                },
            });
        }
        body
    };
    let prompt = |stream: bool| json!({"inputs": {}, "stream": stream, "model_metadata": metadata});
    let documented = |stream: bool| {
        json!({"stream": stream, "prompt_components": [{
            "type": "string", "metadata": {"source": "string", "version": "string"},
            "payload": {
                "content": "two and two?", "provider": "litellm", "model": model.family,
                "model_endpoint": model.endpoint, "model_api_key": "request-key",
                "model_identifier": model.identifier,
            },
        }]})
    };
    let chat = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": metadata});
    let mut all = vec![Endpoint { path: "/v2/chat/agent", body: chat, stream: true }];
    for stream in [false, true] {
        for (path, body) in [
            ("/v2/code/completions", completion(stream, Value::Null)),
            ("/v2/completions", completion(stream, Value::Null)),
            ("/v2/code/generations", completion(stream, "x".into())),
            ("/v3/code/completions", component("code_editor_generation", stream)),
            ("/v3/code/completions", component("code_editor_completion", stream)),
            ("/v4/code/suggestions", component("code_editor_generation", stream)),
            ("/v4/code/suggestions", component("code_editor_completion", stream)),
            ("/v1/prompts/chat/explain_code", prompt(stream)),
            ("/v2/prompts/chat/explain_code", prompt(stream)),
            ("/v1/chat/agent", documented(stream)),
        ] {
            all.push(Endpoint { path, body, stream });
        }
    }
    all
}
