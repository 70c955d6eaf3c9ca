//! A second gateway beside the demo's, with the settings that a real node can show: GitLab calls it by https with a
//! certificate of the company's CA, and users are served while one model server after the other goes away.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use duo_testkit::node::{NodeCluster, Options};
use duo_testkit::pki::CertificateAuthority;
use serde_json::{Value, json};

use super::{apply, ask, ready, rolled_out};
use crate::console::{Console, Failure};

const NAMESPACE: &str = "company";
/// The Service of its simulated GitLab, through the API server.
const GITLAB: &str = "/api/v1/namespaces/company/services/gitlab:http/proxy";
/// More than `limits.perUser.requestsPerMinute` of the resources.
const BEYOND_THE_LIMIT: usize = 40;
/// A model server that was scaled to nothing is gone within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Applies it to a cluster that `demo up` brought up, and shows that it works.
pub(crate) fn run(options: &Options, console: &Console) -> Result<(), Failure> {
    let cluster = NodeCluster::up(options, &console.progress())?;
    let outcome = show(&cluster, console);
    cluster.keep();
    outcome
}

fn show(cluster: &NodeCluster, console: &Console) -> Result<(), Failure> {
    console.step("settings: a second gateway, by https and with mirrors, fallbacks and limits");
    create(cluster, &objects()?)?;
    apply(cluster, "-f", "deploy/demo/settings/neighbours.yaml")?;
    for deployment in ["gitlab", "vllm-a", "vllm-b"] {
        rolled_out(cluster, NAMESPACE, deployment, console)?;
    }
    apply(cluster, "-f", "deploy/demo/settings/resources.yaml")?;
    ready::resources(cluster, &["-n", NAMESPACE], GITLAB, console)?;
    let url = cluster.kubectl(["-n", NAMESPACE, "get", "aigateway", "duo", "-o", "jsonpath={.status.url}"])?;
    if url.trim() != "https://duo.company.svc:5052" {
        return Err(Failure::Other(format!("GitLab calls {url} and not the https URL")));
    }
    answered(cluster, console, "GitLab calls by https")?;
    without(cluster, console, "vllm-a")?;
    answered(cluster, console, "one of the two model servers is gone")?;
    without(cluster, console, "vllm-b")?;
    answered(cluster, console, "both are gone: Bedrock answers")?;
    limited(cluster, console)
}

/// Namespace, Secrets, the company's CA and the gateway's certificate.
fn objects() -> Result<Value, Failure> {
    let failed = |error: duo_testkit::Error| Failure::Other(error.to_string());
    let authority = CertificateAuthority::new("company").map_err(failed)?;
    let host = "duo.company.svc";
    let identity = authority.server(host, &[host]).map_err(failed)?;
    let object = |kind: &str, name: &str, field: &str, data: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, field: data});
    let keys = json!({"AWS_ACCESS_KEY_ID": "AKIADEMODEMODEMODEMO", "AWS_SECRET_ACCESS_KEY": "demo-secret-access-key"});
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        object("Secret", "gitlab-admin", "stringData", json!({"token": "demo-administrator-token"})),
        object("Secret", "aws-bedrock", "stringData", keys),
        object("Secret", "duo-tls", "stringData", json!({"tls.crt": identity.cert_pem, "tls.key": identity.key_pem})),
        object("ConfigMap", "company-ca", "data", json!({"ca.crt": authority.cert_pem()})),
    ]}))
}

fn create(cluster: &NodeCluster, objects: &Value) -> Result<(), Failure> {
    let mut kubectl = cluster.kubectl_command(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = kubectl.spawn().map_err(Failure::when("kubectl apply"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(objects.to_string().as_bytes()).map_err(Failure::when("kubectl apply"))?;
    }
    let status = child.wait().map_err(Failure::when("kubectl apply"))?;
    if status.success() { Ok(()) } else { Err(Failure::Other("kubectl apply of the settings' Secrets failed".into())) }
}

fn complete(cluster: &NodeCluster) -> Result<Value, Failure> {
    let body = json!({"file_name": "gcd.rb", "above": "def gcd(a, b)\n", "below": "\nend\n"});
    ask::ask(cluster, GITLAB, "code_completion", &body)
}

fn answered(cluster: &NodeCluster, console: &Console, what: &str) -> Result<(), Failure> {
    let outcome = complete(cluster)?;
    if outcome["ok"] == true {
        console.step(&format!("{what}: a developer's editor got its completion"));
        return Ok(());
    }
    Err(Failure::Other(format!("{what}: no completion: {outcome:#}")))
}

/// Takes a model server away.
fn without(cluster: &NodeCluster, console: &Console, deployment: &str) -> Result<(), Failure> {
    console.step(&format!("taking {deployment} away"));
    cluster.kubectl(["-n", NAMESPACE, "scale", &format!("deployment/{deployment}"), "--replicas=0"])?;
    let begin = Instant::now();
    let selector = format!("app.kubernetes.io/name={deployment}");
    while !cluster.kubectl(["-n", NAMESPACE, "get", "pods", "-l", &selector, "-o", "name"])?.trim().is_empty() {
        if begin.elapsed() > PATIENCE {
            return Err(Failure::Other(format!("the pod of {deployment} does not end")));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// One user asks and asks.
fn limited(cluster: &NodeCluster, console: &Console) -> Result<(), Failure> {
    for asked in 1..=BEYOND_THE_LIMIT {
        let outcome = complete(cluster)?;
        let refused = outcome["calls"].as_array().into_iter().flatten().any(|call| call["status"] == 429);
        if refused {
            console.step(&format!("call {asked} of one user within a minute: 429, as limits.perUser says"));
            return Ok(());
        }
    }
    Err(Failure::Other(format!("one user made {BEYOND_THE_LIMIT} calls a minute and limits.perUser allows 30")))
}
