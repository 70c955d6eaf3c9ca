//! Clients that are slow, greedy or broken, byte by byte.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::world::INSTANCE;
use crate::support::{Script, World, claims};

const SHORT: Duration = Duration::from_millis(300);

/// A connection that speaks bytes.
struct Raw(TcpStream);

impl Raw {
    async fn to(world: &World) -> Self {
        Self(TcpStream::connect(world.gateway.api_addr()).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self
    }

    /// What comes until the server ends the connection; a reset is a failure.
    async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).await.unwrap();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// One answer with a body of a declared length: status and body.
    async fn answer(&mut self) -> (u16, String) {
        let (mut all, mut byte) = (Vec::new(), [0]);
        while !all.ends_with(b"\r\n\r\n") {
            assert_eq!(self.0.read(&mut byte).await.unwrap(), 1, "{}", String::from_utf8_lossy(&all));
            all.push(byte[0]);
        }
        let head = String::from_utf8(all).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }
}

/// A request's head with a token, without the empty line at its end.
fn head(world: &World, path: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\nx-gitlab-authentication-type: oidc\r\n\
         x-gitlab-instance-id: {INSTANCE}\r\nx-gitlab-realm: self-managed\r\ncontent-type: application/json\r\n{more}",
        world.key.sign(&claims())
    )
}

fn completion(world: &World, more: &str) -> String {
    let body = world.completion().to_string();
    let head = head(world, "/v2/code/completions", &format!("content-length: {}\r\n{more}", body.len()));
    format!("{head}\r\n{body}")
}

async fn world() -> World {
    World::new(Script::Say("x".into())).await
}

async fn cuts(world: &World, reason: &str) -> bool {
    world.metrics().await.contains(&format!("duo_gateway_connections_cut_total{{reason=\"{reason}\"}}"))
}

#[tokio::test]
async fn a_connection_without_a_request_and_a_head_without_an_end_are_closed() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.limits.idle = SHORT;
        settings.limits.head = SHORT;
    })
    .await;
    assert_eq!(Raw::to(&world).await.rest().await, "");
    assert!(cuts(&world, "Idle").await);
    for begin in ["P", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2"] {
        assert_eq!(Raw::to(&world).await.send(begin).await.rest().await, "", "{begin}");
    }
    assert!(cuts(&world, "SlowHead").await);

    // after a request the head counts from its own first byte, and idleness from the answer
    let mut raw = Raw::to(&world).await;
    raw.send("GET /monitoring/healthz HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.answer().await, (200, "{}".into()));
    assert_eq!(raw.send("GET /mon").await.rest().await, "");
    let mut raw = Raw::to(&world).await;
    raw.send("GET /monitoring/healthz HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.answer().await, (200, "{}".into()));
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn a_head_that_comes_slowly_but_in_time_is_served() {
    let world = world().await;
    let mut raw = Raw::to(&world).await;
    for byte in b"PUT /monitoring/healthz HTTP/1.1\r\nhost: a b\r\n\r\n" {
        raw.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.answer().await.0, 405, "whatever its Host header says");
}

#[tokio::test]
async fn heads_have_limits_of_count_and_size() {
    let world = world().await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(40_000));
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\n{large}\r\n"), "431"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "4"),
        ("GET / HTTP/9.9\r\n\r\n".into(), "400"),
        ("GET  / HTTP/1.1\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nx : y\r\n\r\n".into(), "400"),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".into(), "400"),
        ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n".into(), "400"),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".into(), "400"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03\r\n\r\n".into(), "400"),
    ] {
        let answer = Raw::to(&world).await.send(&head).await.rest().await;
        let shown: String = head.chars().take(40).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
    }
    // what hides a second request in the first's body is not taken for one
    let both = "POST /monitoring/healthz HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let answer = Raw::to(&world).await.send(both).await.rest().await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let world = world().await;
    let mut raw = Raw::to(&world).await;
    let two =
        format!("{}HEAD / HTTP/1.1\r\n\r\n{}", completion(&world, ""), completion(&world, "connection: close\r\n"));
    let answer = raw.send(two).await.rest().await;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|one| &one[..3]).collect();
    assert_eq!(statuses, ["200", "401", "200"]);
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_one_that_breaks_off_is_noticed() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.limits.body_pause = SHORT).await;
    for framing in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"] {
        let mut raw = Raw::to(&world).await;
        raw.send(head(&world, "/v2/code/completions", framing) + "\r\n").await;
        if framing.starts_with('t') {
            raw.send("5\r\n{\"a\":\r\n").await;
        }
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("took too long"), "{answer}");
    }
    // slow, but it moves
    let body = world.completion().to_string();
    let mut raw = Raw::to(&world).await;
    raw.send(head(&world, "/v2/code/completions", &format!("content-length: {}\r\n\r\n", body.len()))).await;
    for piece in body.as_bytes().chunks(body.len() / 4) {
        tokio::time::sleep(SHORT / 2).await;
        raw.send(piece).await;
    }
    assert_eq!(raw.answer().await.0, 200);

    let mut raw = Raw::to(&world).await;
    raw.send(head(&world, "/v2/code/completions", "content-length: 100\r\n\r\n{")).await;
    raw.0.shutdown().await.unwrap();
    let answer = raw.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let text = world.upstream.received();
    assert_eq!(text.len(), 1);
}

#[tokio::test]
async fn a_refusal_that_does_not_wait_for_the_body_reaches_a_client_that_goes_on_sending() {
    let world = world().await;
    let size = duo_gateway::MAX_BODY * 2;
    let declared = format!("content-length: {size}\r\n");
    let unsigned = format!("POST /v2/code/completions HTTP/1.1\r\n{declared}\r\n");
    for (head, status) in [(head(&world, "/v2/code/completions", &declared) + "\r\n", 413), (unsigned, 401)] {
        let (mut read, mut write) = Raw::to(&world).await.0.into_split();
        let sending = tokio::spawn(async move {
            write.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..size / (1 << 16) {
                write.write_all(&[b' '; 1 << 16]).await?;
            }
            std::io::Result::Ok(())
        });
        let mut answer = Vec::new();
        read.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        sending.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_made_to_send_what_is_refused() {
    let world = world().await;
    let path = "/v2/code/completions";
    let mut raw = Raw::to(&world).await;
    raw.send(head(&world, path, "content-length: 99999999\r\nexpect: 100-continue\r\n\r\n")).await;
    assert_eq!(raw.answer().await.0, 413, "and no 100");
    let mut raw = Raw::to(&world).await;
    let body = world.completion().to_string();
    raw.send(head(&world, path, &format!("content-length: {}\r\nexpect: 100-continue\r\n\r\n", body.len()))).await;
    let mut go = [0; 25];
    raw.0.read_exact(&mut go).await.unwrap();
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(raw.send(body).await.answer().await.0, 200);
}

#[tokio::test]
async fn all_bodies_together_have_a_limit_and_what_does_not_fit_is_asked_to_come_back() {
    let world = World::with(Script::Silent, |settings, _, _| settings.body_memory = 3000).await;
    let mut holding = Raw::to(&world).await;
    holding.send(head(&world, "/v2/code/completions", "content-length: 2900\r\n\r\n{")).await;
    while !world.metrics().await.contains("duo_gateway_request_body_bytes 2900") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = world.post("/v2/code/completions", &world.completion()).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(refused.json::<Value>().await.unwrap()["detail"].as_str().unwrap().contains("memory"));
    // without a declared length it counts as it comes
    let mut chunked = Raw::to(&world).await;
    chunked.send(head(&world, "/v2/code/completions", "transfer-encoding: chunked\r\n\r\n3e8\r\n")).await;
    chunked.send(" ".repeat(1000)).await;
    assert_eq!(chunked.answer().await.0, 503);
    assert!(world.metrics().await.contains("duo_gateway_request_bodies_refused_total 2"));

    drop(holding);
    while !world.metrics().await.contains("duo_gateway_request_body_bytes 0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.upstream.script(Script::Say("x".into()));
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off_and_the_model_call_with_it() {
    for http2 in [false, true] {
        let world = World::with(Script::Flood, |settings, _, _| settings.limits.unread = SHORT).await;
        let body = json!({"inputs": {}, "stream": true, "model_metadata": world.metadata("mistral")});
        let mut http = reqwest::Client::builder();
        if http2 {
            http = http.http2_prior_knowledge().http2_initial_stream_window_size(1 << 16);
        }
        let answer = http
            .build()
            .unwrap()
            .post(world.url("/v1/prompts/chat/explain_code"))
            .header("X-Gitlab-Authentication-Type", "oidc")
            .header("X-Gitlab-Instance-Id", INSTANCE)
            .header("X-Gitlab-Realm", "self-managed")
            .bearer_auth(world.key.sign(&claims()))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        // it is held and not read
        world.upstream.cancelled().await;
        assert!(cuts(&world, "Unread").await, "HTTP/2: {http2}");
        drop(answer);
    }
}

#[tokio::test]
async fn only_so_many_connections_are_served_at_a_time() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.limits.connections = 2).await;
    let request = "GET /monitoring/healthz HTTP/1.1\r\n\r\n";
    let (mut one, mut two) = (Raw::to(&world).await, Raw::to(&world).await);
    assert_eq!(one.send(request).await.answer().await.0, 200);
    assert_eq!(two.send(request).await.answer().await.0, 200);
    let mut three = Raw::to(&world).await;
    three.send(request).await;
    let waited = tokio::time::timeout(Duration::from_millis(200), three.0.readable()).await;
    assert!(waited.is_err(), "it waits for its turn");
    drop(one);
    assert_eq!(three.answer().await.0, 200);
    drop(two);
}

#[tokio::test]
async fn json_may_be_nested_only_so_deep() {
    let world = world().await;
    let mut body = world.completion().to_string();
    body.insert_str(1, &format!("\"deep\": {}{}, ", "[".repeat(100_000), "]".repeat(100_000)));
    let request = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims());
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 422);
}
