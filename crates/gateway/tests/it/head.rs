//! What is decided before any endpoint: paths, methods, headers of every answer, CORS.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

async fn world() -> World {
    World::new(Script::Say("x".into())).await
}

#[tokio::test]
async fn the_host_probe_and_unknown_paths_are_401_without_and_404_with_a_token() {
    let world = world().await;
    for (method, path) in [(Method::HEAD, "/"), (Method::GET, "/"), (Method::POST, "/v1/none")] {
        let without = world.http.request(method.clone(), world.url(path)).send().await.unwrap();
        assert_eq!(without.status(), 401, "{method} {path}");
        if method == Method::GET {
            assert_eq!(
                without.json::<Value>().await.unwrap(),
                json!({"error": "No authorization header presented"}),
                "the documentation's sign of life"
            );
        }
        let with = world.signed(method.clone(), path, &claims()).send().await.unwrap();
        assert_eq!(with.status(), 404, "{method} {path}");
        if method != Method::HEAD {
            assert_eq!(with.json::<Value>().await.unwrap(), json!({"detail": "Not Found"}));
        }
    }
}

#[tokio::test]
async fn monitoring_needs_no_token() {
    let world = world().await;
    let health = world.http.get(world.url("/monitoring/healthz")).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "{}"));
    let definitions = world.http.get(world.url("/v1/models/definitions")).send().await.unwrap();
    assert_eq!(definitions.json::<Value>().await.unwrap(), json!({"models": [], "unit_primitives": []}));
    let head = world.http.head(world.url("/"));
    assert_eq!(head.send().await.unwrap().status(), 401);
    let line = world.access(2).await.pop().unwrap();
    assert_eq!((&line["method"], &line["client_disconnected"]), (&json!("HEAD"), &Value::Null), "{line}");
    let head = world.http.head(world.url("/monitoring/healthz")).send().await.unwrap();
    assert_eq!(head.status(), 405);
    assert_eq!(head.headers()["allow"], "GET");
}

#[tokio::test]
async fn a_wrong_method_names_the_right_one() {
    let world = world().await;
    let answer = world.signed(Method::GET, "/v2/code/completions", &claims()).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"detail": "Method Not Allowed"}));
}

#[tokio::test]
async fn a_trailing_slash_leads_to_the_path_without() {
    let world = world().await;
    let answer = world.signed(Method::POST, "/v2/code/completions/?a=b", &claims()).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()["location"], "/v2/code/completions?a=b");
}

#[tokio::test]
async fn every_answer_carries_its_time_and_correlation_id() {
    let world = world().await;
    let given =
        world.bare(Method::POST, "/v2/code/completions").header("X-Request-ID", "abc-123").send().await.unwrap();
    assert_eq!(given.status(), 401);
    assert_eq!(given.headers()["x-request-id"], "abc-123");
    assert!(given.headers()["x-process-time"].to_str().unwrap().parse::<f64>().is_ok());
    let made = world.http.get(world.url("/monitoring/healthz")).send().await.unwrap();
    assert_eq!(made.headers()["x-request-id"].len(), 32);
    let odd = world.http.get(world.url("/")).header("X-Request-ID", "a b").send().await.unwrap();
    assert_ne!(odd.headers()["x-request-id"], "a b", "it would break log lines of others");
}

#[tokio::test]
async fn browsers_may_ask_first() {
    let world = world().await;
    let preflight = world
        .http
        .request(Method::OPTIONS, world.url("/v2/code/completions"))
        .header("Origin", "https://ide.example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization, x-gitlab-realm")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");
    assert_eq!(preflight.headers()["access-control-allow-headers"], "authorization, x-gitlab-realm");
    assert_eq!(preflight.text().await.unwrap(), "OK");
}

#[tokio::test]
async fn the_access_log_says_who_asked_what_of_which_model() {
    let world = world().await;
    let request = world.signed(Method::POST, "/v2/code/completions", &claims()).header("X-Request-ID", "corr-1");
    assert_eq!(request.json(&world.completion()).send().await.unwrap().status(), 200);
    let line = world.access(1).await.remove(0);
    for (field, value) in [
        ("correlation_id", json!("corr-1")),
        ("gitlab_host_name", json!("gitlab.example.com")),
        ("gitlab_global_user_id", json!("user-7")),
        ("gitlab_version", json!("18.9.0")),
        ("path", json!("/v2/code/completions")),
        ("method", json!("POST")),
        ("status_code", json!(200)),
        ("http_version", json!("1.1")),
        ("meta.unit_primitive", json!("complete_code")),
        ("meta.feature_category", json!("code_suggestions")),
        ("code_suggestion_type", json!("completion")),
        ("model_name", json!("mistral")),
        ("model_identifier", json!("custom_openai/the-model")),
        ("input_tokens", json!(11)),
        ("output_tokens", json!(7)),
        ("token_issuer", json!("http://gitlab")),
        ("type", json!("mlops")),
        ("stage", json!("main")),
        ("level", json!("info")),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let message = line["message"].as_str().unwrap();
    assert!(message.ends_with("- \"POST /v2/code/completions HTTP/1.1\" 200"), "{message}");
    for field in ["duration_s", "response_start_duration_s", "duration_request", "client_port"] {
        assert!(line[field].is_number(), "{field} in {line}");
    }
    let metrics = world.metrics().await;
    assert!(
        metrics.contains(
            "http_request_duration_seconds_count{handler=\"/v2/code/completions\",method=\"POST\",status=\"2xx\"} 1"
        ),
        "{metrics}"
    );
    assert!(metrics.contains("unit_primitive=\"complete_code\",finish_reason=\"stop\"} 1"), "{metrics}");
}

#[tokio::test]
async fn http_2_without_tls_is_served_on_the_same_port() {
    let world = world().await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = http.get(world.url("/monitoring/healthz")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
}

#[tokio::test]
async fn a_long_path_of_a_stranger_does_not_fill_the_log() {
    let world = world().await;
    let long = format!("/{}", "x".repeat(20_000));
    assert_eq!(world.http.get(world.url(&long)).send().await.unwrap().status(), 401);
    let line = world.access(1).await.remove(0);
    assert!(line["path"].as_str().unwrap().starts_with("/xxx"), "{line}");
    assert!(line.to_string().len() < 4_000, "{line}");
}

#[tokio::test]
async fn what_is_not_for_self_hosted_models_is_404_and_says_so() {
    let world = world().await;
    for path in ["/v1/amazon_q/events", "/v1/proxy/anthropic/v1/messages", "/v1/x-ray/libraries"] {
        assert_eq!(world.http.post(world.url(path)).send().await.unwrap().status(), 401, "{path}");
        let answer = world.post(path, &json!({})).await;
        assert_eq!(answer.status(), 404, "{path}");
        let detail = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("not for self-hosted models"), "{detail}");
    }
}

#[tokio::test]
async fn the_description_of_the_interface_needs_a_token() {
    let world = world().await;
    for path in ["/openapi.json", "/docs"] {
        assert_eq!(world.http.get(world.url(path)).send().await.unwrap().status(), 401, "{path}");
    }
    let document = world.signed(Method::GET, "/openapi.json", &claims()).send().await.unwrap();
    assert_eq!(document.json::<Value>().await.unwrap()["openapi"], "3.1.0");
    let page = world.signed(Method::GET, "/docs", &claims()).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}
