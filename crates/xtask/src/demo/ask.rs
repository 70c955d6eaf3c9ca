//! What a user of the simulated GitLab sees: a Duo Chat answer and a code suggestion, and the gateway's log lines for them.

use std::io::Write;
use std::process::Stdio;

use duo_testkit::node::NodeCluster;
use serde_json::{Value, json};

use super::GITLAB;
use crate::console::{Console, Failure};

pub(super) fn show(cluster: &NodeCluster, console: &Console) -> Result<(), Failure> {
    let question = "How do I write a unit test for a Ruby method?";
    console.plain(&format!("\n== A developer asks GitLab Duo Chat: {question}"));
    let chat = ask(cluster, GITLAB, "chat", &json!({"question": question}))?;
    report(console, &chat)?;

    let above = "# Returns the greatest common divisor of two integers\ndef gcd(a, b)\n";
    console
        .plain(&format!("\n== The developer's editor asks for code (gcd.rb, cursor at the end):\n{}", indented(above)));
    let body = json!({"file_name": "gcd.rb", "above": above, "below": "\nend\n", "instruction": ""});
    let code = ask(cluster, GITLAB, "code_generation", &body)?;
    report(console, &code)?;

    console.plain("\n== The gateway's log lines for the two");
    let ids: Vec<&str> = [&chat, &code]
        .into_iter()
        .filter_map(|outcome| outcome["calls"].as_array())
        .flatten()
        .filter_map(|call| call["request_id"].as_str())
        .collect();
    let selector = "app.kubernetes.io/name=duo-gateway";
    let logs = cluster.kubectl(["-n", "gitlab-duo", "logs", "-l", selector, "--prefix", "--tail=-1", "--since=2m"])?;
    let lines: Vec<&str> = ids.iter().flat_map(|id| logs.lines().filter(move |line| line.contains(id))).collect();
    if lines.is_empty() {
        return Err(Failure::Other("no gateway pod logged the requests' ids".into()));
    }
    console.plain(&lines.join("\n"));
    Ok(())
}

/// `POST /_sim/users/ask/WHAT`; the outcome as the simulated GitLab, by its path through the API server, reports it.
pub(super) fn ask(cluster: &NodeCluster, gitlab: &str, what: &str, body: &Value) -> Result<Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(format!("ask {what}: {error}"));
    let mut kubectl =
        cluster.kubectl_command(["create", "--raw", &format!("{gitlab}/_sim/users/ask/{what}"), "-f", "-"]);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kubectl.spawn().map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(body.to_string().as_bytes()).map_err(|error| failed(&error))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))
}

/// Prints an answer as the user sees it, or fails with what the user saw instead.
fn report(console: &Console, outcome: &Value) -> Result<(), Failure> {
    let text = |key: &str| outcome[key].as_str().unwrap_or_default();
    if outcome["ok"] != true {
        let calls = serde_json::to_string_pretty(&outcome["calls"]).unwrap_or_default();
        return Err(Failure::Other(format!("the user got {} {}\n{calls}", text("error_code"), text("error"))));
    }
    console.plain(&format!("-- {} answers:\n{}", text("model"), indented(text("text"))));
    Ok(())
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("   | {line}")).collect::<Vec<_>>().join("\n")
}
