//! Secrets and ConfigMaps that resources refer to, as they are now: a cached Secret would be used after its rotation.
//! `duo_core::inputs` lists what is referred to.

use std::collections::BTreeMap;
use std::sync::Arc;

use duo_api::common::{CaBundleKind, CaBundleRef};
use duo_api::{AIGateway, SecretKeyRef, SelfHostedModel};
use duo_core::desired::Credentials;
use duo_core::inputs::{self, Input, Kind, TRACING_HEADERS};
use duo_gateway_config::AWS_CREDENTIAL_FILES;
use kube::ResourceExt;

use crate::fresh::{Data, Fresh, Object};
use crate::well_formed;

/// An input that is missing or unusable. Never holds a value of a Secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{kind} {namespace}/{name} does not exist; create it")]
    NotFound { kind: &'static str, namespace: String, name: String },
    #[error("{kind} {namespace}/{name} has no key {key:?}; add it")]
    KeyMissing { kind: &'static str, namespace: String, name: String, key: String },
    #[error("{what} is not text")]
    NotText { what: String },
    #[error("{kind} {namespace}/{name}: {problem}")]
    Unusable { kind: &'static str, namespace: String, name: String, problem: String },
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
            Self::Unusable { kind: "ConfigMap", .. } => "ConfigMapInvalid",
            Self::NotText { .. } | Self::Unusable { .. } => "SecretInvalid",
            Self::Kube(error) => error.category(),
        }
    }

    /// Whether a person has to act; the others pass by themselves.
    pub(crate) fn needs_person(&self) -> bool {
        !matches!(self, Self::Kube(_))
    }
}

/// One value of a Secret.
pub(crate) async fn secret_value(
    fresh: &Fresh,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Vec<u8>, InputError> {
    Objects::new(fresh, namespace).value(Kind::Secret, &reference.name, &reference.key).await
}

/// Which version of an object there is: its uid and resourceVersion; `None` when it does not exist.
pub(crate) async fn version(
    fresh: &Fresh,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<String>, duo_runtime::Error> {
    Ok(fresh.get(kind, namespace, name).await?.map(|object| object.version.clone()))
}

/// PEM certificates.
pub(crate) async fn ca_bundle(fresh: &Fresh, namespace: &str, reference: &CaBundleRef) -> Result<Vec<u8>, InputError> {
    let kind = match reference.kind {
        CaBundleKind::Secret => Kind::Secret,
        CaBundleKind::ConfigMap => Kind::ConfigMap,
    };
    Objects::new(fresh, namespace).value(kind, &reference.name, &reference.key).await
}

/// Objects of one namespace, each read once: what belongs together comes from one version of it.
pub(crate) struct Objects<'a> {
    fresh: &'a Fresh,
    namespace: &'a str,
    read: BTreeMap<(Kind, String), Option<Arc<Object>>>,
}

impl<'a> Objects<'a> {
    pub(crate) fn new(fresh: &'a Fresh, namespace: &'a str) -> Self {
        Self { fresh, namespace, read: BTreeMap::new() }
    }

    /// The values of these inputs by file, all there and well-formed. The error names the field.
    pub(crate) async fn files(&mut self, inputs: &[Input]) -> Result<Data, FieldError> {
        let mut files = Data::new();
        for input in inputs {
            let value = self.input(input).await.map_err(|error| FieldError { field: input.field.clone(), error })?;
            files.insert(input.file.clone(), value);
        }
        Ok(files)
    }

    async fn input(&mut self, input: &Input) -> Result<Vec<u8>, InputError> {
        let value = self.value(input.kind, &input.object, &input.key).await?;
        let companion = match input.form {
            inputs::Form::KeyOf(certificate) => Some(self.value(input.kind, &input.object, certificate).await?),
            _ => None,
        };
        match well_formed::check(input.form, &value, companion.as_deref()) {
            Ok(()) => Ok(value),
            Err(problem) => Err(InputError::Unusable {
                kind: input.kind.name(),
                namespace: self.namespace.to_owned(),
                name: input.object.clone(),
                problem: format!("key {:?} {problem}", input.key),
            }),
        }
    }

    async fn value(&mut self, kind: Kind, name: &str, key: &str) -> Result<Vec<u8>, InputError> {
        let namespace = self.namespace.to_owned();
        let found = self.data(kind, name).await?.get(key).filter(|value| !value.is_empty()).cloned();
        found.ok_or_else(|| InputError::KeyMissing {
            kind: kind.name(),
            namespace,
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }

    async fn data(&mut self, kind: Kind, name: &str) -> Result<&Data, InputError> {
        let key = (kind, name.to_owned());
        if !self.read.contains_key(&key) {
            let object = self.fresh.get(kind, self.namespace, name).await?;
            self.read.insert(key.clone(), object);
        }
        self.read.get(&key).and_then(Option::as_ref).map(|object| &object.data).ok_or_else(|| InputError::NotFound {
            kind: kind.name(),
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// An [`InputError`] with the field that refers to the object.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {error}")]
pub(crate) struct FieldError {
    field: String,
    #[source]
    pub(crate) error: InputError,
}

/// Everything secret that a gateway mounts, but for its signing keys. A model or a further place of one whose key is
/// missing is left out; the model's own controller says so.
pub(crate) async fn credentials(
    fresh: &Fresh,
    gateway: &AIGateway,
    models: &[SelfHostedModel],
) -> Result<Credentials, FieldError> {
    let namespace = gateway.namespace().unwrap_or_default();
    let at = |field: &str| {
        let field = field.to_owned();
        move |error| FieldError { field, error }
    };
    let mut objects = Objects::new(fresh, &namespace);
    let mut credentials = Credentials::default();
    if let Some(reference) = inputs::aws_secret(&gateway.spec) {
        let field = at("spec.providers.bedrock.credentialsSecretRef");
        credentials.aws = aws_variables(&mut objects, &reference.name).await.map_err(field)?;
    }
    credentials.files = objects.files(&inputs::of_gateway(&gateway.spec)).await?;
    if let Some(reference) = inputs::headers_secret(&gateway.spec) {
        let headers = headers(&mut objects, &reference.name).await.map_err(at("spec.tracing.headersSecretRef"))?;
        credentials.files.insert(TRACING_HEADERS.to_owned(), headers);
    }
    if let Some(reference) = inputs::environment_secret(&gateway.spec) {
        let field = at("spec.gitlabImage.environmentSecretRef");
        let data = objects.data(Kind::Secret, &reference.name).await.map_err(field)?;
        credentials.environment = data.clone();
    }
    for model in models {
        let name = model.name_any();
        let further = inputs::of_further_places(&name, &model.spec).into_iter().map(|(_, inputs)| inputs);
        for inputs in std::iter::once(inputs::of_model(&name, &model.spec)).chain(further) {
            match objects.files(&inputs).await {
                Ok(files) => credentials.files.extend(files),
                Err(error) if error.error.needs_person() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(credentials)
}

async fn aws_variables(objects: &mut Objects<'_>, name: &str) -> Result<Data, InputError> {
    let data = objects.data(Kind::Secret, name).await?;
    let variables: Data = data
        .iter()
        .filter(|(key, value)| AWS_CREDENTIAL_FILES.contains(&key.as_str()) && !value.is_empty())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let has = |key: &str| variables.contains_key(key);
    if has("AWS_BEARER_TOKEN_BEDROCK") || (has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY")) {
        return Ok(variables);
    }
    Err(InputError::Unusable {
        kind: "Secret",
        namespace: objects.namespace.to_owned(),
        name: name.to_owned(),
        problem: "it needs the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK"
            .to_owned(),
    })
}

/// All keys of a Secret as a JSON object of headers.
async fn headers(objects: &mut Objects<'_>, name: &str) -> Result<Vec<u8>, InputError> {
    let namespace = objects.namespace.to_owned();
    let data = objects.data(Kind::Secret, name).await?;
    well_formed::headers(data).map_err(|problem| InputError::Unusable {
        kind: "Secret",
        namespace,
        name: name.to_owned(),
        problem,
    })
}
