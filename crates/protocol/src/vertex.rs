//! Google Vertex AI: which publisher's door serves a model, and at which address. The bodies are those of
//! [`crate::anthropic`] and [`crate::openai`].
//!
//! Source: Google's REST reference; `rawPredict` and `streamRawPredict` hand the publisher's own body through, and
//! `endpoints/openapi` speaks OpenAI's chat completions for Gemini and the open models that Google serves.

/// How a model on Vertex AI is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VertexDoor {
    /// Anthropic's body at `publishers/anthropic`.
    Anthropic,
    /// OpenAI's body at `publishers/mistralai`; the model's name in it has no version.
    Mistral,
    /// OpenAI's body at `endpoints/openapi`, with the publisher in front of the model's name.
    OpenAi,
}

/// The door of a model, by its name behind `vertex_ai/`.
pub fn door(model: &str) -> VertexDoor {
    let name = model.to_ascii_lowercase();
    if name.starts_with("claude") {
        VertexDoor::Anthropic
    } else if ["mistral", "codestral", "mixtral"].iter().any(|start| name.starts_with(start)) {
        VertexDoor::Mistral
    } else {
        VertexDoor::OpenAi
    }
}

/// The model's name in an OpenAI body: `google/gemini-2.5-pro`, `meta/llama-…` as it is, `codestral-2501` bare.
pub fn body_model(model: &str) -> String {
    match door(model) {
        VertexDoor::Mistral => model.split('@').next().unwrap_or(model).to_owned(),
        VertexDoor::OpenAi if !model.contains('/') => format!("google/{model}"),
        _ => model.to_owned(),
    }
}

/// The public address of a location: some locations are several regions.
pub fn base(location: &str) -> String {
    match location {
        "global" => "https://aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        region => format!("https://{region}-aiplatform.googleapis.com"),
    }
}

/// Where a model is asked, whole or streamed.
pub fn url(base: &str, project: &str, location: &str, model: &str, stream: bool) -> String {
    let base = base.trim_end_matches('/');
    let place = format!("{base}/v1/projects/{project}/locations/{location}");
    let verb = if stream { "streamRawPredict" } else { "rawPredict" };
    match door(model) {
        VertexDoor::Anthropic => format!("{place}/publishers/anthropic/models/{model}:{verb}"),
        VertexDoor::Mistral => format!("{place}/publishers/mistralai/models/{model}:{verb}"),
        VertexDoor::OpenAi => format!("{place}/endpoints/openapi/chat/completions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publisher_has_its_address_and_its_name_of_the_model() {
        let table = [
            (
                "claude-sonnet-4@20250514",
                false,
                "/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict",
                "claude-sonnet-4@20250514",
            ),
            (
                "claude-sonnet-4@20250514",
                true,
                "/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict",
                "claude-sonnet-4@20250514",
            ),
            (
                "codestral-2501@001",
                true,
                "/publishers/mistralai/models/codestral-2501@001:streamRawPredict",
                "codestral-2501",
            ),
            ("gemini-2.5-pro", false, "/endpoints/openapi/chat/completions", "google/gemini-2.5-pro"),
            (
                "meta/llama-3.3-70b-instruct-maas",
                true,
                "/endpoints/openapi/chat/completions",
                "meta/llama-3.3-70b-instruct-maas",
            ),
        ];
        for (model, stream, path, name) in table {
            let url = url(&base("europe-west1"), "p-1", "europe-west1", model, stream);
            let wanted =
                format!("https://europe-west1-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west1{path}");
            assert_eq!((url, body_model(model)), (wanted, name.to_owned()));
        }
        assert_eq!(base("global"), "https://aiplatform.googleapis.com");
        assert_eq!(base("eu"), "https://aiplatform.eu.rep.googleapis.com");
    }
}
