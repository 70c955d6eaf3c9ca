//! How each status is brought about.

use Recipe::{
    AnotherRole, BadVersion, CutBody, HugeBody, NoKeys, NoScope, NoSigningKey, NoToken, NotJson, Plain, SlowBody,
    Stream, Unknown, Upstream, UpstreamHtml,
};

/// A way to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The example as it stands, with a token.
    Plain,
    /// The example with `stream: true`.
    Stream,
    /// Without a token.
    NoToken,
    /// With a token that holds no unit primitive.
    NoScope,
    /// GitLab is away, so that no key is loaded.
    NoKeys,
    /// The body ends before its declared length.
    CutBody,
    /// The body stops arriving.
    SlowBody,
    /// The body is over 10 MiB.
    HugeBody,
    /// The body is no JSON.
    NotJson,
    /// The path's parameter names nothing.
    Unknown,
    /// A version constraint that fits nothing.
    BadVersion,
    /// A scratchpad on a user's message.
    AnotherRole,
    /// A gateway without a signing key.
    NoSigningKey,
    /// The model server answers that status.
    Upstream(u16),
    /// The model server answers a web page.
    UpstreamHtml,
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

/// Per status and media type of an operation (empty: no body) how it comes about. Written down apart from the
/// description, so that each is checked by the other.
pub fn of(operation: &str) -> Vec<(u16, &'static str, Recipe)> {
    let signed = [(401, JSON, NoToken), (503, JSON, NoKeys)];
    let body = [
        (400, JSON, CutBody),
        (403, JSON, NoScope),
        (408, JSON, SlowBody),
        (413, JSON, HugeBody),
        (422, JSON, NotJson),
    ];
    let model = [
        (421, JSON, Upstream(404)),
        (429, JSON, Upstream(429)),
        (502, JSON, UpstreamHtml),
        (503, JSON, Upstream(500)),
        (504, JSON, Upstream(504)),
    ];
    let whole = (200, JSON, Plain);
    let streamed = (200, SSE, Stream);
    let asks = |more: &[(u16, &'static str, Recipe)]| [&signed[..], &body, &model, more].concat();
    match operation {
        "hostProbe" => vec![(401, "", NoToken), (404, "", Plain), (503, "", NoKeys)],
        "healthz" | "modelDefinitions" => vec![whole],
        "ready" => vec![whole, (503, JSON, NoKeys)],
        "codeCompletionsV2" | "completionsV2" | "codeGenerationsV2" | "codeSuggestionsV3" | "codeSuggestionsV4" => {
            asks(&[whole, streamed])
        }
        "userAccessToken" => [&signed[..], &[whole, (403, JSON, NoScope), (500, JSON, NoSigningKey)]].concat(),
        "chatAgentV2" => asks(&[(200, "application/x-ndjson", Plain), (400, JSON, AnotherRole)]),
        "chatV1" => asks(&[whole, streamed, (404, JSON, Unknown)]),
        "invokePromptV1" | "invokePromptV2" => asks(&[whole, streamed, (400, JSON, BadVersion), (404, JSON, Unknown)]),
        "codeEmbeddings" | "codeEmbeddingsIndex" | "codeEmbeddingsSearch" => asks(&[whole]),
        "searchDocs" => [&signed[..], &body, &[whole]].concat(),
        "openapi" => [&signed[..], &[whole]].concat(),
        "docs" => [&signed[..], &[(200, "text/html", Plain)]].concat(),
        "modelProxy" | "amazonQ" | "xRayLibraries" => [&signed[..], &[(404, JSON, Plain)]].concat(),
        _ => vec![],
    }
}
