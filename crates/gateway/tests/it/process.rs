//! The program itself: its environment, exit codes and signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::config_folder;

/// The program with these variables and no others.
pub fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duo-gateway"));
    command.env_clear().envs(variables.iter().copied()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

pub const FREE: [(&str, &str); 6] = [
    ("AIGW_FASTAPI__API_HOST", "127.0.0.1"),
    ("AIGW_FASTAPI__API_PORT", "0"),
    ("AIGW_FASTAPI__METRICS_HOST", "127.0.0.1"),
    ("AIGW_FASTAPI__METRICS_PORT", "0"),
    ("AIGW_GITLAB_URL", "http://127.0.0.1:9"),
    ("AIGW_CUSTOMER_PORTAL_URL", ""),
];

/// A started program; killed when dropped.
pub struct Started {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    pub api: String,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Started {
    pub fn new(more: &[(&str, &str)]) -> Self {
        let variables: Vec<(&str, &str)> = FREE.iter().chain(more).copied().collect();
        let mut child = program(&variables).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let api = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {seen}");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["message"] == "listening" {
                break value["api"].as_str().unwrap().to_owned();
            }
            seen.push_str(&line);
        };
        Self { child, lines, api }
    }
}

fn failed(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let output = program(variables).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_bad_variable_ends_it_with_2_and_the_cure() {
    let (code, text) = failed(&[("AIGW_GITLAB_URL", "gitlab.example.com")], &[]);
    assert_eq!(code, Some(2));
    assert!(text.contains("AIGW_GITLAB_URL") && text.contains("https://gitlab.example.com"), "{text}");
}

#[test]
fn a_bad_configuration_ends_it_with_2_and_a_taken_port_with_1() {
    let (code, text) = failed(&FREE, &["--config", "/does/not/exist/config.yaml"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("/does/not/exist"), "{text}");
    let folder = config_folder("gitlab: {}", "", "", &[]);
    let file = folder.path().join("config.yaml");
    let variables: Vec<_> = FREE.into_iter().chain([("DUO_GATEWAY_CONFIG", file.to_str().unwrap())]).collect();
    let (code, text) = failed(&variables, &[]);
    assert_eq!(code, Some(2));
    assert!(text.contains("missing field `url`"), "{text}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut variables = FREE;
    variables[1].1 = &port;
    let (code, text) = failed(&variables, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&port), "{text}");
}

#[tokio::test]
async fn the_official_variables_are_enough_and_a_signal_ends_it_in_good_order() {
    let mut started = Started::new(&[("DUO_GATEWAY_DRAIN_SECONDS", "0")]);
    let url = format!("http://{}/monitoring/healthz", started.api);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    let kill = Command::new("kill").args(["-TERM", &started.child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert!(started.child.wait().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut started.lines, &mut rest).unwrap();
    assert!(rest.contains("\"message\":\"stopped\""), "{rest}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut started = Started::new(&[("DUO_GATEWAY_DRAIN_SECONDS", "3600")]);
    let kill = |started: &Started| {
        assert!(Command::new("kill").args(["-TERM", &started.child.id().to_string()]).status().unwrap().success());
    };
    kill(&started);
    let mut line = String::new();
    while !line.contains("no longer ready") {
        line.clear();
        assert!(started.lines.read_line(&mut line).unwrap() > 0);
    }
    let url = format!("http://{}/monitoring/healthz", started.api);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200, "it still serves");
    kill(&started);
    assert!(started.child.wait().unwrap().success());
}

#[tokio::test]
async fn without_aws_credentials_anywhere_the_cause_is_named() {
    let bedrock = duo_sim::bedrock::start(duo_sim::bedrock::Config::default()).await.unwrap();
    let url = bedrock.url();
    let variables = [
        ("AIGW_AUTH__BYPASS_EXTERNAL", "true"),
        ("AWS_BEDROCK_RUNTIME_ENDPOINT", url.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HOME", "/nonexistent"),
    ];
    let check = json!({"inputs": {}, "model_metadata": {
        "name": "mixtral", "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1", "provider": "openai",
        "endpoint": "http://bedrockselfhostedmodel.com",
    }});
    let call = |started: &Started| {
        let url = format!("http://{}/v1/prompts/model_configuration%2Fcheck", started.api);
        reqwest::Client::new().post(url).json(&check).send()
    };
    let started = Started::new(&variables);
    let answer = call(&started).await.unwrap();
    assert_eq!(answer.status(), 421);
    let text = answer.text().await.unwrap();
    assert!(text.contains("401") && text.contains("no AWS credentials"), "{text}");

    // the article's two variables, and the region under the official image's name
    let with = [
        ("AWS_ACCESS_KEY_ID", duo_sim::bedrock::EXAMPLE_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", duo_sim::bedrock::EXAMPLE_SECRET_ACCESS_KEY),
        ("AWS_REGION_NAME", "us-east-1"),
    ];
    let variables: Vec<_> = variables.into_iter().chain(with).collect();
    let started = Started::new(&variables);
    let answer = call(&started).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}
