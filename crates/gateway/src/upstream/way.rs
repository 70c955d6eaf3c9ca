//! The way to a server: whom we trust, through which proxy, who we are. Two places with equal ways share connections.
//!
//! It knows nothing of models and of what is said to them.

use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::caller::Caller;
use crate::config_store::LoadError;
use crate::secret::Secret;
use crate::trust::Trust;

/// Idle connections are let go before the server does it: uvicorn, which vLLM runs on, closes them after 5 s, and a
/// request that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(4);
/// No connection to a model server or to GitLab within this time: it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who we say that we are.
pub(super) const AGENT: &str = concat!("duo-gateway/", env!("CARGO_PKG_VERSION"));

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Way {
    /// Trusted certificate authorities.
    pub trust: Trust,
    /// Through whom.
    pub proxy: ProxyChoice,
    /// Who we are, where the server asks for it.
    pub certificate: Option<ClientCertificate>,
}

/// Through whom a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Directly.
    None,
    /// Everything through this proxy. The URL may hold credentials.
    One(Secret),
    /// By the server's scheme, but for some hosts.
    Rules {
        /// For https:// servers.
        https: Option<Secret>,
        /// For http:// servers.
        http: Option<Secret>,
        /// Hosts, domains and CIDRs that are reached directly, separated by commas.
        except: String,
    },
}

/// A client certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Certificate, intermediates and unencrypted key, PEM.
    pem: Secret,
}

impl ClientCertificate {
    /// Of two PEM texts. `names` are shown in errors.
    ///
    /// # Errors
    /// [`LoadError::File`] when they are not a certificate and its key.
    pub fn read(certificate: &Secret, key: &Secret, names: (&str, &str)) -> Result<Self, LoadError> {
        let problem =
            |file: &str, problem: &str| LoadError::File { file: file.to_owned(), problem: problem.to_owned() };
        if !certificate.expose().contains("-----BEGIN CERTIFICATE-----") {
            return Err(problem(names.0, "is not a PEM certificate"));
        }
        if !key.expose().contains("PRIVATE KEY-----") {
            return Err(problem(names.1, "is not a PEM private key"));
        }
        let made = Self { pem: Secret::new(format!("{}\n{}\n", certificate.expose(), key.expose())) };
        made.identity().map_err(|_| problem(names.1, "is not an unencrypted PEM private key with its certificate"))?;
        Ok(made)
    }

    fn identity(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rustls::pki_types::pem::Error> {
        let pem = self.pem.expose().as_bytes();
        Ok((CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?, PrivateKeyDer::from_pem_slice(pem)?))
    }
}

/// Whom a proxy stands in front of.
pub(super) enum Proxies {
    Nobody,
    Everybody,
    Some(Box<Matcher>),
}

impl Proxies {
    pub(super) fn intercept(&self, server: &Uri) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Some(matcher) => matcher.intercept(server).is_some(),
        }
    }
}

impl Way {
    /// A client that goes this way. Redirects are not followed: a model server must not send a request with its key
    /// elsewhere.
    ///
    /// # Errors
    /// [`LoadError::File`] when certificates or the proxy cannot be used; never with the proxy's URL.
    pub fn caller(&self) -> Result<Caller, LoadError> {
        let tls = self.tls()?;
        let general = self.build(tls.clone(), reqwest::redirect::Policy::none())?;
        Ok(Caller::new(general, tls, self.proxies(), CONNECT_TIMEOUT, IDLE))
    }

    /// The same for key discovery at GitLab: redirects are followed, but only on the same host.
    ///
    /// # Errors
    /// As [`Way::caller`].
    pub fn discovery_client(&self) -> Result<reqwest::Client, LoadError> {
        self.build(
            self.tls()?,
            reqwest::redirect::Policy::custom(|attempt| {
                let from = attempt.previous().last().and_then(reqwest::Url::host_str);
                if attempt.previous().len() > 3 || from != attempt.url().host_str() {
                    attempt.stop()
                } else {
                    attempt.follow()
                }
            }),
        )
    }

    fn tls(&self) -> Result<rustls::ClientConfig, LoadError> {
        let builder = rustls::ClientConfig::builder().with_root_certificates(self.trust.store());
        let mut tls = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = certificate.identity().map_err(|error| failed("client certificate", &error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| failed("client certificate", &error))?
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(tls)
    }

    fn proxies(&self) -> Proxies {
        match &self.proxy {
            ProxyChoice::Environment => Proxies::Some(Box::new(Matcher::from_system())),
            ProxyChoice::None => Proxies::Nobody,
            ProxyChoice::One(_) => Proxies::Everybody,
            ProxyChoice::Rules { https, http, except } => {
                let address = |proxy: &Option<Secret>| proxy.as_ref().map_or("", Secret::expose).to_owned();
                let rules = Matcher::builder().https(address(https)).http(address(http)).no(except.as_str());
                Proxies::Some(Box::new(rules.build()))
            }
        }
    }

    fn build(
        &self,
        tls: rustls::ClientConfig,
        redirects: reqwest::redirect::Policy,
    ) -> Result<reqwest::Client, LoadError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirects)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .user_agent(AGENT);
        let unusable = || LoadError::File {
            file: "proxy".to_owned(),
            problem: "is not the URL of an HTTP proxy, such as http://proxy.example.com:3128".to_owned(),
        };
        match &self.proxy {
            ProxyChoice::Environment => {}
            ProxyChoice::None => builder = builder.no_proxy(),
            ProxyChoice::One(url) => {
                builder = builder.no_proxy().proxy(reqwest::Proxy::all(url.expose()).map_err(|_| unusable())?);
            }
            ProxyChoice::Rules { https, http, except } => {
                builder = builder.no_proxy();
                let except = reqwest::NoProxy::from_string(except);
                if let Some(url) = https {
                    let proxy = reqwest::Proxy::https(url.expose()).map_err(|_| unusable())?;
                    builder = builder.proxy(proxy.no_proxy(except.clone()));
                }
                if let Some(url) = http {
                    let proxy = reqwest::Proxy::http(url.expose()).map_err(|_| unusable())?;
                    builder = builder.proxy(proxy.no_proxy(except));
                }
            }
        }
        builder.build().map_err(|error| failed("TLS", &error))
    }
}

fn failed(file: &str, error: &(dyn std::error::Error + 'static)) -> LoadError {
    LoadError::File { file: file.to_owned(), problem: super::innermost(error) }
}
