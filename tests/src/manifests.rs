//! The manifests of the suites; the article's scenario is `deploy/samples` with other addresses.

use crate::programs;

/// Values that must appear in no log, event, status or child object but a Secret.
pub const ADMIN_TOKEN: &str = "glpat-e2e-administrator-0123456789";
/// See [`ADMIN_TOKEN`].
pub const AWS_SECRET: &str = "e2eSecretAccessKey/abcdefghijklmnopqrstuv";
/// Access key id of the suites; no secret by itself.
pub const AWS_KEY_ID: &str = "AKIAE2EE2EE2EE2EE2EE";
/// Key of the suites' OpenAI-compatible server, see [`ADMIN_TOKEN`].
pub const VLLM_KEY: &str = "e2e-vllm-key-9876543210";

/// The Secrets that the samples refer to.
pub fn secrets(namespace: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: gitlab-admin, namespace: {namespace}}}
stringData: {{token: {ADMIN_TOKEN}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: aws-bedrock, namespace: {namespace}}}
stringData: {{AWS_ACCESS_KEY_ID: {AWS_KEY_ID}, AWS_SECRET_ACCESS_KEY: {AWS_SECRET}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: vllm, namespace: {namespace}}}
stringData: {{token: {VLLM_KEY}}}
"
    )
}

/// The article's scenario: the files of `deploy/samples`, moved to this namespace and these addresses.
///
/// # Panics
/// When a sample is missing.
pub fn article(namespace: &str, gitlab: &str, bedrock: &str) -> String {
    ["1-gateway", "2-models", "3-features"]
        .map(|name| {
            let path = programs::checkout(&format!("deploy/samples/{name}.yaml"));
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        })
        .join("---\n")
        .replace("namespace: gitlab-duo", &format!("namespace: {namespace}"))
        .replace("duo.gitlab-duo.svc", &format!("duo.{namespace}.svc"))
        .replace("http://gitlab.gitlab.svc", gitlab)
        .replace("http://bedrock.aws.svc", bedrock)
}
