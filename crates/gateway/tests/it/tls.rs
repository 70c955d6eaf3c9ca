//! Encrypted ways to GitLab and to model servers, under a certificate authority of the company's own.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{Key, Script, World, config_folder};

/// A company's authority and a certificate of it for `localhost`.
struct Authority {
    ca: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Company");
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(leaf_key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        Self { ca, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Ends TLS in front of a plain server; the `https://` URL.
    async fn in_front_of(&self, url: &str) -> String {
        let target = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let path = url.trim_start_matches("http://").trim_start_matches(&target).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(stream).await else { return };
                    let mut plain = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        format!("https://localhost:{port}{path}")
    }
}

fn config(ca: bool, gitlab: &str, model: &str, bedrock: &str) -> String {
    let ca = if ca { "caBundleFile: ca.crt\n" } else { "" };
    format!(
        "gitlab: {{url: '{gitlab}'}}\n{ca}undeclaredModels: Allow\n\
         providers: {{bedrock: {{region: us-east-1, endpoint: '{bedrock}', credentials: true}}}}\n\
         models:\n\
         - {{name: vllm, family: mistral, identifier: custom_openai/the-model, endpoint: '{model}'}}\n\
         - {{name: bed, family: mixtral, identifier: 'bedrock/mistral.mixtral-8x7b-instruct-v0:1'}}\n"
    )
}

#[tokio::test]
async fn the_companys_own_authority_is_trusted_for_gitlab_models_and_bedrock_when_mounted() {
    let authority = Authority::new();
    let issuer = crate::support::Issuer::start(vec![Key::number(0, "kid-0")]).await;
    let upstream = crate::support::Upstream::start(Script::Say("x".into())).await;
    let bedrock = duo_sim::bedrock::start(duo_sim::bedrock::Config::default()).await.unwrap();
    let urls = (
        authority.in_front_of(&issuer.url).await,
        authority.in_front_of(&upstream.url).await,
        authority.in_front_of(&bedrock.url()).await,
    );
    let files = [
        ("ca.crt", authority.ca.as_str()),
        ("AWS_ACCESS_KEY_ID", duo_sim::bedrock::EXAMPLE_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", duo_sim::bedrock::EXAMPLE_SECRET_ACCESS_KEY),
    ];
    let folder = config_folder(&config(false, &issuer.url, &urls.1, &urls.2), "", "", &files);
    let file = folder.path().join("config.yaml");
    let world = World::with(Script::Silent, |settings, _, _| settings.config_file = Some(file.clone())).await;
    let mut completion = world.completion();
    completion["model_endpoint"] = urls.1.as_str().into();
    let check = json!({"inputs": {}, "model_metadata": {
        "name": "mixtral", "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1", "provider": "openai",
        "endpoint": "http://bedrockselfhostedmodel.com",
    }});

    // without the bundle the cause is named
    let refused = world.post("/v2/code/completions", &completion).await;
    assert_eq!(refused.status(), 503);
    let detail = refused.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("UnknownIssuer"), "{detail}");
    let refused = world.post("/v1/prompts/model_configuration%2Fcheck", &check).await;
    assert_eq!(refused.status(), 421);
    let detail = refused.text().await.unwrap();
    assert!(detail.contains("UnknownIssuer"), "{detail}");

    // mounted, without a restart, for all three
    std::fs::write(&file, config(true, &urls.0, &urls.1, &urls.2)).unwrap();
    loop {
        let answer = world.post("/v2/code/completions", &completion).await;
        if answer.status() == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let answer = world.post("/v1/prompts/model_configuration%2Fcheck", &check).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert!(issuer.fetches() > 0);
}
