//! What resources refer to in Secrets and ConfigMaps, and the file of the gateway's folder that each value becomes.
//!
//! The one list of references: the operator reads what stands here, watches what stands here, and asks for a new
//! connection check when one of them changes. It never sees a value.

use duo_api::common::{CaBundleKind, CaBundleRef};
use duo_api::gateway::AIGatewaySpec;
use duo_api::place::ConnectionSpec;
use duo_api::{LocalRef, SecretKeyRef, SelfHostedModelSpec};

/// File with additional CA certificates.
pub const CA_BUNDLE: &str = "ca.crt";
/// File with the listener's certificate chain.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// File with the listener's private key.
pub const TLS_KEY: &str = "tls.key";
/// File with the certificate chain of the agent platform's listener.
pub const AGENT_TLS_CERTIFICATE: &str = "agent-platform-tls.crt";
/// File with the private key of the agent platform's listener.
pub const AGENT_TLS_KEY: &str = "agent-platform-tls.key";
/// File with the service account's key for Vertex AI.
pub const VERTEX_CREDENTIALS: &str = "vertex-ai.json";
/// File with the headers for the collector of traces.
pub const TRACING_HEADERS: &str = "tracing-headers.json";

/// Kind of an object that is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl Kind {
    /// As in `kind:` of a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// One or more PEM certificates.
    Certificates,
    /// A PEM private key that belongs to the certificate in this file.
    KeyOf(&'static str),
    /// The JSON key file of a Google service account.
    ServiceAccountKey,
}

/// One value that becomes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Path of the referring field.
    pub field: String,
    /// Kind of the object.
    pub kind: Kind,
    /// Its name.
    pub object: String,
    /// Key in its data.
    pub key: String,
    /// The file that the value becomes.
    pub file: String,
    /// What the value must be.
    pub form: Form,
}

/// A place of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The declared endpoint itself.
    Own,
    /// A mirror, by name.
    Mirror(&'a str),
    /// A fallback, by name.
    Fallback(&'a str),
}

/// Names of the files that belong to one place. An underscore stands in no object's name, so no two places share one.
#[derive(Clone, Debug)]
pub struct PlaceFiles(String);

impl PlaceFiles {
    /// Files of a place of this model.
    pub fn new(model: &str, place: Place<'_>) -> Self {
        Self(match place {
            Place::Own => format!("model.{model}"),
            Place::Mirror(name) => format!("model.{model}_mirror_{name}"),
            Place::Fallback(name) => format!("model.{model}_fallback_{name}"),
        })
    }

    /// API key.
    pub fn api_key(&self) -> String {
        format!("{}.key", self.0)
    }

    /// Client certificate chain.
    pub fn certificate(&self) -> String {
        format!("{}_tls.crt", self.0)
    }

    /// Private key of the client certificate.
    pub fn certificate_key(&self) -> String {
        format!("{}_tls.key", self.0)
    }

    /// CA certificates.
    pub fn ca_bundle(&self) -> String {
        format!("{}_ca.crt", self.0)
    }
}

/// Values that the gateway as a whole needs, but for AWS variables and tracing headers: there all keys of a Secret count.
pub fn of_gateway(spec: &AIGatewaySpec) -> Vec<Input> {
    let mut inputs = Vec::new();
    if let Some(reference) = &spec.gitlab.ca_bundle_ref {
        inputs.push(ca_bundle("spec.gitlab.caBundleRef", reference, CA_BUNDLE.to_owned()));
    }
    if let Some(tls) = &spec.tls {
        inputs.extend(certificate("spec.tls.secretRef", &tls.secret_ref, TLS_CERTIFICATE, TLS_KEY));
    }
    if let Some(tls) = spec.agent_platform.as_ref().and_then(|platform| platform.tls.as_ref()) {
        let field = "spec.agentPlatform.tls.secretRef";
        inputs.extend(certificate(field, &tls.secret_ref, AGENT_TLS_CERTIFICATE, AGENT_TLS_KEY));
    }
    let vertex = spec.providers.as_ref().and_then(|providers| providers.vertex_ai.as_ref());
    if let Some(reference) = vertex.and_then(|vertex| vertex.credentials_secret_ref.as_ref()) {
        let field = "spec.providers.vertexAI.credentialsSecretRef";
        inputs.push(secret_key(field, reference, VERTEX_CREDENTIALS.to_owned(), Form::ServiceAccountKey));
    }
    inputs
}

/// Secret with the AWS variables.
pub fn aws_secret(spec: &AIGatewaySpec) -> Option<&LocalRef> {
    spec.providers.as_ref()?.bedrock.as_ref()?.credentials_secret_ref.as_ref()
}

/// Secret with the headers for the collector of traces.
pub fn headers_secret(spec: &AIGatewaySpec) -> Option<&LocalRef> {
    spec.tracing.as_ref()?.headers_secret_ref.as_ref()
}

/// Secret with further environment variables of GitLab's image.
pub fn environment_secret(spec: &AIGatewaySpec) -> Option<&LocalRef> {
    spec.gitlab_image.as_ref()?.environment_secret_ref.as_ref()
}

/// Values that a model needs at its own endpoint: without them it is not served.
pub fn of_model(model: &str, spec: &SelfHostedModelSpec) -> Vec<Input> {
    place("spec", model, Place::Own, spec.api_key_secret_ref.as_ref(), spec.connection.as_ref())
}

/// Values that each further place of a model needs: without them that place is left out.
pub fn of_further_places<'a>(model: &str, spec: &'a SelfHostedModelSpec) -> Vec<(Place<'a>, Vec<Input>)> {
    let mirrors = spec.mirrors.iter().map(|mirror| {
        let at = Place::Mirror(&mirror.name);
        let field = format!("spec.mirrors[{}]", mirror.name);
        (at, place(&field, model, at, mirror.api_key_secret_ref.as_ref(), mirror.connection.as_ref()))
    });
    let fallbacks = spec.fallbacks.iter().map(|fallback| {
        let at = Place::Fallback(&fallback.name);
        let field = format!("spec.fallbacks[{}]", fallback.name);
        (at, place(&field, model, at, fallback.api_key_secret_ref.as_ref(), fallback.connection.as_ref()))
    });
    mirrors.chain(fallbacks).collect()
}

/// All values of a model's places.
pub fn of_all_places(model: &str, spec: &SelfHostedModelSpec) -> Vec<Input> {
    let further = of_further_places(model, spec).into_iter().flat_map(|(_, inputs)| inputs);
    of_model(model, spec).into_iter().chain(further).collect()
}

/// Objects that a gateway refers to.
pub fn gateway_references(spec: &AIGatewaySpec) -> Vec<(Kind, String)> {
    let whole = [
        Some(&spec.gitlab.token_secret_ref.name),
        aws_secret(spec).map(|r| &r.name),
        headers_secret(spec).map(|r| &r.name),
        environment_secret(spec).map(|r| &r.name),
    ];
    let whole = whole.into_iter().flatten().map(|name| (Kind::Secret, name.clone()));
    once_each(whole.chain(objects(of_gateway(spec))))
}

/// Objects that a model refers to.
pub fn model_references(spec: &SelfHostedModelSpec) -> Vec<(Kind, String)> {
    once_each(objects(of_all_places("", spec)))
}

fn objects(inputs: Vec<Input>) -> impl Iterator<Item = (Kind, String)> {
    inputs.into_iter().map(|input| (input.kind, input.object))
}

fn once_each(references: impl Iterator<Item = (Kind, String)>) -> Vec<(Kind, String)> {
    references.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn place(
    field: &str,
    model: &str,
    place: Place<'_>,
    api_key: Option<&SecretKeyRef>,
    connection: Option<&ConnectionSpec>,
) -> Vec<Input> {
    let files = PlaceFiles::new(model, place);
    let mut inputs = Vec::new();
    if let Some(reference) = api_key {
        inputs.push(secret_key(&format!("{field}.apiKeySecretRef"), reference, files.api_key(), Form::Text));
    }
    if let Some(reference) = connection.and_then(|connection| connection.client_certificate_secret_ref.as_ref()) {
        let field = format!("{field}.connection.clientCertificateSecretRef");
        inputs.extend(certificate(&field, reference, &files.certificate(), &files.certificate_key()));
    }
    if let Some(reference) = connection.and_then(|connection| connection.ca_bundle_ref.as_ref()) {
        inputs.push(ca_bundle(&format!("{field}.connection.caBundleRef"), reference, files.ca_bundle()));
    }
    inputs
}

fn secret_key(field: &str, reference: &SecretKeyRef, file: String, form: Form) -> Input {
    Input {
        field: field.to_owned(),
        kind: Kind::Secret,
        object: reference.name.clone(),
        key: reference.key.clone(),
        file,
        form,
    }
}

/// The two keys of a Secret of type `kubernetes.io/tls`.
fn certificate(field: &str, reference: &LocalRef, certificate: &str, key: &str) -> [Input; 2] {
    let input = |name: &str, file: &str, form| Input {
        field: field.to_owned(),
        kind: Kind::Secret,
        object: reference.name.clone(),
        key: name.to_owned(),
        file: file.to_owned(),
        form,
    };
    [input("tls.crt", certificate, Form::Certificates), input("tls.key", key, Form::KeyOf("tls.crt"))]
}

fn ca_bundle(field: &str, reference: &CaBundleRef, file: String) -> Input {
    Input {
        field: field.to_owned(),
        kind: match reference.kind {
            CaBundleKind::ConfigMap => Kind::ConfigMap,
            CaBundleKind::Secret => Kind::Secret,
        },
        object: reference.name.clone(),
        key: reference.key.clone(),
        file,
        form: Form::Certificates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_of_any_models_share_a_file() {
        let names = ["a", "a.tls", "a.key", "a-mirror-b", "a.b"];
        let mut files = Vec::new();
        for model in names {
            for place in [Place::Own, Place::Mirror("b"), Place::Mirror("b-tls"), Place::Fallback("b")] {
                let of = PlaceFiles::new(model, place);
                files.extend([of.api_key(), of.certificate(), of.certificate_key(), of.ca_bundle()]);
            }
        }
        files.extend([CA_BUNDLE, TLS_CERTIFICATE, TLS_KEY, VERTEX_CREDENTIALS, TRACING_HEADERS].map(str::to_owned));
        files.extend([AGENT_TLS_CERTIFICATE, AGENT_TLS_KEY].map(str::to_owned));
        let count = files.len();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), count);
    }

    #[test]
    fn the_longest_names_fit_a_secrets_key() {
        let files = PlaceFiles::new(&"m".repeat(200), Place::Fallback(&"f".repeat(28)));
        let longest = [files.api_key(), files.certificate(), files.certificate_key(), files.ca_bundle()];
        assert!(longest.iter().all(|name| name.len() <= 253), "{longest:?}");
    }
}
