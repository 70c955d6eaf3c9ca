//! What works and yet deserves a Warning event: (reason, message).

use duo_api::gateway::{AIGatewaySpec, Implementation};
use duo_api::{Platform, SelfHostedModelSpec};

/// What of a gateway deserves a Warning event, but works.
pub fn gateway_warnings(spec: &AIGatewaySpec) -> Vec<(&'static str, String)> {
    let prompts = spec.logging.as_ref().is_some_and(|logging| logging.prompts).then(|| {
        let text = "spec.logging.prompts: all prompts and answers are logged, with the source code in them; whoever reads \
                    the gateway's logs reads it";
        ("PromptLoggingEnabled", text.to_owned())
    });
    let image = spec.gitlab_image.clone().unwrap_or_default();
    let of_gitlab = spec.implementation == Implementation::GitLab || spec.agent_platform.is_some();
    let own = spec.implementation == Implementation::GitLab && spec.image.is_none();
    let agents = spec.agent_platform.as_ref().is_some_and(|platform| platform.image.is_none());
    let guessed = (image.tag.is_none() && (own || agents)).then(|| {
        let text = "spec.gitlabImage.tag: the tag follows GitLab's minor version, but its newest patch cannot be known \
                    without asking a registry; name it, for security fixes";
        ("GatewayImageGuessed", text.to_owned())
    });
    let bundle = (of_gitlab && spec.gitlab.ca_bundle_ref.is_some()).then(|| {
        let text = "spec.gitlab.caBundleRef: GitLab's image trusts these authorities in place of the public ones; the \
                    bundle has to hold all that are needed";
        ("CABundleReplacesPublic", text.to_owned())
    });
    let bypass =
        image.environment.iter().find(|(name, value)| name.contains("BYPASS") && *value != "false").map(|(name, _)| {
            let text = format!("spec.gitlabImage.environment: {name} lets requests through that nobody has signed");
            ("AuthenticationBypassed", text)
        });
    prompts.into_iter().chain(guessed).chain(bundle).chain(bypass).collect()
}

/// What deserves a Warning event, but works.
pub fn warnings(spec: &SelfHostedModelSpec) -> Vec<(&'static str, String)> {
    let missing_v1 = spec.platform == Platform::OpenAICompatible
        && spec.endpoint.as_deref().is_some_and(|url| !url.trim_end_matches('/').ends_with("/v1"));
    missing_v1
        .then(|| {
            (
                "EndpointWithoutV1",
                format!(
                    "spec.endpoint {} does not end in /v1; OpenAI-compatible servers such as vLLM answer 404 without it",
                    spec.endpoint.as_deref().unwrap_or_default()
                ),
            )
        })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use duo_api::Family;

    fn spec() -> SelfHostedModelSpec {
        SelfHostedModelSpec {
            endpoint: Some("http://vllm:8000/v1".into()),
            ..SelfHostedModelSpec::new("duo", "A", Platform::OpenAICompatible, Family::Mistral, "custom_openai/m")
        }
    }

    #[test]
    fn what_of_a_gateway_earns_a_warning() {
        const GUESSED: &str = "GatewayImageGuessed";
        const BUNDLE: &str = "CABundleReplacesPublic";
        const BYPASSED: &str = "AuthenticationBypassed";
        let bundle = "caBundleRef: {kind: ConfigMap, name: ca, key: ca.crt}";
        let cases: [(&str, &str, &[&str]); 16] = [
            ("", "", &[]),
            ("", "logging: {prompts: false}", &[]),
            ("", "logging: {prompts: true}", &["PromptLoggingEnabled"]),
            ("", "image: r/duo-gateway:1", &[]),
            ("", "implementation: GitLab", &[GUESSED]),
            ("", "implementation: GitLab, image: r/i:1", &[]),
            ("", "implementation: GitLab, gitlabImage: {tag: v1}", &[]),
            ("", "agentPlatform: {}", &[GUESSED]),
            ("", "agentPlatform: {image: r/i:1}", &[]),
            ("", "agentPlatform: {}, implementation: GitLab, image: r/i:1", &[GUESSED]),
            (bundle, "", &[]),
            (bundle, "implementation: GitLab, image: r/i:1", &[BUNDLE]),
            (bundle, "agentPlatform: {image: r/i:1}", &[BUNDLE]),
            ("", "gitlabImage: {environment: {AIGW_AUTH__BYPASS_EXTERNAL: 'true'}}", &[BYPASSED]),
            ("", "gitlabImage: {environment: {AIGW_AUTH__BYPASS_EXTERNAL: 'false'}}", &[]),
            ("", "gitlabImage: {environment: {AIGW_OTHER: 'true'}}", &[]),
        ];
        for (gitlab, rest, expected) in cases {
            let text = format!("{{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}, {gitlab}}}, {rest}}}");
            let spec: AIGatewaySpec = serde_yaml_ng::from_str(&text).unwrap();
            let reasons: Vec<&str> = gateway_warnings(&spec).into_iter().map(|(reason, _)| reason).collect();
            assert_eq!(reasons, expected, "{gitlab} {rest}");
        }
    }

    #[test]
    fn a_missing_v1_earns_a_warning() {
        let told = |platform, endpoint: Option<&str>| {
            let spec = SelfHostedModelSpec { platform, endpoint: endpoint.map(Into::into), ..spec() };
            warnings(&spec).into_iter().map(|(reason, _)| reason).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(told(Platform::OpenAICompatible, Some("http://vllm:8000")), ["EndpointWithoutV1"]);
        assert_eq!(told(Platform::OpenAICompatible, Some("http://vllm:8000/v1/")), none);
        assert_eq!(told(Platform::OpenAICompatible, None), none);
        assert_eq!(told(Platform::AzureOpenAI, Some("https://a.openai.azure.com")), none);
    }
}
