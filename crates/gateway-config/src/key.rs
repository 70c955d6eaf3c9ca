//! How a request finds its model. Requests carry GitLab's view of a model (family, endpoint, identifier), so this
//! triple is the key, with the differences removed that mean nothing.

/// What two requests for the same model have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelKey {
    /// GitLab's family key in lower case.
    pub family: String,
    /// Base URL without trailing slash; `None` where the platform ignores it.
    pub endpoint: Option<String>,
    /// GitLab's identifier with its platform prefix.
    pub identifier: String,
}

/// The key of (family, endpoint, identifier). Bedrock's and Vertex AI's endpoints are left out: GitLab requires one in
/// its form and sends a placeholder such as `http://bedrockselfhostedmodel.com`.
pub fn model_key(family: &str, endpoint: Option<&str>, identifier: &str) -> ModelKey {
    let identifier = identifier.trim();
    ModelKey {
        family: family.trim().to_lowercase(),
        endpoint: if ignores_endpoint(identifier) { None } else { endpoint.and_then(normal_endpoint) },
        identifier: identifier.to_owned(),
    }
}

/// Whether the platform named by the identifier's prefix has no use for an endpoint.
pub fn ignores_endpoint(identifier: &str) -> bool {
    identifier.starts_with("bedrock/") || identifier.starts_with("vertex_ai/")
}

/// An endpoint without surrounding blanks and trailing slashes; `None` when nothing is left.
pub fn normal_endpoint(endpoint: &str) -> Option<String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    (!endpoint.is_empty()).then(|| endpoint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_agree_exactly_when_the_model_is_the_same() {
        let cases = [
            // (left, right, same)
            (
                ("mistral", Some("http://v/v1"), "custom_openai/m"),
                ("mistral", Some("http://v/v1/"), "custom_openai/m"),
                true,
            ),
            (
                ("mistral", Some("http://v/v1"), "custom_openai/m"),
                ("Mistral", Some(" http://v/v1//"), "custom_openai/m"),
                true,
            ),
            (
                ("mistral", Some("http://v/v1"), "custom_openai/m"),
                ("mixtral", Some("http://v/v1"), "custom_openai/m"),
                false,
            ),
            (
                ("mistral", Some("http://v/v1"), "custom_openai/m"),
                ("mistral", Some("http://w/v1"), "custom_openai/m"),
                false,
            ),
            (
                ("mistral", Some("http://v/v1"), "custom_openai/m"),
                ("mistral", Some("http://v/v1"), "custom_openai/n"),
                false,
            ),
            (("mistral", Some("http://v/v1"), "custom_openai/m"), ("mistral", None, "custom_openai/m"), false),
            (
                ("claude_3", None, "bedrock/c"),
                ("claude_3", Some("http://bedrockselfhostedmodel.com"), "bedrock/c"),
                true,
            ),
            (("claude_3", Some("http://a"), "vertex_ai/c"), ("claude_3", Some("http://b"), "vertex_ai/c"), true),
            (("gpt", Some("http://a"), "azure/c"), ("gpt", Some("http://b"), "azure/c"), false),
            (("gpt", Some(""), "azure/c"), ("gpt", None, "azure/c"), true),
        ];
        for ((f1, e1, i1), (f2, e2, i2), same) in cases {
            assert_eq!(model_key(f1, e1, i1) == model_key(f2, e2, i2), same, "{f1} {e1:?} {i1} / {f2} {e2:?} {i2}");
        }
    }
}
