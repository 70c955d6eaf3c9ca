//! How places are reached: client certificates, private authorities, proxies; and that clients are shared and kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::{Stand, complete, conversation};
use crate::support::Authority;
use crate::support::recorder::{Recorder, Reply};

const ANSWER: &str = include_str!("answers/openai.json");
const CONVERSE: &str = include_str!("answers/converse.json");

async fn server() -> Recorder {
    Recorder::start(|noted| Reply::json(if noted.target.contains("/model/") { CONVERSE } else { ANSWER })).await
}

fn vllm(url: &str, connection: &str) -> String {
    format!(
        "- {{name: 'm{url}', family: mistral, identifier: custom_openai/m, endpoint: '{url}', connection: {{{connection}}}}}\n"
    )
}

#[tokio::test]
async fn a_place_shows_its_client_certificate_and_trusts_its_own_authority() {
    let (authority, server) = (Authority::new(), server().await);
    let url = authority.in_front_of_for_known_callers(&server.url).await;
    let (certificate, key) = authority.certificate(10);
    let files = [
        ("ca.crt", authority.ca.as_str()),
        ("tls.crt", &certificate),
        ("tls.key", &key),
        ("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key"),
    ];
    let both = "caBundleFile: ca.crt, clientCertificate: {certificateFile: tls.crt, keyFile: tls.key}";
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: '{url}', credentials: true}}}}\nmodels:\n{}{}{}{}",
        vllm(&format!("{url}/1"), both),
        vllm(&format!("{url}/2"), "caBundleFile: ca.crt"),
        vllm(&format!("{url}/3"), "clientCertificate: {certificateFile: tls.crt, keyFile: tls.key}"),
        format_args!(
            "- {{name: b, family: mixtral, identifier: bedrock/mistral.mixtral-8x7b-instruct-v0:1, connection: {{{both}}}}}"
        ),
    );
    let stand = Stand::new(&config, &files);
    assert_eq!(complete(&stand.places[0], conversation()).await.unwrap().text, "A task to discuss.");
    let unknown = complete(&stand.places[1], conversation()).await.unwrap_err().to_string();
    assert!(unknown.starts_with("unavailable"), "without a certificate: {unknown}");
    let untrusted = complete(&stand.places[2], conversation()).await.unwrap_err().to_string();
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    assert_eq!(complete(&stand.places[3], conversation()).await.unwrap().text, "A task to discuss.");
    assert_eq!(server.last().header("authorization"), "Bearer bedrock-key");
}

#[tokio::test]
async fn the_environments_client_certificate_counts_for_every_model() {
    let (authority, server) = (Authority::new(), server().await);
    let url = authority.in_front_of_for_known_callers(&server.url).await;
    let (certificate, key) = authority.certificate(10);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mtls = duo_gateway::settings::Mtls {
        certificate: write("tls.crt", &certificate),
        key: write("tls.key", &key),
        password: None,
        ca_bundle: Some(write("ca.crt", &authority.ca)),
    };
    let config = format!("models:\n{}", vllm(&url, ""));
    let stand = Stand::with(&config, &[], None, |settings| settings.providers.mtls = Some(mtls));
    complete(stand.place(), conversation()).await.unwrap();
}

#[tokio::test]
async fn each_place_has_its_proxy() {
    let (proxy, common, server) = (server().await, server().await, server().await);
    let config = format!(
        "proxy: {{httpProxy: '{}', noProxy: [127.0.0.1]}}\nmodels:\n{}{}{}{}",
        common.url,
        vllm("http://model.invalid/v1", &format!("proxyUrl: '{}'", proxy.url)),
        vllm("http://other.invalid/v1", ""),
        vllm(&server.url, ""),
        vllm("http://127.0.0.2:9/v1", "proxyUrl: ''"),
    );
    let stand = Stand::new(&config, &[]);
    complete(&stand.places[0], conversation()).await.unwrap();
    assert_eq!(proxy.last().target, "http://model.invalid/v1/chat/completions");
    complete(&stand.places[1], conversation()).await.unwrap();
    assert_eq!(common.last().target, "http://other.invalid/v1/chat/completions");
    complete(&stand.places[2], conversation()).await.unwrap();
    assert_eq!(server.last().target, "/chat/completions", "named in noProxy");
    let direct = complete(&stand.places[3], conversation()).await.unwrap_err().to_string();
    assert!(direct.starts_with("unavailable"), "asked directly, where nobody listens: {direct}");
    assert_eq!((proxy.noted().len(), common.noted().len(), server.noted().len()), (1, 1, 1));
}

#[tokio::test]
async fn a_proxys_password_is_in_no_error() {
    let config =
        format!("models:\n{}", vllm("http://model.invalid/v1", "proxyUrl: 'http://user:swordfish@127.0.0.1:9'"));
    let stand = Stand::new(&config, &[]);
    let error = complete(stand.place(), conversation()).await.unwrap_err();
    assert!(!format!("{error} {error:?} {:?}", stand.place()).contains("swordfish"), "{error}");
}

/// Counts connections in front of a server.
async fn counted(url: &str) -> (String, Arc<AtomicUsize>) {
    let target = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url, count)
}

#[tokio::test]
async fn connections_are_shared_between_places_and_outlive_a_reload_that_does_not_concern_them() {
    let server = server().await;
    let (url, connections) = counted(&server.url).await;
    let config = |key: &str| {
        format!("models:\n{}{}# {key}", vllm(&format!("{url}/1"), ""), vllm(&format!("{url}/2"), "proxyUrl: ''"))
    };
    let first = Stand::new(&config("a"), &[]);
    for place in [&first.places[0], &first.places[0]] {
        complete(place, conversation()).await.unwrap();
    }
    let second = Stand::after(&config("b"), &[("unrelated", "x")], Some(&first.active));
    complete(&second.places[0], conversation()).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 1, "one connection for three calls and a reload");
    // another way has connections of its own
    complete(&second.places[1], conversation()).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_are_not_followed_and_the_key_stays() {
    let elsewhere = server().await;
    let target = elsewhere.url.clone();
    let server = Recorder::start(move |_| Reply::json(json!({"location": target})).status(307)).await;
    let stand = Stand::new(&format!("models:\n{}", vllm(&server.url, "")), &[]);
    let refused = complete(stand.place(), conversation()).await.unwrap_err().to_string();
    assert!(refused.starts_with("307"), "{refused}");
    assert!(elsewhere.noted().is_empty());
}
