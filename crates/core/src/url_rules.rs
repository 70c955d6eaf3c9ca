//! URLs as GitLab and the operator compare them.

use duo_api::AIGateway;
use kube::ResourceExt;
use url::Url;

/// Port on which the gateway serves GitLab.
pub const GATEWAY_PORT: u16 = 5052;

/// As GitLab stores it: surrounding blanks and a trailing slash cut, blank is nothing.
pub fn normalize(url: &str) -> Option<String> {
    let cut = url.trim().trim_end_matches('/');
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// Two URLs that GitLab would store as the same.
pub fn same(a: Option<&str>, b: Option<&str>) -> bool {
    a.and_then(normalize) == b.and_then(normalize)
}

/// Identity of a GitLab instance: scheme, lower-case host, explicit port, path without trailing slash.
pub fn instance_key(url: &str) -> String {
    match Url::parse(url.trim()) {
        Ok(parsed) => format!(
            "{}://{}:{}{}",
            parsed.scheme(),
            parsed.host_str().unwrap_or_default().trim_end_matches('.'),
            parsed.port_or_known_default().unwrap_or_default(),
            parsed.path().trim_end_matches('/')
        ),
        Err(_) => url.trim().trim_end_matches('/').to_lowercase(),
    }
}

/// URL under which GitLab calls the gateway when the resource names none: the Service's DNS name. `tls`: the gateway
/// has a certificate.
pub fn service_url(name: &str, namespace: &str, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{name}.{namespace}.svc:{GATEWAY_PORT}")
}

/// URL under which GitLab calls a gateway: the declared one, else the Ingress' host, else the Service's DNS name.
pub fn gateway_url(gateway: &AIGateway) -> String {
    let spec = &gateway.spec;
    let ingress = || {
        let ingress = spec.ingress.as_ref()?;
        Some(format!("{}://{}", if ingress.tls.is_some() { "https" } else { "http" }, ingress.host))
    };
    spec.url.clone().or_else(ingress).unwrap_or_else(|| {
        service_url(&gateway.name_any(), &gateway.namespace().unwrap_or_default(), spec.tls.is_some())
    })
}

/// Port of the agent platform's gRPC service.
pub const AGENT_PLATFORM_PORT: u16 = 50052;

/// What GitLab calls as its Agent Platform service, `host:port` without a scheme; `None` where none is declared.
pub fn agent_platform_url(gateway: &AIGateway) -> Option<String> {
    let platform = gateway.spec.agent_platform.as_ref()?;
    Some(platform.url.clone().unwrap_or_else(|| {
        let service = crate::labels::agent_platform_name(&gateway.name_any());
        format!("{service}.{}.svc:{AGENT_PLATFORM_PORT}", gateway.namespace().unwrap_or_default())
    }))
}

/// Whether GitLab speaks TLS to the declared agent platform.
pub fn agent_platform_secure(gateway: &AIGateway) -> Option<bool> {
    let platform = gateway.spec.agent_platform.as_ref()?;
    Some(platform.secure.unwrap_or(platform.tls.is_some()))
}

/// GitLab's REST API when the resource names none.
pub fn api_url(gitlab_url: &str) -> String {
    format!("{}/api/v4/", gitlab_url.trim().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlab_cuts_a_trailing_slash_from_the_gateway_url() {
        assert!(same(Some("http://duo.svc:5052/"), Some("http://duo.svc:5052")));
        assert!(same(Some("  "), None));
        assert!(!same(Some("http://a"), Some("http://b")));
    }

    #[test]
    fn what_is_declared_is_what_gitlab_calls() {
        let gateway = |spec: &str| -> AIGateway {
            let text = format!(
                "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: AIGateway, metadata: {{name: duo, namespace: ns}}, spec: {{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}}}, {spec}}}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        for (spec, url) in [
            ("", "http://duo.ns.svc:5052"),
            ("tls: {secretRef: {name: t}}", "https://duo.ns.svc:5052"),
            ("ingress: {host: duo.example.com}", "http://duo.example.com"),
            ("ingress: {host: duo.example.com, tls: {secretName: t}}", "https://duo.example.com"),
            ("url: 'http://lb:80', ingress: {host: duo.example.com}", "http://lb:80"),
        ] {
            assert_eq!(gateway_url(&gateway(spec)), url, "{spec}");
        }
        let service = Some("duo-agent-platform.ns.svc:50052");
        for (spec, url, secure) in [
            ("", None, None),
            ("agentPlatform: {}", service, Some(false)),
            ("agentPlatform: {tls: {secretRef: {name: t}}}", service, Some(true)),
            ("agentPlatform: {url: 'lb:443', secure: true}", Some("lb:443"), Some(true)),
            ("agentPlatform: {tls: {secretRef: {name: t}}, secure: false}", service, Some(false)),
        ] {
            let gateway = gateway(spec);
            assert_eq!(
                (agent_platform_url(&gateway).as_deref(), agent_platform_secure(&gateway)),
                (url, secure),
                "{spec}"
            );
        }
    }

    #[test]
    fn one_instance_has_one_key() {
        assert_eq!(instance_key("https://GitLab.example.com/"), instance_key("https://gitlab.example.com:443"));
        assert_eq!(instance_key("https://gitlab.example.com./"), instance_key("https://gitlab.example.com"));
        assert_ne!(instance_key("https://example.com/gitlab"), instance_key("https://example.com"));
        assert_ne!(instance_key("http://example.com"), instance_key("https://example.com"));
    }
}
