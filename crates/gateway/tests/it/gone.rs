//! Clients that go away: the model call goes with them, whatever it is doing.

use std::time::Duration;

use crate::support::Step;
use crate::support::encrypted::setting;
use crate::support::raw::{begin, chunk};

#[tokio::test]
async fn a_call_that_has_not_answered_ends_with_its_client() {
    let setting = setting("").await;
    setting.raw.script(vec![Step::Hang]);
    let mut count = 0;
    for client in setting.clients() {
        for endpoint in setting.endpoints() {
            count += 1;
            let asking = tokio::spawn(setting.request(&client, &endpoint).send());
            setting.raw.called(count).await;
            asking.abort();
            setting.raw.gone(count).await;
        }
    }
    assert_eq!(setting.raw.calls(), count);
    assert_eq!(setting.world.access(count).await.len(), count);
}

#[tokio::test]
async fn a_stream_ends_with_its_client() {
    let setting = setting("").await;
    let event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Final Answer: one two three \"}}]}\n\n";
    setting.raw.script(vec![begin("text/event-stream"), Step::Say(chunk(event)), Step::Hang]);
    let mut count = 0;
    for client in setting.clients() {
        for endpoint in setting.endpoints().into_iter().filter(|one| one.stream) {
            count += 1;
            let answer = setting.request(&client, &endpoint).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", endpoint.path);
            drop(answer);
            setting.raw.gone(count).await;
        }
    }
    let cancelled = setting.world.access(count).await;
    assert!(cancelled.iter().all(|line| line["client_disconnected"] == true), "{cancelled:?}");
}

#[tokio::test]
async fn a_request_that_waits_for_its_turn_is_never_made_when_its_client_has_gone() {
    let setting = setting("  concurrency: {maxRequests: 1, maxQueued: 10, queueSeconds: 60}\n").await;
    setting.raw.script(vec![Step::Hang]);
    let endpoint = setting.endpoints().remove(0);
    for (round, client) in setting.clients().iter().enumerate() {
        let first = tokio::spawn(setting.request(client, &endpoint).send());
        setting.raw.called(round + 1).await;
        let second = tokio::spawn(setting.request(client, &endpoint).send());
        // nothing tells from outside that it waits; were it not to, it would be called
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(setting.raw.calls(), round + 1);
        second.abort();
        while setting.world.access(1).await.len() < 2 * round + 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        first.abort();
        setting.raw.gone(round + 1).await;
    }
    setting.world.access(4).await;
    assert_eq!(setting.raw.calls(), 2);
}
