//! What GitLab's own image cannot do of what can be declared: it is refused with the fields named, never ignored.

use duo_api::annotations::CONFIG_HASH;
use duo_api::gateway::{AIGatewaySpec, Implementation, UndeclaredModels};
use duo_api::{AIGateway, SelfHostedModelSpec};

/// First minor version whose image serves TLS itself.
const LISTENER_TLS: (u64, u64) = (19, 3);

/// Which gateway all pods were seen to run last; `None` before they were seen.
pub fn seen(gateway: &AIGateway) -> Option<Implementation> {
    gateway.status.as_ref().and_then(|status| status.implementation)
}

/// Whether some pods may still be of the other gateway than the declared one.
pub fn is_changing(gateway: &AIGateway) -> bool {
    seen(gateway).is_some_and(|seen| seen != gateway.spec.implementation)
}

/// Fields of an AIGateway that its implementation does not have, as `spec.…`.
pub fn refused_of_gateway(gateway: &AIGateway) -> Vec<String> {
    match gateway.spec.implementation {
        Implementation::Embedded => Vec::new(),
        Implementation::GitLab => {
            let version = gateway.status.as_ref().and_then(|s| s.gitlab.as_ref()).and_then(|g| g.version.as_deref());
            refused_by_gitlab_image(&gateway.spec, version)
        }
    }
}

fn refused_by_gitlab_image(spec: &AIGatewaySpec, version: Option<&str>) -> Vec<String> {
    let bedrock = spec.providers.as_ref().and_then(|providers| providers.bedrock.as_ref());
    let guardrail = bedrock.and_then(|bedrock| bedrock.guardrail.as_ref());
    let vertex = spec.providers.as_ref().and_then(|providers| providers.vertex_ai.as_ref());
    let fields = [
        ("firstByteTimeout", spec.first_byte_timeout.is_some()),
        (
            "tls (before 19.3: use ingress)",
            spec.tls.is_some() && version.and_then(minor).is_some_and(|v| v < LISTENER_TLS),
        ),
        ("providers.bedrock.fips", bedrock.is_some_and(|bedrock| bedrock.fips)),
        ("providers.bedrock.guardrail.streamProcessing", guardrail.is_some_and(|g| g.stream_processing.is_some())),
        ("providers.vertexAI.endpoint", vertex.is_some_and(|vertex| vertex.endpoint.is_some())),
        ("undeclaredModels: Refuse", spec.undeclared_models == Some(UndeclaredModels::Refuse)),
        ("limits", spec.limits.is_some()),
        ("tracing", spec.tracing.is_some()),
        ("docsIndex", spec.docs_index.is_some()),
        ("currency", spec.currency.is_some()),
    ];
    named(&fields)
}

/// Fields of a SelfHostedModel that the gateway's implementation does not have.
pub fn refused_of_model(implementation: Implementation, spec: &SelfHostedModelSpec) -> Vec<String> {
    if implementation == Implementation::Embedded {
        return Vec::new();
    }
    let fields = [
        ("connection", spec.connection.is_some()),
        ("weight", spec.weight.is_some()),
        ("mirrors", !spec.mirrors.is_empty()),
        ("fallbacks", !spec.fallbacks.is_empty()),
        ("timeouts", spec.timeouts.is_some()),
        ("retries", spec.retries.is_some()),
        ("circuitBreaker", spec.circuit_breaker.is_some()),
        ("hedging", spec.hedging.is_some()),
        ("concurrency", spec.concurrency.is_some()),
        ("promptCaching", spec.prompt_caching.is_some()),
        ("price", spec.price.is_some()),
    ];
    named(&fields)
}

/// The sentence for refused fields.
pub fn sentence(fields: &[String]) -> String {
    format!(
        "GitLab's own image has no such setting: {}. Take it out, or use implementation: Embedded",
        fields.join(", ")
    )
}

fn named(fields: &[(&str, bool)]) -> Vec<String> {
    fields.iter().filter(|(_, declared)| *declared).map(|(name, _)| format!("spec.{name}")).collect()
}

/// Major and minor of a version as GitLab writes it.
pub fn minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(['-', '+']).next()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether a pod of GitLab's image was started with the settings of this hash.
pub fn started_with(annotations: Option<&std::collections::BTreeMap<String, String>>, hash: &str) -> bool {
    annotations.and_then(|annotations| annotations.get(CONFIG_HASH)).is_some_and(|of| of == hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> AIGatewaySpec {
        let text =
            format!("{{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}}}, implementation: GitLab, {more}}}");
        serde_yaml_ng::from_str(&text).unwrap()
    }

    #[test]
    fn what_the_image_lacks_is_named() {
        for (more, refused) in [
            ("", ""),
            ("limits: {}, currency: EUR", "spec.limits spec.currency"),
            ("undeclaredModels: Allow", ""),
            ("undeclaredModels: Refuse", "spec.undeclaredModels: Refuse"),
            ("providers: {bedrock: {region: r, fips: true}}", "spec.providers.bedrock.fips"),
            ("requestTimeout: 2m, drainPeriod: 5s, logging: {prompts: true}", ""),
        ] {
            assert_eq!(refused_by_gitlab_image(&spec(more), None).join(" "), refused, "{more}");
        }
    }

    #[test]
    fn the_listener_has_tls_from_19_3_on() {
        let tls = spec("tls: {secretRef: {name: t}}");
        for (version, refused) in [(Some("19.2.4-ee"), true), (Some("19.3.0-ee"), false), (None, false)] {
            assert_eq!(!refused_by_gitlab_image(&tls, version).is_empty(), refused, "{version:?}");
        }
    }
}
