//! The listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{Shared, exchange};
use crate::error::{Error, Result};
use crate::pki::Identity;

/// An acceptor of HTTP/1.1 that asks for no client certificate.
pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor> {
    let failed = |why: String| Error::Invalid { what: "the proxy's certificate".into(), why };
    let chain = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) async fn start(shared: Arc<Shared>, tls: Option<TlsAcceptor>) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::io("listen on", "127.0.0.1:0"))?;
    let address = listener.local_addr().map_err(Error::io("listen on", "127.0.0.1:0"))?;
    let task = tokio::spawn(async move {
        // dropped with this task: every connection ends then
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (shared, tls) = (Arc::clone(&shared), tls.clone());
                        connections.spawn(async move {
                            match tls {
                                None => connection(shared, stream).await,
                                Some(tls) => match tls.accept(stream).await {
                                    Ok(stream) => connection(shared, stream).await,
                                    Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                                },
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    });
    Ok((address, task))
}

async fn connection(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| exchange::serve(Arc::clone(&shared), request));
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}
