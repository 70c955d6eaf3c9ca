//! The gateway's own door: TLS, its renewal, and how a stop takes its time.

use duo_e2e::{Options, World};
use duo_testkit::pki::{CertificateAuthority, Identity};
use serde_json::{Value, json};

use crate::scene::{address, completes, curl, data, declare, on, vllm, world};

async fn certificate(world: &World, authority: &CertificateAuthority) -> Identity {
    let host = format!("duo.{}.svc", world.namespace);
    let identity = authority.server(&host, &[&host]).expect("a certificate");
    data(world, "Secret", "duo-tls", &[("tls.crt", &identity.cert_pem), ("tls.key", &identity.key_pem)]).await;
    identity
}

/// Whether the pod shows a certificate of this authority.
async fn shows(world: &World, authority: &CertificateAuthority) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, authority.cert_pem()).expect("a file");
    let host = format!("duo.{}.svc", world.namespace);
    let resolve = format!("{host}:5052:{}", address(world));
    let args = ["--cacert", &file.to_string_lossy(), "--resolve", &resolve];
    curl(&args, &format!("https://{host}:5052/monitoring/healthz")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_tls_is_what_gitlab_calls_and_a_renewed_certificate_is_shown_by_itself() {
    let (old, new) = (CertificateAuthority::new("old").expect("a CA"), CertificateAuthority::new("new").expect("a CA"));
    let trusts = format!("{}{}", old.cert_pem(), new.cert_pem());
    let options = Options { gitlab_trusts: Some(trusts), ..Options::default() };
    let spec = json!({"url": null, "tls": {"secretRef": {"name": "duo-tls"}}, "drainPeriod": "1s"});
    let (world, server) = (world(options, &spec).await, vllm().await);
    let missing = world.until_condition("AIGateway", "duo", "ConfigAccepted", "Unknown", "SecretNotFound").await;
    assert!(duo_e2e::wait::condition(&missing, "ConfigAccepted").2.starts_with("spec.tls.secretRef: "), "{missing:#}");

    // A key that belongs to another certificate is told, and nothing is served with it.
    let wrong = certificate(&world, &new).await;
    let right = certificate(&world, &old).await;
    data(&world, "Secret", "duo-tls", &[("tls.crt", &right.cert_pem), ("tls.key", &wrong.key_pem)]).await;
    world.until_condition("AIGateway", "duo", "ConfigAccepted", "Unknown", "SecretInvalid").await;
    data(&world, "Secret", "duo-tls", &[("tls.crt", &right.cert_pem), ("tls.key", &right.key_pem)]).await;

    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let gateway = world.until_ready("AIGateway", "duo").await;
    assert_eq!(gateway["status"]["url"], format!("https://duo.{}.svc:5052", world.namespace));
    completes(&world).await;
    shows(&world, &old).await.expect("the first certificate");
    let grace = world.pod_template().await["spec"]["terminationGracePeriodSeconds"].clone();
    assert_eq!(grace, Value::from(1 + 600 + 10));

    let pods = world.pods().await;
    certificate(&world, &new).await;
    let started = std::time::Instant::now();
    while shows(&world, &new).await.is_err() {
        assert!(started.elapsed() < duo_e2e::wait::LIMIT, "never renewed: {}", world.log_tail());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    completes(&world).await;
    assert_eq!(world.pods().await, pods, "no pod was restarted for it");
    world.no_secret_is_told(&[]).await;
}
