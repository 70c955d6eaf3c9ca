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
/// File with additional CA certificates.
pub(super) const CA_BUNDLE: &str = "ca.crt";

/// Secret values. `Debug` tells only which there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// RSA private key, PEM.
    pub signing_key: Vec<u8>,
    /// RSA private key of before, PEM; two separate keys, as GitLab's gateway asks for.
    pub validation_key: Vec<u8>,
    /// AWS variables by name.
    pub aws: BTreeMap<String, Vec<u8>>,
    /// PEM certificates.
    pub ca_bundle: Option<Vec<u8>>,
    /// API keys by the SelfHostedModel's name.
    pub model_keys: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("aws", &self.aws.keys())
            .field("ca_bundle", &self.ca_bundle.is_some())
            .field("model_keys", &self.model_keys.keys())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// The files of the mounted folder, without the configuration itself.
    pub(super) fn files(&self) -> BTreeMap<String, ByteString> {
        let mut files = BTreeMap::from([
            (SIGNING_KEY.to_owned(), ByteString(self.signing_key.clone())),
            (VALIDATION_KEY.to_owned(), ByteString(self.validation_key.clone())),
        ]);
        files.extend(self.aws.iter().map(|(name, value)| (name.clone(), ByteString(value.clone()))));
        files.extend(self.ca_bundle.iter().map(|pem| (CA_BUNDLE.to_owned(), ByteString(pem.clone()))));
        files.extend(
            self.model_keys.iter().map(|(model, key)| (labels::model_key_file(model), ByteString(key.clone()))),
        );
        files
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
