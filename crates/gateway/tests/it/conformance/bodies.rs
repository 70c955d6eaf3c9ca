//! Bodies that are not what they should be, on every operation that takes one.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use duo_gateway::MAX_BODY;

use super::document::{Document, Operation};
use super::world::{everything, localised, saying, world};
use crate::support::World;

/// Every operation with a body, and its example.
fn operations(document: &Document, world: &World) -> Vec<(Operation, Value)> {
    let with_body = document.operations().into_iter().filter(|operation| operation.body.is_some());
    with_body
        .map(|operation| {
            let example = localised(world, &operation.body.as_ref().unwrap().1);
            (operation, example)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_object_is_422_with_a_list_on_every_operation() {
    let document = Document::load();
    let (world, _folder) = world(saying()).await;
    let token = world.key.sign(&everything());
    let faults = document.schema("/components/schemas/Faults");
    for (operation, example) in operations(&document, &world) {
        let good = example.to_string().into_bytes();
        let json = Some("application/json");
        let cut = good[..good.len() / 2].to_vec();
        // in the middle of a character of three bytes
        let mut split = json!({ "text": "日" }).to_string().into_bytes();
        split.truncate(split.len() - 3);
        let mut wide = vec![0xFF, 0xFE];
        wide.extend(String::from_utf8(good.clone()).unwrap().encode_utf16().flat_map(u16::to_le_bytes));
        let mut bad = good.clone();
        bad.insert(2, 0xC3);
        let bodies: Vec<(&str, Option<&str>, Vec<u8>)> = vec![
            ("text/plain", Some("text/plain"), good.clone()),
            ("a form", Some("application/x-www-form-urlencoded"), good.clone()),
            ("no content type", None, good.clone()),
            ("half of it", json, cut),
            ("nothing", json, vec![]),
            ("blanks", json, b" \n ".to_vec()),
            ("a list", json, b"[]".to_vec()),
            ("a text", json, b"\"text\"".to_vec()),
            ("null", json, b"null".to_vec()),
            ("two of them", json, [good.clone(), good.clone()].concat()),
            ("a character cut off", json, split),
            ("a byte that is no UTF-8", json, bad),
            ("UTF-16", json, wide),
            ("half a surrogate pair", json, br#"{"inputs":{"x":"\ud800"}}"#.to_vec()),
            ("a number beyond all", json, br#"{"inputs":{"x":1e999}}"#.to_vec()),
            ("very deep", json, b"[".repeat(200_000)),
            ("very deep objects", json, br#"{"a":"#.repeat(100_000)),
            ("10 MiB of blanks", json, vec![b' '; MAX_BODY]),
            ("10 MiB of a text", json, vec![b'"'; MAX_BODY]),
        ];
        for (name, kind, body) in bodies {
            let mut request = world.bare(Method::POST, &operation.path).bearer_auth(&token).body(body);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 422, "{}: {name}", operation.id);
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(faults.faults(&answer), None, "{}: {name}: {answer}", operation.id);
        }
    }
    assert!(world.upstream.received().is_empty(), "no model was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_at_the_limit_is_taken_and_what_is_in_it_beside_the_fields_does_not_matter() {
    let document = Document::load();
    let (world, _folder) = world(saying()).await;
    let token = world.key.sign(&everything());
    for (operation, mut example) in operations(&document, &world) {
        let room = MAX_BODY - example.to_string().len() - r#","ballast":"""#.len();
        example["ballast"] = "x".repeat(room).into();
        let body = example.to_string();
        assert_eq!(body.len(), MAX_BODY);
        let request = world.bare(Method::POST, &operation.path).bearer_auth(&token);
        let answer = request.header("content-type", "application/problem+json; charset=utf-8").body(body);
        assert_eq!(answer.send().await.unwrap().status(), 200, "{}", operation.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_arrives_in_pieces_is_the_same_body_wherever_it_is_split() {
    let document = Document::load();
    let (world, _folder) = world(saying()).await;
    let token = world.key.sign(&everything());
    for (operation, mut example) in operations(&document, &world) {
        // a field that is ignored, of characters of three and four bytes
        example["ballast"] = "日本🦀".into();
        let body = example.to_string();
        let wide = body.find('日').unwrap();
        for at in [1, wide + 1, wide + 2, wide + 7, body.len() - 1] {
            let mut connection = tokio::net::TcpStream::connect(world.gateway.api_addr()).await.unwrap();
            connection.set_nodelay(true).unwrap();
            let request = world.bare(Method::POST, &operation.path).bearer_auth(&token).build().unwrap();
            let mut head = format!(
                "POST {} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n",
                operation.path,
                body.len()
            );
            for (name, value) in request.headers() {
                head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
            }
            connection.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
            let (first, second) = body.as_bytes().split_at(at);
            connection.write_all(first).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            connection.write_all(second).await.unwrap();
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 200"), "{} split at {at}: {answer}", operation.id);
        }
    }
}
