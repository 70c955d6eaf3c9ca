//! A client's connection: in plain text, or encrypted, as GitLab's is where the gateway has a certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::Fallible;

const NAME: &str = "localhost";

/// A connection of either kind.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// An open one.
pub type Line = Box<dyn Duplex>;

/// How the gateway is reached.
#[derive(Clone)]
pub struct Way {
    gateway: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Way {
    /// In plain text.
    pub fn plain(gateway: SocketAddr) -> Self {
        Self { gateway, tls: None }
    }

    /// Encrypted; `certificate` (PEM) is trusted.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn encrypted(gateway: SocketAddr, certificate: &str) -> Fallible<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { gateway, tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Connects.
    ///
    /// # Errors
    /// As the system or the handshake says.
    pub async fn connect(&self) -> std::io::Result<Line> {
        let stream = TcpStream::connect(self.gateway).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let name = ServerName::try_from(NAME).map_err(std::io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }
}

/// A certificate for the gateway and its key, PEM.
///
/// # Errors
/// No randomness.
pub fn certificate() -> Fallible<(String, String)> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}
