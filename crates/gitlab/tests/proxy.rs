//! `HTTP(S)_PROXY` and `NO_PROXY` are honoured. Variables belong to a process, so the client runs in one of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{Script, client, metadata};

const TARGET: &str = "http://gitlab.invalid";

/// Runs only as the other process: says what came of one call.
#[tokio::test]
#[ignore = "run by the other test, in a process with variables of its own"]
async fn child() {
    match client(TARGET).metadata().await {
        Ok(metadata) => println!("version {}", metadata.version),
        Err(error) => println!("category {}", error.category()),
    }
}

async fn call_with(variables: &[(&str, &str)]) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    for name in
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn proxies_of_the_environment_are_used_except_for_excluded_hosts() {
    let script = Script::default().json(metadata("19.5.0"));
    let proxy = script.serve().await;
    let said = call_with(&[("HTTP_PROXY", &proxy)]).await;
    assert!(said.contains("version 19.5.0"), "{said}");
    assert_eq!(script.requests.lock().unwrap()[0].headers["host"], "gitlab.invalid");

    let said = call_with(&[("HTTP_PROXY", &proxy), ("NO_PROXY", "gitlab.invalid")]).await;
    assert!(said.contains("category Unreachable"), "{said}");
    assert_eq!(script.requests.lock().unwrap().len(), 1);
}
