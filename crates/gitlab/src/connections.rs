//! HTTP clients, one for each set of trusted authorities: the system's authorities are read and held once, however many
//! GitLabs trust nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use crate::{
    error::{Result, configuration},
    refusal::Causes,
};

/// To connect takes no longer, whatever a request may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that nobody uses is closed after this time: it takes 40 KiB, and a converged GitLab is asked once a period.
const IDLE: Duration = Duration::from_secs(4);

/// What differs between HTTP clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Needs {
    /// Authorities beside the system's, PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Whether the system's authorities must be there: nobody is verified where TLS is not used.
    pub(crate) tls: bool,
    /// Longest time to connect.
    pub(crate) connect: Duration,
}

impl Needs {
    pub(crate) fn new(scheme: &str, ca: Option<Vec<u8>>, request_timeout: Duration) -> Self {
        Self { ca, tls: scheme != "http", connect: request_timeout.min(CONNECT) }
    }
}

/// HTTP clients that somebody uses. A clone shares them; connections are kept per host, tokens go with each request.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    in_use: Arc<Mutex<HashMap<Needs, Weak<reqwest::Client>>>>,
}

impl Connections {
    /// The client that meets these needs; made when nobody uses one.
    pub(crate) fn client(&self, needs: Needs) -> Result<Arc<reqwest::Client>> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = in_use.get(&needs).and_then(Weak::upgrade) {
            return Ok(client);
        }
        in_use.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(build(&needs)?);
        in_use.insert(needs, Arc::downgrade(&client));
        Ok(client)
    }
}

fn build(needs: &Needs) -> Result<reqwest::Client> {
    let certificates = match &needs.ca {
        None => Vec::new(),
        Some(pem) => {
            let found = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| configuration(format!("spec.gitlab.caBundleRef holds no readable PEM: {}", causes(&e))))?;
            if found.is_empty() {
                return Err(configuration("spec.gitlab.caBundleRef holds no certificate in PEM form".into()));
            }
            found
        }
    };
    // HTTPS_PROXY and NO_PROXY apply by reqwest's default. Redirects are never followed: the token would follow, too.
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(needs.connect)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(IDLE)
    };
    match builder().tls_certs_merge(certificates.clone()).build() {
        Ok(client) => Ok(client),
        // An image without a system trust store: the given authorities alone, or none when TLS is not used.
        Err(_) if !certificates.is_empty() || !needs.tls => builder()
            .tls_certs_only(certificates)
            .build()
            .map_err(|e| configuration(format!("spec.gitlab.caBundleRef: {}", causes(&e)))),
        Err(e) => Err(configuration(format!("TLS: {}", causes(&e)))),
    }
}

fn causes(error: &reqwest::Error) -> String {
    Causes::of(error).text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn needs(ca: Option<&str>) -> Needs {
        Needs::new("http", ca.map(|pem| pem.as_bytes().to_vec()), Duration::from_secs(8))
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn clients_that_trust_the_same_are_one_and_go_with_their_last_user() {
        let (connections, authority) = (Connections::default(), authority());
        let one = connections.client(needs(None)).unwrap();
        assert!(Arc::ptr_eq(&one, &connections.clone().client(needs(None)).unwrap()));
        let other = connections.client(needs(Some(&authority))).unwrap();
        assert!(!Arc::ptr_eq(&one, &other), "another authority is trusted by those only who name it");
        assert!(Arc::ptr_eq(&other, &connections.client(needs(Some(&authority))).unwrap()));
        drop(other);
        drop(one);
        let _last = connections.client(needs(None)).unwrap();
        assert_eq!(connections.in_use.lock().unwrap().len(), 1, "nothing is kept of clients that nobody uses");
    }

    #[test]
    fn what_is_no_certificate_is_refused_each_time() {
        let connections = Connections::default();
        for pem in ["no certificate", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
            for _ in 0..2 {
                assert!(matches!(connections.client(needs(Some(pem))), Err(Error::Configuration { .. })), "{pem}");
            }
        }
    }
}
