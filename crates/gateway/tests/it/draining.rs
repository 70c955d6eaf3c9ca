//! A gateway that is told to stop.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::raw::{begin, chunk};
use crate::support::{Model, Script, Step, World, claims, encrypted, endpoints};

#[tokio::test]
async fn while_draining_it_is_not_ready_but_serves_and_closes_connections() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.drain = Duration::from_secs(3600);
    })
    .await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
    let World { gateway, http, key, upstream, issuer, .. } = world;
    let (api, completion) = (
        gateway.api_addr(),
        json!({
            "prompt_version": 2,
            "current_file": {"file_name": "a.rb", "content_above_cursor": "x", "content_below_cursor": ""},
            "model_provider": "litellm", "model_name": "mistral", "model_endpoint": upstream.url,
            "model_identifier": "custom_openai/the-model",
        }),
    );
    let stopping = tokio::spawn(gateway.stop());
    loop {
        let ready = http.get(format!("http://{api}/monitoring/ready")).send().await.unwrap();
        if ready.status() == 503 {
            assert_eq!(ready.json::<Value>().await.unwrap(), json!({"detail": "stopping"}));
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = http
        .request(Method::POST, format!("http://{api}/v2/code/completions"))
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("X-Gitlab-Instance-Id", crate::support::world::INSTANCE)
        .header("X-Gitlab-Realm", "self-managed")
        .bearer_auth(key.sign(&claims()))
        .json(&completion)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    stopping.abort();
    drop(issuer);
}

#[tokio::test]
async fn streams_under_way_are_finished_before_it_ends() {
    let world = World::new(Script::Stall).await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    let mut answer = world.post("/v2/chat/agent", &body).await;
    assert!(answer.chunk().await.unwrap().is_some());
    let World { gateway, http, upstream, issuer, .. } = world;
    let api = gateway.api_addr();
    let stopping = tokio::spawn(gateway.stop());
    // the listener goes first
    loop {
        if http.get(format!("http://{api}/monitoring/healthz")).send().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!stopping.is_finished(), "a stream is still under way");
    drop(answer);
    stopping.await.unwrap();
    drop((upstream, issuer));
}

#[tokio::test]
async fn http_2_clients_are_told_to_go_elsewhere_while_it_still_accepts() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.drain = Duration::from_secs(3600);
    })
    .await;
    let World { gateway, http, upstream, issuer, .. } = world;
    let api = gateway.api_addr();
    let stream = tokio::net::TcpStream::connect(api).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{api}/monitoring/healthz")).body(axum::body::Body::empty());
    assert_eq!(sender.send_request(request.unwrap()).await.unwrap().status(), 200);

    let stopping = tokio::spawn(gateway.stop());
    // the GOAWAY ends the connection although its client would keep it
    connection.await.unwrap().unwrap();
    assert_eq!(http.get(format!("http://{api}/monitoring/healthz")).send().await.unwrap().status(), 200);
    stopping.abort();
    drop((sender, upstream, issuer));
}

/// A model server's answer that begins at once and ends when the test says so.
fn begun(told: &watch::Receiver<bool>) -> Vec<Step> {
    let event = |delta: Value| format!("data: {}\n\n", json!({"choices": [delta]}));
    let first = event(json!({"index": 0, "delta": {"content": "Final Answer: one two three "}}));
    let rest = event(json!({"index": 0, "delta": {"content": "four"}, "finish_reason": "stop"})) + "data: [DONE]\n\n";
    let end = [&chunk(rest.as_bytes())[..], b"0\r\n\r\n"].concat();
    vec![begin("text/event-stream"), Step::Say(chunk(first.as_bytes())), Step::When(told.clone(), end.into())]
}

#[tokio::test]
async fn streams_under_way_come_to_their_end_over_every_protocol() {
    let (tell, told) = watch::channel(false);
    let encrypted = encrypted::draining("", Duration::from_millis(200)).await;
    let plain = World::with(Script::Silent, |settings, _, _| settings.drain = Duration::from_millis(200)).await;
    encrypted.raw.script(begun(&told));
    let mut streams = Vec::new();
    let mut keep = Vec::new();
    for client in encrypted.clients() {
        for endpoint in encrypted.endpoints().into_iter().filter(|one| one.stream) {
            streams.push(encrypted.request(&client, &endpoint).send().await.unwrap());
        }
        keep.push(client);
    }
    let model =
        Model { family: "mistral", identifier: "custom_openai/x", endpoint: format!("{}/v1", encrypted.raw.url) };
    for client in [reqwest::Client::builder().http1_only(), reqwest::Client::builder().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        for endpoint in endpoints(&plain, &model).into_iter().filter(|one| one.stream) {
            let request = client
                .post(plain.url(endpoint.path))
                .header("X-Gitlab-Authentication-Type", "oidc")
                .header("X-Gitlab-Instance-Id", crate::support::world::INSTANCE)
                .header("X-Gitlab-Realm", "self-managed")
                .bearer_auth(plain.key.sign(&claims()))
                .json(&endpoint.body);
            streams.push(request.send().await.unwrap());
        }
        keep.push(client);
    }
    let (one, two) = (encrypted.world.gateway, plain.gateway);
    let addresses = [one.api_addr(), two.api_addr()];
    let stopping = [tokio::spawn(one.stop()), tokio::spawn(two.stop())];
    for address in addresses {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(stopping.iter().all(|one| !one.is_finished()), "streams are still under way");
    tell.send(true).unwrap();
    assert_eq!(streams.len(), 44);
    for stream in streams {
        assert_eq!(stream.status(), 200);
        let (path, version) = (stream.url().path().to_owned(), stream.version());
        let text = stream.text().await.unwrap_or_else(|error| panic!("{path} {version:?}: {error}"));
        assert!(text.contains("four"), "{path} {version:?}: {text}");
    }
    for one in stopping {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_comes_while_draining_is_served_and_let_go() {
    let setting = encrypted::draining("", Duration::from_secs(3600)).await;
    let port = setting.world.gateway.api_addr().port();
    let url = format!("https://localhost:{port}/monitoring/healthz");
    // connections from before
    let [http1, http2] = setting.clients();
    for client in [&http1, &http2] {
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    }
    let open = setting.world.gateway.metrics_addr();
    let stopping = tokio::spawn(setting.world.gateway.stop());
    let ready = format!("https://localhost:{port}/monitoring/ready");
    while http1.get(&ready).send().await.unwrap().status() == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..3 {
        let answer = http1.get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["connection"].to_str().unwrap()), (200, "close"));
        // each on a connection of its own, since each is told to go elsewhere
        let answer = http2.get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        assert!(!answer.headers().contains_key("connection"));
    }
    // none of them stays, but the one that asks
    let metrics = format!("http://{open}/metrics");
    loop {
        let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        if text.contains("duo_gateway_connections 1\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stopping.abort();
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_it_from_ending() {
    let setting = encrypted::setting("requestTimeoutSeconds: 1\n").await;
    let event = format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": "word ".repeat(3000)}}]}));
    setting.raw.script(vec![begin("text/event-stream"), Step::Endless(chunk(event.as_bytes()))]);
    let mut unread = Vec::new();
    for client in setting.clients() {
        let endpoint = setting.endpoints().into_iter().find(|one| one.stream && !one.tells_errors()).unwrap();
        unread.push((setting.request(&client, &endpoint).send().await.unwrap(), client));
    }
    // one model call and a little more
    setting.world.gateway.stop().await;
    setting.raw.gone(2).await;
}
