//! Journal, faults and the control plane over HTTP; the program itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use duo_sim::gitlab::state::ADMIN_TOKEN;
use duo_sim::gitlab::{Action, Fault};
use gitlab_support::*;
use serde_json::{Value, json};

const VERSION: &str = "query Version { metadata { version } }";

#[tokio::test]
async fn the_journal_tells_reads_from_writes_and_changes_from_attempts() {
    let gitlab = gitlab(NEW).await;
    let mark = gitlab.journal().mark();
    admin(&gitlab, VERSION, json!({})).await;
    let mut input = custom("a", "GPT");
    input["apiToken"] = json!("model-key");
    create(&gitlab, input.clone()).await;
    admin(&gitlab, CREATE, json!({"input": input})).await;
    let entries = gitlab.journal().since(mark);
    assert_eq!(entries.len(), 3);
    assert_eq!((entries[0].operation_name.as_deref(), entries[0].fields[0].as_str()), (None, "metadata"));
    let writes = gitlab.journal().writes(mark);
    assert_eq!(writes.iter().map(|entry| entry.changed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(writes[1].errors, ["Name has already been taken"]);
    assert_eq!(writes[0].variables["input"]["apiToken"], "[masked]");
    assert!(writes[0].api_token_sent);
    assert_eq!(writes[0].user.as_deref(), Some("duo-operator"));
    assert!(!serde_json::to_string(&entries).unwrap().contains(ADMIN_TOKEN));
}

#[tokio::test]
async fn faults_meet_what_they_name_as_often_as_they_say() {
    let gitlab = gitlab(NEW).await;
    let limited = Action::Status { code: 429, retry_after: Some(7) };
    gitlab.faults().add(Fault::new(limited).on("aiSelfHostedModelCreate").times(1));
    assert_eq!(admin(&gitlab, VERSION, json!({})).await.status, 200, "another operation");
    let request = reqwest::Client::new()
        .post(format!("{}/api/graphql", gitlab.url()))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({"query": CREATE, "variables": {"input": bedrock("a")}}));
    let answer = request.try_clone().unwrap().send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(gitlab.state().models.is_empty(), "before the effect");
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(gitlab.journal().since(0)[1].fault.as_deref().map(|fault| fault.contains("429")), Some(true));
}

#[tokio::test]
async fn a_cut_after_the_effect_loses_the_answer_but_not_the_write() {
    let gitlab = gitlab(NEW).await;
    gitlab.faults().add(Fault { mutations_only: true, ..Fault::new(Action::Cut).after_effect().times(1) });
    let body = json!({"query": CREATE, "variables": {"input": bedrock("a")}});
    let request =
        reqwest::Client::new().post(format!("{}/api/graphql", gitlab.url())).bearer_auth(ADMIN_TOKEN).json(&body);
    assert!(request.send().await.is_err(), "the connection is cut");
    assert_eq!(gitlab.state().models.len(), 1);
}

#[tokio::test]
async fn html_oversized_and_hanging_answers() {
    let running = gitlab(NEW).await;
    let gitlab = &running;
    let send = |limit: u64| async move {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_millis(limit)).build().unwrap();
        let request = client.post(format!("{}/api/graphql", gitlab.url())).bearer_auth(ADMIN_TOKEN);
        request.json(&json!({"query": VERSION})).send().await
    };
    for action in [Action::Html, Action::Oversized { bytes: 5_000_000 }, Action::Hang] {
        gitlab.faults().add(Fault::new(action).times(1));
    }
    let html = send(60_000).await.unwrap();
    assert_eq!((html.status().as_u16(), html.headers()["content-type"].to_str().unwrap()), (502, "text/html"));
    let large = send(60_000).await.unwrap();
    assert_eq!((large.status().as_u16(), large.bytes().await.unwrap().len()), (200, 5_000_000));
    assert!(send(300).await.unwrap_err().is_timeout());
    assert_eq!(send(60_000).await.unwrap().status(), 200, "faults are used up");
}

#[tokio::test]
async fn the_control_plane_works_over_http() {
    let gitlab = gitlab(NEW).await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}/_sim/{path}", gitlab.url());
    assert_eq!(client.get(url("healthz")).send().await.unwrap().status(), 200);
    create(&gitlab, bedrock("a")).await;
    let writes: Value = client.get(url("writes?since=0")).send().await.unwrap().json().await.unwrap();
    assert_eq!(writes.as_array().unwrap().len(), 1);
    let patch = json!({"terms_accepted": true, "models": {"1": {"name": "by hand"}},
                       "settings": {"ai_gateway_url": "http://10.0.0.9"}});
    assert_eq!(client.patch(url("state")).json(&patch).send().await.unwrap().status(), 200);
    let state = gitlab.state();
    assert!(state.terms_accepted && state.models[&1].name == "by hand");
    let broken = client.patch(url("state")).json(&json!({"terms_accepted": "maybe"})).send().await.unwrap();
    assert_eq!(broken.status(), 422);
    let fault = json!({"operation": "Version", "times": 1, "action": {"status": {"code": 503}}});
    assert_eq!(client.post(url("faults")).json(&fault).send().await.unwrap().status(), 200);
    let body = json!({"query": VERSION, "operationName": "Version"});
    assert_eq!(post(&gitlab, Some(ADMIN_TOKEN), body).await.status, 503);
    assert_eq!(
        client.put(url("hosts")).json(&json!({"gw.example.com": "10.0.0.7"})).send().await.unwrap().status(),
        200
    );
    assert_eq!(gitlab.hosts().get("gw.example.com"), Some("10.0.0.7".parse().unwrap()));
    assert_eq!(client.post(url("keys/rotate")).send().await.unwrap().status(), 200);
    let token: Value =
        client.post(url("tokens")).json(&json!({"scopes": ["x"]})).send().await.unwrap().json().await.unwrap();
    assert_eq!(token["token"].as_str().unwrap().split('.').count(), 3);
    let outcome: Value = client.post(url("users/ask/chat")).send().await.unwrap().json().await.unwrap();
    assert_eq!(outcome["error"], "General Chat has no model assigned");
    assert_eq!(client.post(url("users/ask/poem")).send().await.unwrap().status(), 404);
    assert!(!gitlab.journal().since(0).iter().any(|entry| entry.path.starts_with("/_sim/")), "not journalled");
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_takes_its_token_from_a_file_and_logs_json() {
    let file = std::env::temp_dir().join(format!("duo-sim-token-{}", std::process::id()));
    std::fs::write(&file, "glpat-from-file\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_duo-sim"))
        .args(["gitlab", "--addr", "127.0.0.1:0", "--version", "18.9.0", "--admin-seat", "--allow-local-requests"])
        .args(["--external-url", "https://gitlab.example.com/"])
        .arg("--admin-token-file")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let program = Program(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let started: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    assert_eq!(started["fields"]["url"], "https://gitlab.example.com");
    let url = format!("http://{}/api/v4/version", started["fields"]["addr"].as_str().unwrap());
    let answer = reqwest::Client::new().get(url).bearer_auth("glpat-from-file").send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["version"], "18.9.0-ee");
    drop(program);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn the_listener_speaks_https_when_it_has_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = duo_sim::gitlab::Config { tls_cert: Some(cert), tls_key: Some(key), ..config(NEW) };
    let gitlab = duo_sim::gitlab::start(tls).await.unwrap();
    assert!(gitlab.url().starts_with("https://"));
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let url = format!("https://localhost:{}/_sim/healthz", gitlab.addr().port());
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    let stranger = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(&url).send().await.is_err());
}
