//! A gateway that is told to stop.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

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
