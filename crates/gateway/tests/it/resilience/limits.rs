//! What users and instances may use.

use reqwest::Method;
use serde_json::Value;

use super::{check, complete, configured, detail, metric, say, stream, wait};
use crate::support::world::eventually;
use crate::support::{Script, World, claims};

async fn as_user(world: &World, user: &str) -> reqwest::Response {
    let request = world.signed(Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
    let mut request = request.build().unwrap();
    request.headers_mut().insert("x-gitlab-global-user-id", user.parse().unwrap());
    world.http.execute(request).await.unwrap()
}

#[tokio::test]
async fn requests_a_minute_are_counted_for_each_user() {
    let (world, _folder) = configured("", "limits: {perUser: {requestsPerMinute: 2}}", say()).await;
    for _ in 0..2 {
        assert_eq!(as_user(&world, "a").await.status(), 200);
    }
    let answer = as_user(&world, "a").await;
    assert_eq!(answer.status(), 429);
    assert!((1..=30).contains(&wait(&answer)), "{}", wait(&answer));
    let text = detail(answer).await;
    assert!(text.contains("This user may make 2 model calls a minute"), "{text}");
    assert_eq!(as_user(&world, "b").await.status(), 200);
    assert_eq!(check(&world).await.status(), 200, "a connection check is not held back");
    assert_eq!(world.upstream.calls(), 4);
    assert_eq!(metric(&world, "duo_gateway_limited_requests_total{scope=\"user\",limit=\"requests\"}").await, 1.0);
}

#[tokio::test]
async fn requests_a_minute_are_counted_for_the_instance() {
    let (world, _folder) = configured("", "limits: {perInstance: {requestsPerMinute: 2}}", say()).await;
    for user in ["a", "b"] {
        assert_eq!(as_user(&world, user).await.status(), 200);
    }
    let text = detail(as_user(&world, "c").await).await;
    assert!(text.contains("This GitLab instance may make 2 model calls a minute"), "{text}");
}

#[tokio::test]
async fn tokens_a_minute_are_paid_before_the_next_call() {
    // an answer of the model server here takes 18
    for scope in ["perUser", "perInstance"] {
        for streaming in [false, true] {
            let more = format!("limits: {{{scope}: {{tokensPerMinute: 36}}}}");
            let (world, _folder) = configured("", &more, say()).await;
            for expected in [200, 200, 429] {
                let answer = if streaming { stream(&world).await } else { complete(&world).await };
                assert_eq!(answer.status(), expected, "{scope} {streaming}");
                let text = answer.text().await.unwrap();
                assert!(expected == 200 || text.contains("36 tokens a minute"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn tokens_of_a_server_that_does_not_say_them_are_estimated() {
    let silent_about_it =
        r#"{"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}"#;
    let script = Script::Status(200, vec![("content-type", "application/json")], silent_about_it.into());
    let (world, _folder) = configured("", "limits: {perUser: {tokensPerMinute: 10}}", script).await;
    assert_eq!(complete(&world).await.status(), 200);
    assert_eq!(complete(&world).await.status(), 429);
}

#[tokio::test]
async fn calls_at_a_time_are_counted() {
    for (scope, who) in [("perUser", "This user"), ("perInstance", "This GitLab instance")] {
        let more = format!("limits: {{{scope}: {{concurrentRequests: 1}}}}");
        let (world, _folder) = configured("", &more, Script::Silent).await;
        let request = world.signed(Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
        let first = tokio::spawn(request.send());
        eventually("a call", || (world.upstream.calls() == 1).then_some(())).await;
        let answer = complete(&world).await;
        assert_eq!((answer.status().as_u16(), wait(&answer)), (429, 1));
        let text = detail(answer).await;
        assert!(text.contains(&format!("{who} may have 1 model calls under way")), "{text}");
        first.abort();
        world.upstream.script(say());
        while complete(&world).await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn the_answer_is_in_the_form_that_gitlab_reads() {
    let (world, _folder) = configured("", "limits: {perUser: {requestsPerMinute: 1}}", say()).await;
    for (path, body) in [
        (
            "/v2/chat/agent",
            serde_json::json!({
                "messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral"),
            }),
        ),
        ("/v3/code/completions", world.generation(true)),
    ] {
        world.post(path, &body).await;
        let answer = world.post(path, &body).await;
        assert_eq!(answer.status(), 429, "{path}");
        let text = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
        assert!(text.starts_with("Too many requests. Please try again later."), "{text}");
    }
}
