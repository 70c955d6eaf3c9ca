//! Which operation a path names and whether the key is right, as vLLM or as Azure OpenAI. It must not know bodies.

use http::{HeaderMap, Method, header};

use super::{config::Config, error::Refusal};
use crate::upstream::Credential;

/// Azure's words for a wrong key.
pub(super) const AZURE_DENIED: &str = "Access denied due to invalid subscription key or wrong API endpoint. Make sure \
     to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `chat/completions`; Azure's older path names the deployment.
    Chat {
        /// The deployment in the path.
        deployment: Option<String>,
    },
    /// `completions`.
    Completions {
        /// The deployment in the path.
        deployment: Option<String>,
    },
    /// `models`.
    Models,
    /// vLLM's `/health`, which needs no key.
    Health,
}

impl Operation {
    /// The name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chat { .. } => "chat/completions",
            Self::Completions { .. } => "completions",
            Self::Models => "models",
            Self::Health => "health",
        }
    }

    fn named(method: &Method, name: &str, deployment: Option<&str>) -> Option<Self> {
        let deployment = deployment.map(str::to_owned);
        match (method, name) {
            (&Method::POST, "chat/completions") => Some(Self::Chat { deployment }),
            (&Method::POST, "completions") => Some(Self::Completions { deployment }),
            (&Method::GET, "models") if deployment.is_none() => Some(Self::Models),
            _ => None,
        }
    }
}

/// Finds the operation of a path.
pub fn find(method: &Method, path: &str, query: &str, azure: bool) -> Result<Operation, Refusal> {
    if azure {
        let not_found = || Refusal::azure(404, "404", None, "Resource not found");
        if let Some(name) = path.strip_prefix("/openai/v1/") {
            return Operation::named(method, name, None).ok_or_else(not_found);
        }
        let rest = path.strip_prefix("/openai/deployments/").ok_or_else(not_found)?;
        let (deployment, name) = rest.split_once('/').ok_or_else(not_found)?;
        let version = query.split('&').find_map(|pair| pair.strip_prefix("api-version=")).unwrap_or_default();
        if !is_version(version) {
            return Err(not_found());
        }
        return Operation::named(method, name, Some(deployment)).ok_or_else(not_found);
    }
    if path == "/health" && method == Method::GET {
        return Ok(Operation::Health);
    }
    let name = path.strip_prefix("/v1/").ok_or_else(Refusal::no_such_path)?;
    Operation::named(method, name, None).ok_or_else(Refusal::no_such_path)
}

/// `YYYY-MM-DD` or `YYYY-MM-DD-preview`.
fn is_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    jiff::civil::Date::strptime("%Y-%m-%d", date).is_ok()
}

/// Checks the key. The credential is what came, right or wrong.
pub fn check(headers: &HeaderMap, operation: &Operation, config: &Config) -> (Credential, Result<(), Refusal>) {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let api_key = text(header::HeaderName::from_static("api-key"));
    let accepted = |key: Option<&str>| key.is_some_and(|key| config.api_keys.iter().any(|known| known.matches(key)));
    let credential = match (api_key, bearer) {
        (Some(_), _) => Credential::ApiKey,
        (None, Some(_)) => Credential::Bearer,
        (None, None) => Credential::None,
    };
    let allowed = if config.azure {
        // a bearer token is an Entra ID token there, but the v1 door takes a key in that place, too
        let v1 =
            matches!(operation, Operation::Chat { deployment: None } | Operation::Completions { deployment: None });
        accepted(api_key) || (v1 && accepted(bearer)) || (operation == &Operation::Models && accepted(bearer))
    } else {
        // vLLM guards /v1 only, knows no other header, and asks for nothing when it was given no key
        config.api_keys.is_empty() || operation == &Operation::Health || accepted(bearer)
    };
    let refusal = || match config.azure {
        true => Refusal::azure(401, "401", None, AZURE_DENIED),
        false => Refusal::vllm_unauthorized(),
    };
    (credential, if allowed { Ok(()) } else { Err(refusal()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, azure: bool) -> Option<(&'static str, Option<String>)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let method = if path.ends_with("/models") || path == "/health" { Method::GET } else { Method::POST };
        match find(&method, path, query, azure).ok()? {
            Operation::Chat { deployment } => Some(("chat", deployment)),
            Operation::Completions { deployment } => Some(("text", deployment)),
            Operation::Models => Some(("models", None)),
            Operation::Health => Some(("health", None)),
        }
    }

    #[test]
    fn vllm_serves_below_v1_only() {
        assert_eq!(found("/v1/chat/completions", false), Some(("chat", None)));
        assert_eq!(found("/v1/completions", false), Some(("text", None)));
        assert_eq!(found("/v1/models", false), Some(("models", None)));
        assert_eq!(found("/health", false), Some(("health", None)));
        for path in
            ["/chat/completions", "/completions", "/v1", "/v1/v1/chat/completions", "/openai/v1/chat/completions"]
        {
            assert_eq!(found(path, false), None, "{path}");
        }
    }

    #[test]
    fn azure_serves_its_two_doors_and_wants_a_version_on_the_older() {
        let deployment = Some(("chat", Some("gpt-4o".to_owned())));
        assert_eq!(found("/openai/v1/chat/completions", true), Some(("chat", None)));
        assert_eq!(found("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", true), deployment);
        assert_eq!(
            found("/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview", true),
            deployment
        );
        for path in [
            "/v1/chat/completions",
            "/openai/deployments/gpt-4o/chat/completions",
            "/openai/deployments/gpt-4o/chat/completions?api-version=latest",
        ] {
            assert_eq!(found(path, true), None, "{path}");
        }
    }
}
