//! Environment variables that both services of GitLab's image read.

use std::collections::BTreeMap;

use duo_api::AIGateway;
use duo_api::providers::GuardrailTrace;
use duo_api::serving::LogLevel;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use kube::ResourceExt;
use serde_json::json;

use super::FILES;
use crate::desired::credentials::{
    Credentials, SIGNING_KEY, VALIDATION_KEY, WORKFLOW_SIGNING_KEY, WORKFLOW_VALIDATION_KEY, variable_file,
};
use crate::{inputs, labels, url_rules};

/// Variables by name, so that a declared one replaces one that is set here.
pub(super) struct Environment {
    secret: String,
    variables: BTreeMap<String, EnvVar>,
}

impl Environment {
    /// What both services are told.
    pub(super) fn common(gateway: &AIGateway, credentials: &Credentials) -> Self {
        let secret = labels::credentials_secret(&gateway.name_any());
        let mut all = Self { secret, variables: BTreeMap::new() };
        all.gitlab(gateway);
        for (name, file) in [
            ("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", SIGNING_KEY),
            ("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", VALIDATION_KEY),
            ("DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY", WORKFLOW_SIGNING_KEY),
            ("DUO_WORKFLOW_SELF_SIGNED_JWT__VALIDATION_KEY", WORKFLOW_VALIDATION_KEY),
        ] {
            all.secret(name, file);
        }
        all.set("AIGW_CUSTOM_MODELS__ENABLED", "true");
        all.providers(gateway, credentials);
        if credentials.files.contains_key(inputs::CA_BUNDLE) {
            // Three HTTP stacks, each with a variable of its own.
            for name in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "DUO_WORKFLOW_GITLAB_SSL_CA_FILE"] {
                all.set(name, format!("{FILES}/{}", inputs::CA_BUNDLE));
            }
        }
        if let Some(proxy) = &gateway.spec.proxy {
            all.set_some("HTTPS_PROXY", proxy.https_proxy.as_deref());
            all.set_some("HTTP_PROXY", proxy.http_proxy.as_deref());
            all.set_some("NO_PROXY", (!proxy.no_proxy.is_empty()).then(|| proxy.no_proxy.join(",")).as_deref());
        }
        if let Some(logging) = &gateway.spec.logging {
            let level = match logging.level {
                LogLevel::Debug => "DEBUG",
                LogLevel::Info => "INFO",
                LogLevel::Warn => "WARNING",
                LogLevel::Error => "ERROR",
            };
            all.set("AIGW_LOGGING__LEVEL", level);
            all.set("DUO_WORKFLOW_LOGGING__LEVEL", level);
            if logging.prompts {
                all.set("AIGW_LOGGING__ENABLE_REQUEST_LOGGING", "true");
                all.set("AIGW_LOGGING__ENABLE_LITELLM_LOGGING", "true");
            }
        }
        if let Some(seconds) = gateway.spec.request_timeout.as_deref().and_then(crate::durations::seconds) {
            all.set("AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT", seconds.to_string());
        }
        all
    }

    fn gitlab(&mut self, gateway: &AIGateway) {
        let spec = &gateway.spec.gitlab;
        let url = spec.url.trim_end_matches('/');
        self.set("AIGW_GITLAB_URL", url);
        self.set("AIGW_GITLAB_API_URL", spec.api_url.clone().unwrap_or_else(|| url_rules::api_url(&spec.url)));
        self.set("DUO_WORKFLOW_AUTH__ENABLED", "true");
        if spec.offline {
            // Else each request waits some 20 s for keys of a portal that is out of reach.
            self.set("AIGW_CUSTOMER_PORTAL_URL", url);
            self.set("DUO_WORKFLOW_AUTH__OIDC_CUSTOMER_PORTAL_URL", url);
        }
    }

    fn providers(&mut self, gateway: &AIGateway, credentials: &Credentials) {
        let Some(providers) = &gateway.spec.providers else { return };
        if let Some(bedrock) = &providers.bedrock {
            // LiteLLM and botocore each read one of the two.
            self.set("AWS_REGION_NAME", bedrock.region.as_str());
            self.set("AWS_REGION", bedrock.region.as_str());
            self.set_some("AWS_BEDROCK_RUNTIME_ENDPOINT", bedrock.endpoint.as_deref());
            for name in credentials.aws.keys() {
                self.secret(name, name);
            }
            if let Some(guardrail) = &bedrock.guardrail {
                let trace = match guardrail.trace {
                    None | Some(GuardrailTrace::Disabled) => "disabled",
                    Some(GuardrailTrace::Enabled) => "enabled",
                    Some(GuardrailTrace::Full) => "enabled_full",
                };
                let config = json!({
                    "guardrailIdentifier": guardrail.identifier,
                    "guardrailVersion": guardrail.version,
                    "trace": trace,
                });
                // Both names were seen.
                for name in ["AIGW_BEDROCK_GUARDRAIL_CONFIG", "AIGW_BEDROCK_GUARDRAIL_CONFIG_JSON"] {
                    self.set(name, config.to_string());
                }
            }
        }
        if let Some(vertex) = &providers.vertex_ai {
            self.set("VERTEXAI_PROJECT", vertex.project.as_str());
            self.set("VERTEXAI_LOCATION", vertex.location.as_str());
            if credentials.files.contains_key(inputs::VERTEX_CREDENTIALS) {
                self.set("GOOGLE_APPLICATION_CREDENTIALS", format!("{FILES}/{}", inputs::VERTEX_CREDENTIALS));
            }
        }
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let variable = EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None };
        self.variables.insert(name.to_owned(), variable);
    }

    fn set_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn secret(&mut self, name: &str, file: &str) {
        let key = SecretKeySelector { name: self.secret.clone(), key: file.to_owned(), optional: None };
        let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
        let variable = EnvVar { name: name.to_owned(), value: None, value_from: Some(source) };
        self.variables.insert(name.to_owned(), variable);
    }

    /// With the declared variables, which win.
    pub(super) fn finish(mut self, gateway: &AIGateway, credentials: &Credentials) -> Vec<EnvVar> {
        let plain = gateway.spec.gitlab_image.as_ref().map(|image| &image.environment);
        for (name, value) in plain.into_iter().flatten() {
            // A dollar begins a reference to another variable in a container's environment.
            self.set(name, value.replace('$', "$$"));
        }
        for name in credentials.environment.keys() {
            self.secret(name, &variable_file(name));
        }
        self.variables.into_values().collect()
    }
}
