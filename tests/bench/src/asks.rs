//! Requests as GitLab sends them, as bytes that are ready to go out.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::gitlab::INSTANCE;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v2/code/completions`, whole.
    Completion,
    /// `POST /v1/prompts/chat/explain_code`, whole.
    Explain,
    /// `POST /v4/code/suggestions`, a generation as server-sent events.
    SuggestionStream,
    /// `POST /v3/code/completions`, a generation, whole.
    Suggestion,
    /// `POST /v1/prompts/chat/explain_code` as raw text pieces.
    ExplainStream,
    /// `POST /v2/prompts/chat/explain_code` as lines of JSON.
    ExplainLines,
    /// `POST /v1/embeddings/code_embeddings/index`.
    Embeddings,
    /// `POST /v1/search/gitlab-docs`.
    Search,
    /// `POST /v2/chat/agent`, one turn.
    Chat,
    /// `POST /v1/code/user_access_token`.
    UserToken,
}

/// Who the model server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// An OpenAI-compatible server.
    OpenAi,
    /// Bedrock's Converse.
    Bedrock,
}

/// How the model server answers; it finds the mark in the code that is asked about, whoever passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Quick,
    /// 40 pieces, one each 10 ms.
    Brisk,
    /// 400 pieces, one each 10 ms.
    Paced,
    /// 40 pieces, one each 400 ms.
    Long,
}

impl Pace {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Brisk, Self::Paced, Self::Long];

    /// What stands in the request.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Quick => "pace-quick",
            Self::Brisk => "pace-brisk",
            Self::Paced => "pace-paced",
            Self::Long => "pace-long",
        }
    }
}

/// Identifier without its kind, of the model on that wire.
pub fn model(wire: Wire) -> (&'static str, &'static str) {
    match wire {
        Wire::OpenAi => ("codestral", "custom_openai/codestral-22b"),
        Wire::Bedrock => ("claude_3", "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0"),
    }
}

/// What the configuration and the requests say of the endpoint.
pub fn endpoint(wire: Wire, upstream: SocketAddr) -> String {
    match wire {
        Wire::OpenAi => format!("http://{upstream}/v1"),
        Wire::Bedrock => "http://bedrockselfhostedmodel.com".to_owned(),
    }
}

/// A whole HTTP request.
pub fn request(what: Endpoint, wire: Wire, pace: Pace, token: &str, upstream: SocketAddr) -> Vec<u8> {
    let (path, body) = match what {
        Endpoint::Completion => ("/v2/code/completions", completion(wire, pace, upstream)),
        Endpoint::Explain => ("/v1/prompts/chat/explain_code", explain(wire, pace, upstream, false)),
        Endpoint::SuggestionStream => ("/v4/code/suggestions", generation(wire, pace, upstream, true)),
        Endpoint::Suggestion => ("/v3/code/completions", generation(wire, pace, upstream, false)),
        Endpoint::ExplainStream => ("/v1/prompts/chat/explain_code", explain(wire, pace, upstream, true)),
        Endpoint::ExplainLines => ("/v2/prompts/chat/explain_code", explain(wire, pace, upstream, true)),
        Endpoint::Embeddings => ("/v1/embeddings/code_embeddings/index", embeddings(upstream)),
        Endpoint::Search => ("/v1/search/gitlab-docs", search()),
        Endpoint::Chat => ("/v2/chat/agent", chat(wire, pace, upstream)),
        Endpoint::UserToken => ("/v1/code/user_access_token", json!({})),
    };
    let body = body.to_string();
    // each token is a user's own; its end is as good an id as any
    let user = token.get(token.len().saturating_sub(16)..).unwrap_or("nobody");
    format!(
        "POST {path} HTTP/1.1\r\nHost: duo.gitlab-duo.svc:5052\r\nUser-Agent: Ruby\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nAuthorization: Bearer {token}\r\n\
         X-Gitlab-Authentication-Type: oidc\r\nX-Gitlab-Instance-Id: {INSTANCE}\r\nX-Gitlab-Realm: self-managed\r\n\
         X-Gitlab-Host-Name: gitlab.example.com\r\nX-Gitlab-Version: 18.9.0\r\nX-Gitlab-Global-User-Id: {user}\r\n\
         X-Gitlab-Feature-Enabled-By-Namespace-Ids: \r\nX-Gitlab-Feature-Enablement-Type: add_on\r\n\
         X-Gitlab-Enabled-Feature-Flags: expanded_ai_logging,ai_prompts\r\nX-Gitlab-Is-Team-Member: false\r\n\
         X-Gitlab-Client-Type: ide\r\nX-Gitlab-Client-Name: vscode\r\nX-Gitlab-Client-Version: 6.40.2\r\n\
         X-Gitlab-Language-Server-Version: 8.10.0\r\nX-Gitlab-Rails-Send-Start: 1790000000.123456\r\n\
         X-Request-ID: 01JD0000000000000000000000\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// 2 KB of code above the cursor, half a KB below.
fn code(pace: Pace) -> (String, String) {
    let method = "  def total_of(lines)\n    lines.sum { |line| line.price * line.count }\n  end\n\n";
    (format!("# {}\nclass Order\n{}  def total\n    ", pace.mark(), method.repeat(24)), method.repeat(6) + "end\n")
}

fn completion(wire: Wire, pace: Pace, upstream: SocketAddr) -> Value {
    let (above, below) = code(pace);
    let (family, identifier) = model(wire);
    json!({
        "prompt_version": 2, "prompt": null, "stream": false, "choices_count": 0, "telemetry": [], "context": [],
        "project_path": "group/project", "project_id": 7,
        "current_file": {
            "file_name": "app/models/order.rb", "language_identifier": "ruby",
            "content_above_cursor": above, "content_below_cursor": below,
        },
        "model_provider": "litellm", "model_name": family, "model_identifier": identifier,
        "model_endpoint": endpoint(wire, upstream), "model_api_key": null,
    })
}

fn metadata(wire: Wire, upstream: SocketAddr) -> Value {
    let (family, identifier) = model(wire);
    json!({
        "provider": "openai", "name": family, "identifier": identifier, "endpoint": endpoint(wire, upstream),
        "api_key": null,
    })
}

fn explain(wire: Wire, pace: Pace, upstream: SocketAddr, stream: bool) -> Value {
    let (above, below) = code(pace);
    json!({
        "inputs": {
            "input": "explain this", "selected_text": above, "language_info": "The code is written in Ruby.",
            "file_content": below,
        },
        "prompt_version": "^1.0.0", "stream": stream, "model_metadata": metadata(wire, upstream),
    })
}

fn generation(wire: Wire, pace: Pace, upstream: SocketAddr, stream: bool) -> Value {
    let (above, below) = code(pace);
    json!({
        "prompt_components": [{
            "type": "code_editor_generation",
            "metadata": {"source": "GitLab EE", "version": "18.9.0"},
            "payload": {
                "file_name": "app/models/order.rb", "language_identifier": "Ruby", "stream": stream,
                "content_above_cursor": above, "content_below_cursor": below,
                "prompt_id": "code_suggestions/generations", "prompt_version": "^1.0.0",
                "prompt_enhancer": {
                    "user_instruction": "sum up the lines of the order",
                    "trimmed_content_above_cursor": above, "trimmed_content_below_cursor": below,
                    "related_files": [], "related_snippets": [], "libraries": ["rails", "rspec"], "examples_array": [],
                },
            },
        }],
        "model_metadata": metadata(wire, upstream),
    })
}

/// Family and identifier of the model that makes vectors.
pub const VECTORS: (&str, &str) = ("embedding", "custom_openai/bge-m3");

fn embeddings(upstream: SocketAddr) -> Value {
    json!({
        "model_metadata": {
            "provider": "litellm", "name": VECTORS.0, "identifier": VECTORS.1,
            "endpoint": endpoint(Wire::OpenAi, upstream), "api_key": null,
        },
        "contents": ["def total"],
    })
}

fn search() -> Value {
    json!({
        "type": "search-docs", "metadata": {"source": "GitLab EE", "version": "18.9.0"},
        "payload": {"query": "How are orders summed up?", "page_size": 4},
    })
}

fn chat(wire: Wire, pace: Pace, upstream: SocketAddr) -> Value {
    json!({
        "messages": [{"role": "user", "content": format!("what does {} do?", pace.mark())}],
        "unavailable_resources": ["Pipelines", "Vulnerabilities"], "model_metadata": metadata(wire, upstream),
    })
}
