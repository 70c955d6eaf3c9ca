//! HTTP/2 clients that are slow, greedy or broken, frame by frame (RFC 9113).

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Script, World, claims};

const SHORT: Duration = Duration::from_millis(300);
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET http://x/` in HPACK.
const REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection whose first words are said.
async fn connect(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.gateway.api_addr()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// The frames that come until the server ends the connection: kind, flags, stream, payload.
async fn rest(stream: &mut TcpStream) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        frames.push((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload));
    }
    frames
}

/// The error code of the last GOAWAY.
fn goodbye(frames: &[(u8, u8, u32, Vec<u8>)]) -> Option<u32> {
    let (.., payload) = frames.iter().rfind(|(kind, ..)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

async fn world() -> World {
    World::new(Script::Say("x".into())).await
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let world = world().await;
    let mut stream = connect(&world).await;
    let cancel = 8_u32.to_be_bytes();
    let flood: Vec<u8> = (0..500)
        .flat_map(|n| {
            let id = 2 * n + 1;
            [frame(HEADERS, END_STREAM | END_HEADERS, id, REQUEST), frame(RST_STREAM, 0, id, &cancel)].concat()
        })
        .collect();
    let _ = stream.write_all(&flood).await;
    assert_eq!(goodbye(&rest(&mut stream).await), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection_fast_or_slow() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.limits.ping = SHORT;
        settings.limits.pong = SHORT;
    })
    .await;
    // a literal field `a: xxx…` that is never finished, as fast as it is taken
    let piece = [&[0, 1, b'a', 0x7f, 0x80, 0x70][..], &[b'x'; 8000]].concat();
    let mut fast = connect(&world).await;
    fast.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
    for _ in 0..1000 {
        if fast.write_all(&frame(CONTINUATION, 0, 1, &piece)).await.is_err() {
            break;
        }
    }
    let _ = rest(&mut fast).await;

    // and byte by byte: in its middle it cannot answer pings
    let mut slow = connect(&world).await;
    slow.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
    while slow.write_all(&frame(CONTINUATION, 0, 1, &[])).await.is_ok() {
        tokio::time::sleep(SHORT / 10).await;
    }
    assert_eq!(world.http.get(world.url("/monitoring/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_connection_without_a_request_takes_its_leave() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.limits.idle = SHORT).await;
    for asks in [false, true] {
        let mut stream = connect(&world).await;
        if asks {
            stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, REQUEST)).await.unwrap();
        }
        let frames = rest(&mut stream).await;
        assert_eq!(goodbye(&frames), Some(0), "no error: {frames:?}");
        assert_eq!(frames.iter().any(|(kind, ..)| *kind == HEADERS), asks);
    }
}

#[tokio::test]
async fn a_client_that_does_not_say_that_it_is_there_is_cut_off_with_its_model_calls() {
    let world = World::with(Script::Silent, |settings, _, _| {
        settings.limits.ping = SHORT;
        settings.limits.pong = SHORT;
        settings.bypass.everyone = true;
    })
    .await;
    let body = world.completion().to_string();
    let mut stream = connect(&world).await;
    // POST /v2/code/completions, content-type: application/json
    let mut head = vec![0x83, 0x86, 0x04, 20];
    head.extend_from_slice(b"/v2/code/completions");
    head.extend_from_slice(&[0x41, 1, b'x', 0x0f, 0x10, 16]);
    head.extend_from_slice(b"application/json");
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head)).await.unwrap();
    stream.write_all(&frame(0, END_STREAM, 1, body.as_bytes())).await.unwrap();
    world.upstream.cancelled().await;
    assert!(rest(&mut stream).await.iter().any(|(kind, ..)| *kind == 6), "it was asked");
}

#[tokio::test]
async fn heads_and_bodies_have_the_same_limits() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.limits.body_pause = SHORT).await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let post = || {
        http.request(Method::POST, world.url("/v2/code/completions"))
            .header("X-Gitlab-Authentication-Type", "oidc")
            .header("X-Gitlab-Instance-Id", crate::support::world::INSTANCE)
            .header("X-Gitlab-Realm", "self-managed")
            .header("content-type", "application/json")
            .bearer_auth(world.key.sign(&claims()))
    };
    let large = post().header("x", "y".repeat(40_000)).body("{}").send().await.unwrap();
    assert_eq!(large.status(), 431);
    let declared = post().body(vec![b' '; duo_gateway::MAX_BODY + 1]).send().await.unwrap();
    assert_eq!(declared.status(), 413);
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    let endless = post().body(reqwest::Body::wrap_stream(pieces)).send().await.unwrap();
    assert_eq!(endless.status(), 413);
    let stalled = futures::stream::iter([Ok::<_, std::io::Error>("{")]).chain(futures::stream::pending());
    let slow = post().body(reqwest::Body::wrap_stream(stalled)).send().await.unwrap();
    assert_eq!(slow.status(), 408);
    // all on one connection, which has come to no harm
    let many = futures::future::join_all((0..300).map(|_| post().json(&world.completion()).send())).await;
    assert!(many.into_iter().all(|answer| answer.unwrap().status() == 200));
    assert!(world.metrics().await.contains("duo_gateway_connections 2\n"), "this one and the metrics' own");
}
