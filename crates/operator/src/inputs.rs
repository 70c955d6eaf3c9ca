//! Secrets and ConfigMaps that resources refer to, read live: a cached Secret would be used after its rotation.

use std::collections::BTreeMap;

use duo_api::common::{CaBundleKind, CaBundleRef};
use duo_api::{AIGateway, SecretKeyRef, SelfHostedModel};
use duo_core::desired::Credentials;
use duo_gateway_config::AWS_CREDENTIAL_FILES;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};

/// An input that is missing or unusable. Never holds a value of a Secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{kind} {namespace}/{name} does not exist; create it")]
    NotFound { kind: &'static str, namespace: String, name: String },
    #[error("{kind} {namespace}/{name} has no key {key:?}; add it")]
    KeyMissing { kind: &'static str, namespace: String, name: String, key: String },
    #[error("{what} is not text")]
    NotText { what: String },
    #[error("Secret {namespace}/{name}: {problem}")]
    Unusable { namespace: String, name: String, problem: String },
    #[error(transparent)]
    Kube(#[from] duo_runtime::Error),
}

impl InputError {
    /// Bounded reason.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::NotFound { kind: "Secret", .. } => "SecretNotFound",
            Self::NotFound { .. } => "ConfigMapNotFound",
            Self::KeyMissing { kind: "Secret", .. } => "SecretKeyMissing",
            Self::KeyMissing { .. } => "ConfigMapKeyMissing",
            Self::NotText { .. } | Self::Unusable { .. } => "SecretInvalid",
            Self::Kube(error) => error.category(),
        }
    }

    /// Whether a person has to act; the others pass by themselves.
    pub(crate) fn needs_person(&self) -> bool {
        !matches!(self, Self::Kube(_))
    }
}

async fn secret(kube: &kube::Client, namespace: &str, name: &str) -> Result<Secret, InputError> {
    let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
    duo_runtime::call(format!("get Secret {namespace}/{name}"), api.get_opt(name))
        .await?
        .ok_or_else(|| InputError::NotFound { kind: "Secret", namespace: namespace.to_owned(), name: name.to_owned() })
}

/// One value of a Secret.
pub(crate) async fn secret_value(
    kube: &kube::Client,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Vec<u8>, InputError> {
    let found = secret(kube, namespace, &reference.name).await?;
    found
        .data
        .unwrap_or_default()
        .remove(&reference.key)
        .map(|value| value.0)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| InputError::KeyMissing {
            kind: "Secret",
            namespace: namespace.to_owned(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        })
}

/// Which version of a Secret there is: its uid and resourceVersion; `None` when it does not exist.
pub(crate) async fn secret_version(
    kube: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, duo_runtime::Error> {
    let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
    let found = duo_runtime::call(format!("get Secret {namespace}/{name}"), api.get_metadata_opt(name)).await?;
    Ok(found.map(|meta| format!("{}/{}", meta.uid().unwrap_or_default(), meta.resource_version().unwrap_or_default())))
}

/// PEM certificates.
pub(crate) async fn ca_bundle(
    kube: &kube::Client,
    namespace: &str,
    reference: &CaBundleRef,
) -> Result<Vec<u8>, InputError> {
    match reference.kind {
        CaBundleKind::Secret => {
            let key = SecretKeyRef { name: reference.name.clone(), key: reference.key.clone() };
            secret_value(kube, namespace, &key).await
        }
        CaBundleKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(kube.clone(), namespace);
            let name = &reference.name;
            let found =
                duo_runtime::call(format!("get ConfigMap {namespace}/{name}"), api.get_opt(name)).await?.ok_or_else(
                    || InputError::NotFound { kind: "ConfigMap", namespace: namespace.to_owned(), name: name.clone() },
                )?;
            found.data.unwrap_or_default().remove(&reference.key).map(String::into_bytes).ok_or_else(|| {
                InputError::KeyMissing {
                    kind: "ConfigMap",
                    namespace: namespace.to_owned(),
                    name: name.clone(),
                    key: reference.key.clone(),
                }
            })
        }
    }
}

/// Everything secret that a gateway mounts, but for its signing keys. A model whose key is missing is left out; its own
/// controller says so.
pub(crate) async fn credentials(
    kube: &kube::Client,
    gateway: &AIGateway,
    models: &[SelfHostedModel],
) -> Result<Credentials, InputError> {
    let namespace = gateway.namespace().unwrap_or_default();
    let mut credentials = Credentials::default();
    let bedrock = gateway.spec.providers.as_ref().and_then(|providers| providers.bedrock.as_ref());
    if let Some(reference) = bedrock.and_then(|bedrock| bedrock.credentials_secret_ref.as_ref()) {
        credentials.aws = aws_variables(kube, &namespace, &reference.name).await?;
    }
    if let Some(reference) = &gateway.spec.gitlab.ca_bundle_ref {
        credentials.ca_bundle = Some(ca_bundle(kube, &namespace, reference).await?);
    }
    for model in models {
        let Some(reference) = &model.spec.api_key_secret_ref else { continue };
        match secret_value(kube, &namespace, reference).await {
            Ok(key) => {
                credentials.model_keys.insert(model.name_any(), key);
            }
            Err(error) if error.needs_person() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(credentials)
}

async fn aws_variables(
    kube: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, InputError> {
    let data = secret(kube, namespace, name).await?.data.unwrap_or_default();
    let variables: BTreeMap<String, Vec<u8>> = data
        .into_iter()
        .filter(|(key, value)| AWS_CREDENTIAL_FILES.contains(&key.as_str()) && !value.0.is_empty())
        .map(|(key, value)| (key, value.0))
        .collect();
    let has = |key: &str| variables.contains_key(key);
    if has("AWS_BEARER_TOKEN_BEDROCK") || (has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY")) {
        return Ok(variables);
    }
    Err(InputError::Unusable {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        problem: "it needs the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK"
            .to_owned(),
    })
}
