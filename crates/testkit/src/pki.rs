//! Certificates, keys and kubeconfigs of a throw-away cluster. Everything lives in memory until the caller writes it;
//! nothing here is fit for anything but tests and the demo.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::error::{Error, Result};

/// A certificate with its private key, both PEM. The key is PKCS#8, ECDSA P-256.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("cert_pem", &self.cert_pem).field("key_pem", &"[redacted]").finish()
    }
}

/// A certificate authority of one cluster (or of one test's TLS server).
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
}

impl CertificateAuthority {
    /// A new authority; `common_name` is what error messages of TLS clients show.
    pub fn new(common_name: &str) -> Result<Self> {
        let failed = |source| Error::Certificate { subject: common_name.to_owned(), source };
        let mut params = params(common_name, &[]).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let cert_pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), cert_pem })
    }

    /// The authority's certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key, PEM (PKCS#8): what kube-controller-manager signs with.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server certificate for `names`: host names, and IP addresses in their usual text form.
    pub fn server(&self, common_name: &str, names: &[&str]) -> Result<Identity> {
        self.sign(common_name, None, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate as Kubernetes reads it: the common name is the user, the organisation the group.
    ///
    /// One group at most (a limit of the certificate library); for more use impersonation.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        self.sign(user, group, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        common_name: &str,
        organization: Option<&str>,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        let failed = |source| Error::Certificate { subject: common_name.to_owned(), source };
        let mut params = params(common_name, names).map_err(failed)?;
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let cert_pem = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Identity { cert_pem, key_pem: key.serialize_pem() })
    }
}

fn params(common_name: &str, names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    // IP addresses among the names become IP entries by themselves
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// The key pair that signs and verifies service account tokens.
#[derive(Clone)]
pub struct ServiceAccountKeys {
    /// PEM, PKCS#8: `--service-account-signing-key-file` and `--service-account-private-key-file`.
    pub private_pem: String,
    /// PEM, SPKI: `--service-account-key-file`.
    pub public_pem: String,
}

impl ServiceAccountKeys {
    /// A new pair (ECDSA P-256).
    pub fn generate() -> Result<Self> {
        let key = KeyPair::generate()
            .map_err(|source| Error::Certificate { subject: "service account keys".into(), source })?;
        Ok(Self { private_pem: key.serialize_pem(), public_pem: key.public_key_pem() })
    }
}

impl std::fmt::Debug for ServiceAccountKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceAccountKeys([redacted])")
    }
}

/// How a kubeconfig's user proves who they are.
#[derive(Debug, Clone)]
pub enum Login {
    /// A client certificate.
    Certificate(Identity),
    /// A bearer token, as TokenRequest gives it.
    Token(Token),
    /// Someone with the right to impersonate, acting as another user: authorization is that user's exactly.
    As {
        /// Who really connects.
        identity: Identity,
        /// The user acted as.
        user: String,
        /// The groups acted in; `system:authenticated` is added by the API server.
        groups: Vec<String>,
    },
}

/// A bearer token; its `Debug` does not show it.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// A kubeconfig for one server and one user, as JSON (which is YAML, so every client reads it), all data inline.
///
/// `server` is a URL; `ca_pem` what its certificate is checked against; `namespace` the default one.
pub fn kubeconfig(server: &str, ca_pem: &str, login: &Login, namespace: &str) -> String {
    let user = match login {
        Login::Certificate(identity) => certificate_user(identity),
        Login::Token(Token(token)) => json!({"token": token}),
        Login::As { identity, user, groups } => {
            let mut entry = certificate_user(identity);
            entry["as"] = json!(user);
            entry["as-groups"] = json!(groups);
            entry
        }
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "duo", "cluster": {
            "server": server, "certificate-authority-data": base64(ca_pem),
        }}],
        "users": [{"name": "duo", "user": user}],
        "contexts": [{"name": "duo", "context": {"cluster": "duo", "user": "duo", "namespace": namespace}}],
        "current-context": "duo",
    });
    format!("{config:#}\n")
}

fn certificate_user(identity: &Identity) -> serde_json::Value {
    json!({
        "client-certificate-data": base64(&identity.cert_pem),
        "client-key-data": base64(&identity.key_pem),
    })
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_key_and_no_token() {
        let authority = CertificateAuthority::new("test").unwrap();
        let identity = authority.client("someone", Some("system:masters")).unwrap();
        let keys = ServiceAccountKeys::generate().unwrap();
        let text = format!("{identity:?} {keys:?} {:?}", Login::Token(Token("s3cret".into())));
        assert!(!text.contains("PRIVATE KEY") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn kubeconfigs_are_read_by_the_client_library() {
        let authority = CertificateAuthority::new("test").unwrap();
        let identity = authority.client("admin", None).unwrap();
        let login = Login::As { identity, user: "jane".into(), groups: vec!["a".into(), "b".into()] };
        let text = kubeconfig("https://127.0.0.1:1", authority.cert_pem(), &login, "ns");
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let user = config.auth_infos[0].auth_info.as_ref().unwrap();
        assert_eq!(user.impersonate.as_deref(), Some("jane"));
        assert_eq!(user.impersonate_groups.as_deref(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
        assert!(user.client_key_data.is_some());
    }
}
