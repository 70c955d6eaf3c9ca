//! Paths. A table of our own instead of a router, because GitLab's gateway judges the token before the path, knows no
//! implicit HEAD, and takes prompt ids with `/` and `%2F`.

use duo_protocol::embeddings::Purpose;
use http::Method;

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/monitoring/healthz`.
    Healthz,
    /// `/monitoring/ready`.
    Ready,
    /// `/v1/models/definitions`.
    ModelDefinitions,
    /// `/v2/code/completions` and `/v2/completions`.
    Completions,
    /// `/v2/code/generations`.
    Generations,
    /// `/v3/code/completions`.
    SuggestionsV3,
    /// `/v4/code/suggestions`.
    SuggestionsV4,
    /// `/v2/chat/agent`.
    ChatAgent,
    /// `/v1/prompts/{id}`.
    PromptV1(String),
    /// `/v2/prompts/{id}`.
    PromptV2(String),
    /// `/v1/code/user_access_token`.
    UserAccessToken,
    /// `/v1/chat/{invokable}`.
    ChatV1(String),
    /// `/v1/search/gitlab-docs`.
    SearchDocs,
    /// `/v1/embeddings/code_embeddings`, and with `/index` or `/search` behind it.
    Embeddings(Purpose),
    /// `/openapi.json`.
    OpenApi,
    /// `/docs`.
    Docs,
}

/// What GitLab's own gateway serves for other things than self-hosted models, and why it is not here.
const ELSEWHERE: [(&str, &str); 3] = [
    ("/v1/amazon_q/", "Amazon Q is not a self-hosted model; GitLab reaches it through its own gateway"),
    (
        "/v1/proxy/",
        "the vendors' own interfaces are not passed through; declare a self-hosted model and assign it to the feature",
    ),
    ("/v1/x-ray/", "repository X-Ray ended with GitLab 18 and asked a vendor's model"),
];

/// Why a path is not served, for those that a client of GitLab may have been told of.
pub fn elsewhere(path: &str) -> Option<String> {
    let (start, why) = ELSEWHERE.iter().find(|(start, _)| path.starts_with(start))?;
    Some(format!("Not Found: {}… is not for self-hosted models: {why}", start.trim_end_matches('/')))
}

impl Route {
    /// The route of a path as it stands in the request line.
    pub fn find(path: &str) -> Option<Self> {
        let path = decode(path)?;
        Some(match path.as_str() {
            "/monitoring/healthz" => Self::Healthz,
            "/monitoring/ready" => Self::Ready,
            "/v1/models/definitions" => Self::ModelDefinitions,
            "/v2/code/completions" | "/v2/completions" => Self::Completions,
            "/v2/code/generations" => Self::Generations,
            "/v3/code/completions" => Self::SuggestionsV3,
            "/v4/code/suggestions" => Self::SuggestionsV4,
            "/v2/chat/agent" => Self::ChatAgent,
            "/v1/code/user_access_token" => Self::UserAccessToken,
            "/v1/search/gitlab-docs" => Self::SearchDocs,
            "/v1/embeddings/code_embeddings" | "/v1/embeddings/code_embeddings/index" => {
                Self::Embeddings(Purpose::Document)
            }
            "/v1/embeddings/code_embeddings/search" => Self::Embeddings(Purpose::Query),
            "/openapi.json" => Self::OpenApi,
            "/docs" => Self::Docs,
            other => match (other.strip_prefix("/v1/prompts/"), other.strip_prefix("/v2/prompts/")) {
                (Some(id), _) if !id.is_empty() => Self::PromptV1(id.to_owned()),
                (_, Some(id)) if !id.is_empty() => Self::PromptV2(id.to_owned()),
                _ => match other.strip_prefix("/v1/chat/") {
                    Some(name) if !name.is_empty() && !name.contains('/') => Self::ChatV1(name.to_owned()),
                    _ => return None,
                },
            },
        })
    }

    /// Whether no token is needed.
    pub fn public(&self) -> bool {
        matches!(self, Self::Healthz | Self::Ready | Self::ModelDefinitions)
    }

    /// The only method it takes.
    pub fn method(&self) -> Method {
        if self.public() || matches!(self, Self::OpenApi | Self::Docs) { Method::GET } else { Method::POST }
    }

    /// Whether its requests have a body.
    pub fn takes_body(&self) -> bool {
        self.method() == Method::POST && *self != Self::UserAccessToken
    }

    /// Its template, for metrics.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Healthz => "/monitoring/healthz",
            Self::Ready => "/monitoring/ready",
            Self::ModelDefinitions => "/v1/models/definitions",
            Self::Completions => "/v2/code/completions",
            Self::Generations => "/v2/code/generations",
            Self::SuggestionsV3 => "/v3/code/completions",
            Self::SuggestionsV4 => "/v4/code/suggestions",
            Self::ChatAgent => "/v2/chat/agent",
            Self::PromptV1(_) => "/v1/prompts/{prompt_id}",
            Self::PromptV2(_) => "/v2/prompts/{prompt_id}",
            Self::UserAccessToken => "/v1/code/user_access_token",
            Self::ChatV1(_) => "/v1/chat/{chat_invokable}",
            Self::SearchDocs => "/v1/search/gitlab-docs",
            Self::Embeddings(Purpose::Document) => "/v1/embeddings/code_embeddings",
            Self::Embeddings(Purpose::Query) => "/v1/embeddings/code_embeddings/search",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
        }
    }
}

/// Percent-decoding; `None` when the result is no text.
fn decode(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (byte == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_ids_hold_slashes_in_either_spelling() {
        let check = Some(Route::PromptV1("model_configuration/check".into()));
        assert_eq!(Route::find("/v1/prompts/model_configuration%2Fcheck"), check);
        assert_eq!(Route::find("/v1/prompts/model_configuration%2fcheck"), check);
        assert_eq!(Route::find("/v1/prompts/model_configuration/check"), check);
        assert_eq!(Route::find("/v2/prompts/chat/explain_code"), Some(Route::PromptV2("chat/explain_code".into())));
    }

    #[test]
    fn what_is_served_is_described_and_what_is_described_is_served() {
        let described: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(include_str!("../../openapi/gateway.yaml")).unwrap();
        let mut templates = std::collections::BTreeSet::new();
        for path in described["paths"].as_mapping().unwrap().keys().map(|path| path.as_str().unwrap()) {
            match Route::find(&path.replace(['{', '}'], "")) {
                Some(route) => _ = templates.insert(route.template()),
                None => assert!(path == "/" || elsewhere(path).is_some(), "{path} is described and not served"),
            }
        }
        let own = include_str!("table.rs").split("fn template").nth(1).unwrap().split("\n    }\n").next().unwrap();
        let served = own.split('"').skip(1).step_by(2);
        for template in served {
            assert!(templates.contains(template), "{template} is served and not described");
        }
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in ["/", "/v1/prompts/", "/v1/prompts", "/v2/code/completions/", "/metrics", "/%ff", "/%", "/v1/%zz"] {
            assert_eq!(Route::find(path), None, "{path}");
        }
        assert_eq!(Route::find("/v2/completions"), Some(Route::Completions));
    }
}
