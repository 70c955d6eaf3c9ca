//! What GitLab's own image cannot do of what can be declared: it is refused with the fields named, never ignored.

use duo_api::annotations::{API_TOKEN_FINGERPRINT, CONFIG_HASH};
use duo_api::condition::SYNCED;
use duo_api::gateway::{AIGatewaySpec, Implementation, UndeclaredModels};
use duo_api::{AIGateway, ManagementPolicy, SelfHostedModel, SelfHostedModelSpec};
use kube::ResourceExt;

use crate::conditions;

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

/// Models whose key GitLab does not hold yet, while the pods are about to become those of GitLab's image: that one would
/// call them without a key. Only a model that GitLab holds counts: for the others nobody asks.
pub fn keys_on_the_way(gateway: &AIGateway, models: &[SelfHostedModel]) -> Vec<String> {
    let written = gateway.spec.management_policy == ManagementPolicy::Full;
    if !written || gateway.spec.implementation != Implementation::GitLab || !is_changing(gateway) {
        return Vec::new();
    }
    let missing = |model: &&SelfHostedModel| {
        let synced = model.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, SYNCED));
        let given = model.annotations().contains_key(API_TOKEN_FINGERPRINT);
        let kept = model.spec.suspend || model.metadata.deletion_timestamp.is_some();
        model.spec.api_key_secret_ref.is_some() && synced && !given && !kept
    };
    models.iter().filter(missing).map(ResourceExt::name_any).collect()
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
    fn pods_change_over_once_gitlab_holds_the_keys_of_the_models_it_has() {
        let gateway = |spec: &str, seen: &str| -> AIGateway {
            let text = format!(
                "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: AIGateway, metadata: {{name: duo}}, spec: {{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}}}, {spec}}}, status: {{implementation: {seen}}}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let model = |meta: &str, key: &str, synced: &str| -> SelfHostedModel {
            let text = format!(
                "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: SelfHostedModel, metadata: {{name: m, {meta}}}, spec: {{gatewayRef: {{name: duo}}, displayName: V, platform: OpenAICompatible, family: Mistral, identifier: custom_openai/v, endpoint: 'http://v/v1', {key}}}, status: {{conditions: [{{type: Synced, status: '{synced}', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let (key, given) = ("apiKeySecretRef: {name: v}", "annotations: {duo.selfhosted.dev/api-token-fingerprint: x}");
        let to_gitlab = gateway("implementation: GitLab", "Embedded");
        for (gateway, model, waits) in [
            (&to_gitlab, model("", key, "True"), true),
            (&to_gitlab, model(given, key, "True"), false),
            (&to_gitlab, model("", "weight: 1", "True"), false),
            (&to_gitlab, model("", key, "False"), false),
            (&to_gitlab, model("", "apiKeySecretRef: {name: v}, suspend: true", "True"), false),
            (&to_gitlab, model("deletionTimestamp: '2026-01-01T00:00:00Z'", key, "True"), false),
            (&gateway("implementation: GitLab", "GitLab"), model("", key, "True"), false),
            (&gateway("implementation: GitLab, managementPolicy: Observe", "Embedded"), model("", key, "True"), false),
            (&gateway("implementation: Embedded", "GitLab"), model("", key, "True"), false),
        ] {
            assert_eq!(
                !keys_on_the_way(gateway, std::slice::from_ref(&model)).is_empty(),
                waits,
                "{gateway:?} {model:?}"
            );
        }
    }

    #[test]
    fn refused_fields_are_told_with_the_cure() {
        let told = sentence(&["spec.limits".to_owned(), "spec.currency".to_owned()]);
        assert!(told.contains("spec.limits, spec.currency") && told.contains("implementation: Embedded"), "{told}");
    }

    #[test]
    fn a_pod_is_of_the_settings_that_its_annotation_names() {
        let pod = |hash: &str| std::collections::BTreeMap::from([(CONFIG_HASH.to_owned(), hash.to_owned())]);
        assert!(started_with(Some(&pod("a")), "a"));
        assert!(!started_with(Some(&pod("b")), "a"));
        assert!(!started_with(None, "a"));
    }

    #[test]
    fn the_listener_has_tls_from_19_3_on() {
        let tls = spec("tls: {secretRef: {name: t}}");
        for (version, refused) in [(Some("19.2.4-ee"), true), (Some("19.3.0-ee"), false), (None, false)] {
            assert_eq!(!refused_by_gitlab_image(&tls, version).is_empty(), refused, "{version:?}");
        }
    }
}
