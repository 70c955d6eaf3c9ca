//! Which certificate authorities are trusted: the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` are read with them),
//! the public ones built in where the system has none (our image is an empty root), and the administrator's own.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates to trust. Two values are equal when they lead to the same decisions, so that clients and their
/// connections are kept when nothing changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trust {
    roots: Arc<[CertificateDer<'static>]>,
}

impl Trust {
    /// System or built-in roots plus the bundles.
    ///
    /// # Errors
    /// A text naming the bundle that is not PEM certificates.
    pub fn gather(bundles: &[(&str, &[u8])]) -> Result<Self, String> {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(error = %error, "certificates of the system (or of SSL_CERT_FILE, SSL_CERT_DIR) cannot be read");
        }
        let mut roots: Vec<CertificateDer<'static>> = native.certs;
        if roots.is_empty() {
            roots.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        Self { roots: roots.into() }.with(bundles)
    }

    /// These plus the bundles.
    ///
    /// # Errors
    /// As [`Trust::gather`].
    pub fn with(&self, bundles: &[(&str, &[u8])]) -> Result<Self, String> {
        let mut roots = self.roots.to_vec();
        for (name, pem) in bundles {
            let own: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|_| format!("{name}: is not a bundle of PEM certificates"))?;
            if own.is_empty() {
                return Err(format!("{name}: holds no PEM certificate"));
            }
            roots.extend(own);
        }
        // what cannot be parsed as a trust anchor would fail, or even panic, in the clients later
        roots.retain(|root| rustls::RootCertStore::empty().add(root.clone()).is_ok());
        roots.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        roots.dedup();
        Ok(Self { roots: roots.into() })
    }

    /// For TLS.
    pub fn store(&self) -> rustls::RootCertStore {
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(self.roots.iter().cloned());
        store
    }
}

/// Reads a bundle from the file that a variable names.
///
/// # Errors
/// A text naming the file.
pub fn read_bundle(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_added_and_a_bad_one_is_named() {
        let plain = Trust::gather(&[]).unwrap();
        assert!(!plain.roots.is_empty(), "there must be public roots even where the system has none");
        let own = rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap().cert.pem();
        let more = Trust::gather(&[("ca.crt", own.as_bytes())]).unwrap();
        assert_eq!(more.roots.len(), plain.roots.len() + 1);
        assert!(plain.with(&[("ca.crt", own.as_bytes())]).unwrap() == more);
        assert!(Trust::gather(&[("ca.crt", b"nonsense")]).err().unwrap().contains("ca.crt"));
    }
}
