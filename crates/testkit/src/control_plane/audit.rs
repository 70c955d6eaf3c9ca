//! What was written to the API server, read from its audit log: the proof that a second reconcile writes nothing.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::ControlPlane;
use crate::error::{Error, Result};

/// A place in the audit log; see [`ControlPlane::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// One write that the API server was asked for, also one that it refused or that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// API group, empty for the core one.
    pub group: String,
    /// The resource's plural, as `deployments`; with a subresource `deployments/status`.
    pub resource: String,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// Empty for a `create` whose name the server made, and for `deletecollection`.
    pub name: String,
    /// Who asked; the impersonated user where there is one.
    pub user: String,
    /// The client program's own words about itself.
    pub user_agent: String,
    /// The HTTP status.
    pub code: u16,
    /// Whether it was only a dry run.
    pub dry_run: bool,
}

impl Write {
    /// Whether the API server did it (also when nothing changed by it).
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code) && !self.dry_run
    }
}

impl ControlPlane {
    /// Remembers the present end of the audit log: all requests that are over by now are before it.
    pub async fn mark(&self) -> Result<Mark> {
        self.settle().await?;
        Ok(Mark(self.read_log()?.len()))
    }

    /// The writes since `mark` by users for whom `user` says yes, in the order they ended.
    ///
    /// Service accounts are called `system:serviceaccount:NAMESPACE:NAME`, the harness' own administrator
    /// `kubernetes-admin`, the controllers `system:kube-controller-manager`. Renewals of a Lease are writes, too:
    /// filter them out by [`Write::resource`] where they are meant to be.
    pub async fn writes_since(&self, mark: Mark, user: impl Fn(&str) -> bool) -> Result<Vec<Write>> {
        self.settle().await?;
        let log = self.read_log()?;
        let mut writes = parse(log.get(mark.0..).unwrap_or_default());
        writes.retain(|write| write.user != SENTINEL && user(&write.user));
        Ok(writes)
    }

    /// Waits until a request of our own shows in the log; it has no rights and changes nothing.
    async fn settle(&self) -> Result<()> {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let name = format!("sentinel-{:x}", crate::process::random());
        let client = self.client_for(SENTINEL, &[])?;
        let request = http::Request::delete(format!("/api/v1/namespaces/default/configmaps/{name}"))
            .body(vec![])
            .map_err(|error| Error::kube("make a request")(kube::Error::HttpError(error)))?;
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {}
            Err(error) => return Err(Error::kube("ask the API server for a mark in its audit log")(error)),
            Ok(_) => {
                return Err(Error::Invalid {
                    what: format!("rights of user {SENTINEL}"),
                    why: "the user must have none, but may delete ConfigMaps".into(),
                });
            }
        }
        let started = Instant::now();
        while !self.read_log()?.contains(&name) {
            if started.elapsed() > TIMEOUT {
                return Err(Error::Timeout {
                    what: format!("the audit log to show the request for {name}"),
                    after: TIMEOUT,
                    last: String::new(),
                    log: None,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn read_log(&self) -> Result<String> {
        let path = &self.programs.files.audit_log;
        std::fs::read_to_string(path).map_err(Error::io("read", path))
    }
}

const SENTINEL: &str = "duo-testkit-sentinel";

/// Reads the lines of an audit log (`audit.k8s.io/v1`, one JSON object per line); skips what is no request for a
/// resource, and a last line that is not complete yet.
fn parse(log: &str) -> Vec<Write> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter_map(|event: Value| write(&event)).collect()
}

fn write(event: &Value) -> Option<Write> {
    if !matches!(event["stage"].as_str(), Some("ResponseComplete" | "Panic")) {
        return None;
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut resource = event.pointer("/objectRef/resource")?.as_str()?.to_owned();
    if let Some(subresource) = event.pointer("/objectRef/subresource").and_then(Value::as_str) {
        resource = format!("{resource}/{subresource}");
    }
    let impersonated = text("/impersonatedUser/username");
    Some(Write {
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource,
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        user: if impersonated.is_empty() { text("/user/username") } else { impersonated },
        user_agent: text("/userAgent"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default() as u16,
        dry_run: event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_by_an_impersonated_user_is_that_users_and_subresources_are_named() {
        let log = r#"{"stage":"ResponseComplete","verb":"patch","requestURI":"/apis/apps/v1/namespaces/n/deployments/d/status?fieldManager=x&dryRun=All","user":{"username":"kubernetes-admin"},"impersonatedUser":{"username":"jane"},"userAgent":"t/1","objectRef":{"resource":"deployments","namespace":"n","name":"d","apiGroup":"apps","subresource":"status"},"responseStatus":{"code":200}}
{"stage":"ResponseStarted","verb":"create","user":{"username":"a"},"objectRef":{"resource":"pods"}}
{"stage":"ResponseComplete","verb":"create","user":{"username":"a"},"requestURI":"/version"}
{"stage":"ResponseComplete","verb":"crea"#;
        let writes = parse(log);
        assert_eq!(
            writes,
            [Write {
                verb: "patch".into(),
                group: "apps".into(),
                resource: "deployments/status".into(),
                namespace: "n".into(),
                name: "d".into(),
                user: "jane".into(),
                user_agent: "t/1".into(),
                code: 200,
                dry_run: true,
            }]
        );
        assert!(!writes[0].succeeded());
    }
}
