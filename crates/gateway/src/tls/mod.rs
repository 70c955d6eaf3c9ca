//! TLS of the API listener: what a certificate and its key make of a connection.
//!
//! Knows PEM texts and ciphers; where they come from (mounted folder, environment) is decided in [`crate::active`] and
//! [`reload`]. TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 by ALPN. A new certificate counts for new connections; those that
//! are there keep theirs.

mod ciphers;
pub(crate) mod reload;
mod validity;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use ciphers::Ciphers;
pub use validity::Validity;

/// Protocols offered, the better one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// A certificate that ends sooner is warned about.
const SOON_SECONDS: i64 = 30 * 24 * 3600;

/// A certificate in force.
pub struct Certificate {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// When it begins and ends.
    pub validity: Validity,
    /// Over certificate, key and ciphers: the same ones need no new state.
    digest: [u8; 32],
}

/// What of a certificate and its key cannot be used. Never holds their content.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The certificate file.
    Certificate(String),
    /// The key file.
    Key(String),
}

impl Certificate {
    /// Reads a chain and its key. `previous` is given back where nothing changed, so that sessions can be resumed.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(chain: &[u8], key: &[u8], ciphers: &Ciphers, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, Fault> {
        let digest = digest(chain, key, ciphers);
        if let Some(previous) = previous.filter(|previous| previous.digest == digest) {
            return Ok(previous.clone());
        }
        let unreadable = || Fault::Certificate("is not a chain of PEM certificates".to_owned());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| unreadable())?;
        let leaf = chain.first().ok_or_else(unreadable)?;
        let validity = Validity::of(leaf)
            .ok_or_else(|| Fault::Certificate("its first certificate cannot be read as X.509".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| Fault::Key("is not a private key in PEM (without a passphrase)".to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ciphers.provider()))
            .with_protocol_versions(&ciphers.versions())
            .map_err(|_| Fault::Certificate("the allowed ciphers leave no version of TLS".to_owned()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| fault(&error))?;
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(Self { config: Arc::new(config), validity, digest }))
    }

    /// Says which certificate is in force from now on, and warns where it will soon not be good any more.
    pub fn announce(&self, now: i64) {
        let shown =
            |seconds: i64| jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |at| at.to_string());
        let (begins, ends) = (shown(self.validity.not_before), shown(self.validity.not_after));
        tracing::info!(not_before = begins, not_after = ends, "TLS certificate in force");
        if self.validity.not_before > now {
            tracing::warn!(not_before = begins, "the TLS certificate is not valid yet: clients refuse it");
        } else if self.validity.not_after <= now {
            tracing::warn!(not_after = ends, "the TLS certificate has ended: clients refuse it; replace it");
        } else if self.validity.not_after - now < SOON_SECONDS {
            tracing::warn!(not_after = ends, "the TLS certificate ends in less than 30 days; replace it");
        }
    }
}

fn fault(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InconsistentKeys(_) => Fault::Key("does not belong to the certificate".to_owned()),
        rustls::Error::InvalidCertificate(_) => Fault::Certificate("its first certificate cannot be used".to_owned()),
        // nothing else can be wrong here: the ciphers hold for every key, and names play no part
        other => Fault::Key(format!("cannot be used: {other}")),
    }
}

fn digest(chain: &[u8], key: &[u8], ciphers: &Ciphers) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [chain, key, ciphers.names().as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn read(chain: &str, key: &str) -> Result<Arc<Certificate>, Fault> {
        Certificate::read(chain.as_bytes(), key.as_bytes(), &Ciphers::default(), None)
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_file_and_never_repeated() {
        let ((chain, key), (_, other)) = (pair(), pair());
        assert!(read(&chain, &key).is_ok());
        assert!(read(&format!("{chain}{}", pair().0), &key).is_ok(), "with intermediates");
        let broken = "-----BEGIN CERTIFICATE-----\nc3dvcmRmaXNo\n-----END CERTIFICATE-----\n";
        for (chain, key, certificate, part) in [
            ("", key.as_str(), true, "PEM"),
            ("swordfish", &key, true, "PEM"),
            (&key, &key, true, "PEM"),
            (broken, &key, true, "X.509"),
            (&chain, "", false, "PEM"),
            (&chain, &chain, false, "PEM"),
            (&chain, &other, false, "does not belong"),
        ] {
            let (is_certificate, text) = match read(chain, key).err().unwrap() {
                Fault::Certificate(text) => (true, text),
                Fault::Key(text) => (false, text),
            };
            assert_eq!(is_certificate, certificate, "{text}");
            assert!(text.contains(part) && !text.contains("swordfish"), "{text}");
        }
    }

    #[test]
    fn the_same_files_keep_their_state_and_others_do_not() {
        let (chain, key) = pair();
        let first = read(&chain, &key).unwrap();
        let again = Certificate::read(chain.as_bytes(), key.as_bytes(), &Ciphers::default(), Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let (chain, key) = pair();
        let other = Certificate::read(chain.as_bytes(), key.as_bytes(), &Ciphers::default(), Some(&first)).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
    }
}
