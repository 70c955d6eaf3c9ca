//! How a place is reached: client certificates, private authorities, proxies.

use duo_e2e::Options;
use duo_testkit::pki::CertificateAuthority;
use serde_json::json;

use crate::neighbours::{fingerprint, mutual_tls, proxy};
use crate::scene::{change, completes, data, declare, on, vllm, world};

const MODEL: &str = "SelfHostedModel";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_private_authority_gets_the_client_certificate_it_asks_for() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    let (servers, clients) =
        (CertificateAuthority::new("servers").expect("a CA"), CertificateAuthority::new("clients").expect("a CA"));
    let identity = servers.server("127.0.0.1", &["127.0.0.1"]).expect("a certificate");
    let door = mutual_tls(&identity, &clients, server.addr()).await;
    let certificate = clients.client("duo", None).expect("a certificate");
    data(&world, "ConfigMap", "servers-ca", &[("ca.crt", servers.cert_pem())]).await;
    let spec = json!({
        "endpoint": format!("https://{}/v1", door.addr),
        "connection": {"caBundleRef": {"name": "servers-ca"}, "clientCertificateSecretRef": {"name": "client"}},
    });
    data(&world, "Secret", "client", &[("tls.crt", &certificate.cert_pem), ("tls.key", &certificate.key_pem)]).await;
    declare(&world, "code", &on(&server, &spec), &["CodeCompletions"]).await;
    completes(&world).await;
    assert!(door.seen.has(&fingerprint(&certificate)));

    let renewed = clients.client("duo", None).expect("a certificate");
    let pods = world.pods().await;
    data(&world, "Secret", "client", &[("tls.crt", &renewed.cert_pem), ("tls.key", &renewed.key_pem)]).await;
    world.eventually("the renewed certificate is shown", || door.seen.has(&fingerprint(&renewed))).await;
    completes(&world).await;
    assert_eq!(world.pods().await, pods);
    world.no_secret_is_told(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_through_the_proxy_that_is_declared_and_not_through_it_where_it_is_excepted() {
    let (world, server, proxy, own) =
        (world(Options::default(), &json!({})).await, vllm().await, proxy().await, proxy().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let (all, one) = (format!("http://{}", proxy.addr), format!("http://{}", own.addr));
    let target = server.addr().to_string();

    change(&world, "AIGateway", "duo", &json!({"proxy": {"httpProxy": all}})).await;
    completes(&world).await;
    assert!(proxy.seen.has(&target), "{:?}", proxy.seen.all());

    change(&world, "AIGateway", "duo", &json!({"proxy": {"noProxy": ["127.0.0.1"]}})).await;
    proxy.seen.clear();
    completes(&world).await;
    assert!(!proxy.seen.has(&target), "{:?}", proxy.seen.all());

    change(&world, MODEL, "code", &json!({"connection": {"proxyUrl": one}})).await;
    completes(&world).await;
    assert!(own.seen.has(&target) && !proxy.seen.has(&target), "{:?} {:?}", own.seen.all(), proxy.seen.all());

    change(&world, "AIGateway", "duo", &json!({"proxy": {"noProxy": []}})).await;
    change(&world, MODEL, "code", &json!({"connection": {"proxyUrl": ""}})).await;
    own.seen.clear();
    proxy.seen.clear();
    completes(&world).await;
    assert!(!own.seen.has(&target) && !proxy.seen.has(&target), "{:?} {:?}", own.seen.all(), proxy.seen.all());
}
