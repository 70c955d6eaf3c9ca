//! The operator-owned Secret with all keys of one gateway: flat files, mounted as a folder by the operator's own gateway,
//! read as environment variables by GitLab's image.

use std::collections::BTreeMap;
use std::fmt;

use duo_api::AIGateway;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::child_meta;
use crate::labels;

/// File with the RSA key that signs user tokens.
pub const SIGNING_KEY: &str = "signing-key.pem";
/// File with the key beside it, which only checks: the next signing key, or after a rotation the previous one.
pub const VALIDATION_KEY: &str = "validation-key.pem";
/// The agent platform's own signing key.
pub const WORKFLOW_SIGNING_KEY: &str = "workflow-signing-key.pem";
/// The key beside it.
pub const WORKFLOW_VALIDATION_KEY: &str = "workflow-validation-key.pem";
/// What the files of further environment variables begin with.
const VARIABLE: &str = "environment.";

/// A key that signs and the one beside it, PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyPair {
    /// RSA private key that signs; its tokens are valid too.
    pub signing: Vec<u8>,
    /// RSA private key whose tokens are valid; two separate keys, as GitLab's gateway asks for.
    pub validation: Vec<u8>,
}

/// Secret values. `Debug` tells only which there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// RSA private key, PEM.
    pub signing_key: Vec<u8>,
    /// RSA private key beside it, PEM.
    pub validation_key: Vec<u8>,
    /// Keys of the agent platform's tokens; only GitLab's image has use for them.
    pub workflow: Option<KeyPair>,
    /// Annotations that tell how far a rotation of the signing keys is.
    pub rotation: BTreeMap<String, String>,
    /// AWS variables by name.
    pub aws: BTreeMap<String, Vec<u8>>,
    /// Further environment variables of GitLab's image by name.
    pub environment: BTreeMap<String, Vec<u8>>,
    /// Values of [`crate::inputs`] that are at hand and well-formed, by file name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("aws", &self.aws.keys())
            .field("environment", &self.environment.keys())
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

/// Name of the file of a further environment variable.
pub(super) fn variable_file(name: &str) -> String {
    format!("{VARIABLE}{name}")
}

impl Credentials {
    /// Whether all of these values are at hand.
    pub(super) fn have(&self, inputs: &[crate::inputs::Input]) -> bool {
        inputs.iter().all(|input| self.files.contains_key(&input.file))
    }

    /// The files of the mounted folder, without the configuration itself.
    pub(super) fn files(&self) -> BTreeMap<String, ByteString> {
        let mut files: BTreeMap<String, &Vec<u8>> = BTreeMap::from([
            (SIGNING_KEY.to_owned(), &self.signing_key),
            (VALIDATION_KEY.to_owned(), &self.validation_key),
        ]);
        if let Some(pair) = &self.workflow {
            files.insert(WORKFLOW_SIGNING_KEY.to_owned(), &pair.signing);
            files.insert(WORKFLOW_VALIDATION_KEY.to_owned(), &pair.validation);
        }
        files.extend(self.aws.iter().chain(&self.files).map(|(name, value)| (name.clone(), value)));
        files.extend(self.environment.iter().map(|(name, value)| (variable_file(name), value)));
        files.into_iter().map(|(name, value)| (name, ByteString(value.clone()))).collect()
    }
}

pub(super) fn secret(
    gateway: &AIGateway,
    files: BTreeMap<String, ByteString>,
    rotation: &BTreeMap<String, String>,
) -> Secret {
    let mut metadata = child_meta(gateway, labels::credentials_secret(&gateway.name_any()));
    metadata.annotations = (!rotation.is_empty()).then(|| rotation.clone());
    Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(files), ..Secret::default() }
}
