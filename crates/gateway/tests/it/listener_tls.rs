//! TLS of the API listener: certificates from the mounted folder and from the environment's files, and their change.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Version};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::world::{TRACED, eventually};
use crate::support::{Authority, Script, World, claims, config_folder};

const CONFIG: &str = "
gitlab: {url: $ISSUER}
undeclaredModels: Allow
tls: {certificate: {certificateFile: tls.crt, keyFile: tls.key}}
";

/// A gateway whose folder holds the certificate.
async fn mounted(script: Script, certificate: &(String, String)) -> (World, TempDir) {
    let slot = std::sync::Mutex::new(None);
    let world = World::with(script, |settings, issuer, upstream| {
        let files = [("tls.crt", certificate.0.as_str()), ("tls.key", certificate.1.as_str())];
        let folder = config_folder(CONFIG, issuer, upstream, &files);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    (world, slot.into_inner().unwrap().unwrap())
}

/// A gateway whose environment names the two files of the folder.
async fn by_environment(certificate: &(String, String)) -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), certificate);
    let files = duo_gateway::settings::TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
    };
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.tls.files = Some(files)).await;
    (world, folder)
}

fn write(folder: &Path, certificate: &(String, String)) {
    std::fs::write(folder.join("tls.crt"), &certificate.0).unwrap();
    std::fs::write(folder.join("tls.key"), &certificate.1).unwrap();
}

fn https(world: &World, path: &str) -> String {
    format!("https://localhost:{}{path}", world.gateway.api_addr().port())
}

/// A new connection's answer, or its failure's text.
async fn fresh(authority: &Authority, world: &World) -> Result<u16, String> {
    let http = authority.client().build().unwrap();
    match http.get(https(world, "/monitoring/healthz")).send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test]
async fn http_2_and_http_1_are_chosen_in_the_handshake() {
    let authority = Authority::new();
    let (world, _folder) = mounted(Script::Say("x".into()), &authority.certificate(100)).await;
    for (client, version) in [
        (authority.client(), Version::HTTP_2),
        (authority.client().http1_only(), Version::HTTP_11),
        (authority.client().tls_version_max(reqwest::tls::Version::TLS_1_2), Version::HTTP_2),
        // knows beforehand, says nothing of it in the handshake
        (authority.client().http2_prior_knowledge(), Version::HTTP_2),
    ] {
        let http = client.build().unwrap();
        for _ in 0..2 {
            let post = http
                .request(Method::POST, https(&world, "/v2/code/completions"))
                .header("X-Gitlab-Authentication-Type", "oidc")
                .header("X-Gitlab-Instance-Id", crate::support::world::INSTANCE)
                .header("X-Gitlab-Realm", "self-managed")
                .bearer_auth(world.key.sign(&claims()))
                .json(&world.completion());
            let answer = post.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        }
    }
    let older = authority.client().tls_version_max(reqwest::tls::Version::TLS_1_1).build();
    if let Ok(older) = older {
        assert!(older.get(https(&world, "/monitoring/healthz")).send().await.is_err(), "TLS 1.1");
    }
    // the operator and Prometheus go on asking in plain text
    assert!(world.hash().await["hash"].is_string());
}

/// The port takes both while callers change from the one to the other, and plain HTTP no longer than that.
#[tokio::test]
async fn callers_change_from_plain_http_to_tls_and_back_without_a_request_refused() {
    let authority = Authority::new();
    let (world, folder) = mounted(Script::Say("x".into()), &authority.certificate(100)).await;
    let both = CONFIG.replace("tls.key}}", "tls.key}, acceptPlain: true}");
    let none = CONFIG.replace("tls: ", "# tls: ");
    let plain = async || {
        let http = reqwest::Client::builder().build().unwrap();
        http.get(world.url("/monitoring/healthz")).send().await.unwrap().status().as_u16()
    };
    let encrypted = async || fresh(&authority, &world).await.unwrap_or_default();
    for (config, seen) in [
        (&none, (200, 0)),
        (&both, (200, 200)),
        (&CONFIG.to_owned(), (400, 200)),
        (&both, (200, 200)),
        (&none, (200, 0)),
    ] {
        let hash = world.hash().await["hash"].clone();
        let config = config.replace("$ISSUER", &world.issuer.url);
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        while world.hash().await["hash"] == hash {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((plain().await, encrypted().await), seen);
    }
}

#[tokio::test]
async fn a_new_certificate_counts_for_new_connections_and_cuts_no_stream() {
    let (first, second) = (Authority::new(), Authority::new());
    let (world, folder) = mounted(Script::Stall, &first.certificate(100)).await;
    let http = first.client().build().unwrap();
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    let mut stream = http
        .post(https(&world, "/v2/chat/agent"))
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("X-Gitlab-Instance-Id", crate::support::world::INSTANCE)
        .header("X-Gitlab-Realm", "self-managed")
        .bearer_auth(world.key.sign(&claims()))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    assert!(fresh(&second, &world).await.is_err());

    let hash = world.hash().await["hash"].clone();
    write(folder.path(), &second.certificate(200));
    while world.hash().await["hash"] == hash {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fresh(&second, &world).await, Ok(200));
    assert!(fresh(&first, &world).await.is_err());
    // on the old connection, over which the stream goes on
    assert_eq!(http.get(https(&world, "/monitoring/healthz")).send().await.unwrap().status(), 200);
    let waited = tokio::time::timeout(Duration::from_millis(100), stream.chunk()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn a_broken_certificate_leaves_the_last_good_one_in_force_and_is_told() {
    let authority = Authority::new();
    let good = authority.certificate(100);
    let (world, folder) = mounted(Script::Say("x".into()), &good).await;
    let hash = world.hash().await;
    for (broken, part) in [
        (("no certificate".to_owned(), good.1.clone()), "tls.crt: is not a chain of PEM"),
        ((good.0.clone(), "no key".to_owned()), "tls.key: is not a private key"),
        ((good.0.clone(), authority.certificate(100).1), "tls.key: does not belong to the certificate"),
    ] {
        write(folder.path(), &broken);
        let told = loop {
            let told = world.hash().await;
            if told["error"].as_str().is_some_and(|text| text.contains(part)) {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(told["hash"], hash["hash"]);
        assert_eq!(fresh(&authority, &world).await, Ok(200), "{part}");
    }
    write(folder.path(), &good);
    while world.hash().await != hash {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_environments_files_are_read_again_too() {
    let (first, second) = (Authority::new(), Authority::new());
    let (world, folder) = by_environment(&first.certificate(100)).await;
    assert_eq!(fresh(&first, &world).await, Ok(200));

    // one file after the other: in between they do not belong together
    let (chain, key) = second.certificate(10);
    std::fs::write(folder.path().join("tls.crt"), chain).unwrap();
    while world.hash().await.get("error").is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = world.hash().await;
    let text = told["error"].as_str().unwrap();
    assert!(text.starts_with("AIGW_FASTAPI__TLS__*") && text.contains("tls.key: does not belong"), "{text}");
    assert_eq!(fresh(&first, &world).await, Ok(200));
    assert!(world.metrics().await.contains("duo_gateway_tls_reload_failures_total 1"));

    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    while fresh(&second, &world).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.hash().await, json!({"hash": null}));
    eventually("the warning", || TRACED.text().contains("ends in less than 30 days").then_some(())).await;
    let metrics = world.metrics().await;
    let end = metrics
        .lines()
        .find_map(|line| line.strip_prefix("duo_gateway_tls_certificate_not_after_timestamp_seconds "))
        .unwrap();
    let days = (end.parse::<i64>().unwrap() - jiff::Timestamp::now().as_second()) / 86_400;
    assert!((8..=10).contains(&days), "{days}");
}

#[tokio::test]
async fn the_start_refuses_a_certificate_that_cannot_be_used_by_file() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &(authority.certificate(100).0, authority.certificate(100).1));
    let mut settings = crate::support::world::settings("http://127.0.0.1:1");
    let file = |name: &str| folder.path().join(name);
    let mut start = |certificate: &str, key: &str| {
        let files = duo_gateway::settings::TlsFiles { certificate: file(certificate), key: file(key) };
        settings.tls.files = Some(files);
        let sink = duo_gateway::logging::Sink::new(std::io::sink(), true);
        duo_gateway::Gateway::start(settings.clone(), sink, None)
    };
    for (certificate, key, part) in
        [("tls.crt", "tls.key", "tls.key: does not belong"), ("none.crt", "tls.key", "none.crt: No such file")]
    {
        let error = start(certificate, key).await.err().unwrap();
        assert!(error.is_configuration());
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_what_to_do() {
    let authority = Authority::new();
    let (world, _folder) = mounted(Script::Say("x".into()), &authority.certificate(100)).await;
    let answer = world.post("/v2/code/completions", &world.completion()).await;
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert!(body["detail"].as_str().unwrap().contains("https://"), "{body}");
    assert!(world.metrics().await.contains("duo_gateway_connections_cut_total{reason=\"NotTls\"} 1"));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_to_an_end_hinders_nobody_and_is_ended() {
    let authority = Authority::new();
    let certificate = authority.certificate(100);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &certificate);
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.limits.handshake = Duration::from_millis(300);
        settings.tls.files = Some(duo_gateway::settings::TlsFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        });
    })
    .await;
    let mut half: Vec<TcpStream> = Vec::new();
    for begin in [&b""[..], &b"\x16"[..], &b"\x16\x03\x01\x02\x00\x01\x00"[..]] {
        let mut stream = TcpStream::connect(world.gateway.api_addr()).await.unwrap();
        stream.write_all(begin).await.unwrap();
        half.push(stream);
    }
    assert_eq!(fresh(&authority, &world).await, Ok(200));
    for mut stream in half {
        let mut rest = Vec::new();
        // closed or reset, but ended
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    let mut garbage = TcpStream::connect(world.gateway.api_addr()).await.unwrap();
    garbage.write_all(&[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9]).await.unwrap();
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest).await;
    assert!(rest.is_empty() || rest[0] == 0x15, "nothing but an alert: {rest:?}");
    let metrics = world.metrics().await;
    assert!(metrics.contains("duo_gateway_connections_cut_total{reason=\"Handshake\"} 4"), "{metrics}");
}
