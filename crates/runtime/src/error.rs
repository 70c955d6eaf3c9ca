//! Errors of calls to the Kubernetes API, and the limit each call has.

use std::time::Duration;

use kube::core::Status;

/// Result of a call to the Kubernetes API.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Limit of one call; kube has none of its own.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// A call to the Kubernetes API that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused.
    #[error("{what}: {}", status_words(.status))]
    Api {
        /// Verb and object.
        what: String,
        /// The API server's answer.
        status: Box<Status>,
    },
    /// No answer in time; a write may or may not have happened.
    #[error("{what}: no answer from the Kubernetes API within {} s", CALL_TIMEOUT.as_secs())]
    Timeout {
        /// Verb and object.
        what: String,
    },
    /// The API server cannot be reached, or the answer cannot be read.
    #[error("{what}: {}", client_words(.source))]
    Client {
        /// Verb and object.
        what: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// An object of this name exists and was made by somebody else.
    #[error("{what}: it exists and was not made by {manager}; delete or rename it, or choose another name")]
    Foreign {
        /// Verb and object.
        what: String,
        /// Who would have applied it.
        manager: String,
    },
    /// An object that cannot be sent: no name, not an object in JSON.
    #[error("{what}: {why}")]
    Object {
        /// Verb and object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Longest wait that the API server can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// serde's message could quote a piece of the answer, which may be a Secret; its position is enough.
fn client_words(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(e) => {
            format!("the Kubernetes API's answer cannot be read (line {} column {})", e.line(), e.column())
        }
        other => other.to_string(),
    }
}

fn status_words(status: &Status) -> String {
    if status.message.is_empty() { format!("{} ({})", status.reason, status.code) } else { status.message.clone() }
}

impl Error {
    /// Wraps an error of kube.
    pub fn new(what: impl Into<String>, error: kube::Error) -> Self {
        let what = what.into();
        match error {
            kube::Error::Api(status) => Self::Api { what, status },
            other => Self::Client { what, source: Box::new(other) },
        }
    }

    /// HTTP status of the API server's answer, if it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// The object does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The object changed since it was read, or exists already: read again, then try again.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The object's namespace is being deleted; nothing can be created in it.
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::Api { status, .. } = self else { return false };
        let cause = |c: &kube::core::response::StatusCause| c.reason == "NamespaceTerminating";
        status.code == 403
            && (status.details.as_ref().is_some_and(|d| d.causes.iter().any(cause))
                || status.message.contains("because it is being terminated"))
    }

    /// One CamelCase word out of a fixed set: label of metrics, reason of conditions and events.
    pub fn category(&self) -> &'static str {
        match self {
            _ if self.is_namespace_terminating() => "NamespaceTerminating",
            Self::Api { status, .. } => match status.code {
                400 | 422 => "KubernetesInvalid",
                401 | 403 => "KubernetesForbidden",
                404 => "KubernetesNotFound",
                409 => "KubernetesConflict",
                429 => "KubernetesRateLimited",
                _ => "KubernetesServerError",
            },
            Self::Timeout { .. } => "KubernetesTimeout",
            Self::Client { .. } => "KubernetesUnreachable",
            Self::Foreign { .. } => "ObjectNotOurs",
            Self::Object { .. } => "InvalidObject",
        }
    }

    /// Whether trying again may help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            // 404 and 409 are races with other writers
            Self::Api { status, .. } => matches!(status.code, 404 | 409 | 429 | 500..),
            Self::Timeout { .. } | Self::Client { .. } => true,
            Self::Foreign { .. } | Self::Object { .. } => false,
        }
    }

    /// How long the API server asks to wait, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Api { status, .. } = self else { return None };
        let seconds = status.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_RETRY_AFTER))
    }
}

/// Runs one call to the Kubernetes API with a limit; `what` names verb and object in the error.
pub async fn call<T>(
    what: impl Into<String>,
    future: impl Future<Output = std::result::Result<T, kube::Error>>,
) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(result) => result.map_err(|e| Error::new(what, e)),
        Err(_) => Err(Error::Timeout { what: what.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_asks_for_is_bounded() {
        for (asked, wait) in [(0, None), (7, Some(7)), (3600, Some(3600)), (u32::MAX, Some(3600))] {
            let status: Status = serde_json::from_value(serde_json::json!({
                "status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "later",
                "details": {"retryAfterSeconds": asked},
            }))
            .unwrap();
            let error = Error::new("get Pod n/p", kube::Error::Api(Box::new(status)));
            assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{asked}");
        }
    }
}
