//! Small neighbours of the gateway that only look: a proxy, a door with TLS, and servers with one answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use duo_testkit::pki::{CertificateAuthority, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, rustls};

/// What a neighbour has seen; texts are heads of requests, or names.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn has(&self, words: &str) -> bool {
        self.all().iter().any(|text| text.contains(words))
    }
}

/// Runs until it is dropped.
pub struct Neighbour {
    pub addr: SocketAddr,
    pub seen: Seen,
    task: JoinHandle<()>,
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&buffer[..count]);
    }
    Some(head)
}

/// A server that gives every request the same answer and remembers heads and bodies (as far as they are text).
pub async fn recorder(content_type: &'static str, answer: String) -> Neighbour {
    let (listener, addr) = listen().await;
    let seen = Seen::default();
    let task = tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    let Some(mut request) = read_head(&mut stream).await else { return };
                    let text = String::from_utf8_lossy(&request).to_lowercase();
                    let length =
                        text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
                    let head = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
                    while request.len() < head + length.unwrap_or(0) {
                        let mut buffer = [0; 8192];
                        match stream.read(&mut buffer).await {
                            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                            _ => return,
                        }
                    }
                    seen.add(String::from_utf8_lossy(&request).into_owned());
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        answer.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        }
    });
    Neighbour { addr, seen, task }
}

/// An HTTP proxy for plain http:// addresses; remembers the request lines.
pub async fn proxy() -> Neighbour {
    let (listener, addr) = listen().await;
    let seen = Seen::default();
    let task = tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let Some(head) = read_head(&mut stream).await else { return };
                    let text = String::from_utf8_lossy(&head).into_owned();
                    let line = text.lines().next().unwrap_or_default().to_owned();
                    let target =
                        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).map(str::to_owned);
                    seen.add(line);
                    let Some(target) = target else { return };
                    let Ok(mut upstream) = TcpStream::connect(&target).await else { return };
                    if upstream.write_all(&head).await.is_ok() {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
                    }
                });
            }
        }
    });
    Neighbour { addr, seen, task }
}

/// A door with TLS before a plain server: lets in only who shows a certificate of `clients`, and remembers the
/// certificates' fingerprints (their last bytes in hex).
pub async fn mutual_tls(identity: &Identity, clients: &CertificateAuthority, behind: SocketAddr) -> Neighbour {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(clients.cert_pem())).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .expect("a verifier");
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate(&identity.cert_pem)], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, addr) = listen().await;
    let seen = Seen::default();
    let task = tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, acceptor) = (seen.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|c| name(c));
                    seen.add(shown.unwrap_or_default());
                    let Ok(mut upstream) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
                });
            }
        }
    });
    Neighbour { addr, seen, task }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// How [`mutual_tls`] names a certificate.
pub fn fingerprint(identity: &Identity) -> String {
    name(&certificate(&identity.cert_pem))
}

fn name(certificate: &CertificateDer<'_>) -> String {
    certificate.iter().rev().take(16).map(|byte| format!("{byte:02x}")).collect()
}
