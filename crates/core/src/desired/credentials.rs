//! The operator-owned Secret with all keys of one gateway, mounted as a folder of flat files.

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
/// File with the previous signing key.
pub const VALIDATION_KEY: &str = "validation-key.pem";

/// Secret values. `Debug` tells only which there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// RSA private key, PEM.
    pub signing_key: Vec<u8>,
    /// RSA private key of before, PEM; two separate keys, as GitLab's gateway asks for.
    pub validation_key: Vec<u8>,
    /// AWS variables by name.
    pub aws: BTreeMap<String, Vec<u8>>,
    /// Values of [`crate::inputs`] that are at hand and well-formed, by file name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("aws", &self.aws.keys())
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Whether all of these values are at hand.
    pub(super) fn have(&self, inputs: &[crate::inputs::Input]) -> bool {
        inputs.iter().all(|input| self.files.contains_key(&input.file))
    }

    /// The files of the mounted folder, without the configuration itself.
    pub(super) fn files(&self) -> BTreeMap<String, ByteString> {
        let keys = [(SIGNING_KEY, &self.signing_key), (VALIDATION_KEY, &self.validation_key)];
        let keys = keys.into_iter().map(|(name, value)| (name.to_owned(), value));
        let inputs = self.aws.iter().chain(&self.files).map(|(name, value)| (name.clone(), value));
        keys.chain(inputs).map(|(name, value)| (name, ByteString(value.clone()))).collect()
    }
}

pub(super) fn secret(gateway: &AIGateway, files: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: child_meta(gateway, labels::credentials_secret(&gateway.name_any())),
        type_: Some("Opaque".to_owned()),
        data: Some(files),
        ..Secret::default()
    }
}
