//! What can go wrong in a call to GitLab, told apart by who can cure it.
//!
//! Texts of GitLab are kept word for word, but never `extensions`: GitLab echoes a whole variable there, API keys
//! included. Every kept text has passed `scrub`.

use std::time::Duration;

/// Result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call to GitLab that did not do what was asked.
///
/// [`category`](Error::category) is the bounded word for condition reasons, events and metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be built from its configuration.
    #[error("the GitLab client cannot be configured: {what}")]
    Configuration {
        /// What is wrong and where to change it.
        what: String,
    },
    /// The write was not sent: whoever gives this client leave to write does not at the moment (leadership lost).
    #[error("{operation}: not sent, this process may not write now")]
    WriteNotAllowed {
        /// Name of the call.
        operation: &'static str,
    },
    /// The request was not sent: whoever keeps the pace of calls to this GitLab held it back. It says the same as what
    /// it was held back for, so that a condition does not change with every try.
    #[error("{why}")]
    HeldBack {
        /// What GitLab, or the way to it, said last.
        why: Box<Self>,
        /// When it may be sent.
        retry_after: Duration,
    },
    /// More requests than are made to one GitLab in an hour.
    #[error("no more than {per_hour} requests an hour are made to one GitLab; this one waits for its turn")]
    Paced {
        /// The limit.
        per_hour: u32,
        /// When there is room again.
        retry_after: Duration,
    },
    /// No connection: name not resolved, refused, reset.
    #[error("GitLab at {host} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port of GitLab.
        host: String,
        /// The innermost cause.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error(
        "TLS to GitLab at {host} failed: {cause}; if GitLab's certificate is signed by a private authority, name it in spec.gitlab.caBundleRef"
    )]
    Tls {
        /// Host and port of GitLab.
        host: String,
        /// The innermost cause.
        cause: String,
    },
    /// No complete answer in time. The call may or may not have taken effect.
    #[error("{operation}: no answer from GitLab within {} s", after.as_secs_f32())]
    Timeout {
        /// Name of the GraphQL operation or REST path.
        operation: &'static str,
        /// The limit that passed.
        after: Duration,
    },
    /// HTTP 401: wrong, revoked or expired token.
    #[error("GitLab refuses the token: {message}")]
    TokenInvalid {
        /// GitLab's words.
        message: String,
    },
    /// HTTP 403: the token is known but its user may not use the API at all (blocked account, IP rule, DPoP).
    #[error("{operation}: GitLab forbids the call: {message}")]
    Forbidden {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// The token works but lacks scope `api`, administrator rights, or the instance lacks the licence; GitLab answers
    /// all of these with one sentence.
    #[error("{operation}: {message}")]
    TokenLacksRights {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// HTTP 429.
    #[error("GitLab limits the rate of requests{}", retry_words(*.retry_after))]
    RateLimited {
        /// When GitLab wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// HTTP 5xx.
    #[error("{operation}: GitLab answered {status}: {message}")]
    ServerError {
        /// Name of the call.
        operation: &'static str,
        /// HTTP status.
        status: u16,
        /// GitLab's words, or those of the proxy in front of it.
        message: String,
        /// When GitLab wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Another HTTP status, for example 404 because the URL is not that of a GitLab.
    #[error("{operation}: GitLab answered {status}: {message}; check spec.gitlab.url and proxies in between")]
    UnexpectedStatus {
        /// Name of the call.
        operation: &'static str,
        /// HTTP status.
        status: u16,
        /// The answer's words.
        message: String,
    },
    /// HTTP 3xx. Redirects are not followed: the token must not travel to a host nobody named.
    #[error("GitLab redirects to {target}; set spec.gitlab.url to the address GitLab itself uses")]
    Redirected {
        /// Scheme, host and port of the target.
        target: String,
    },
    /// The answer is longer than is ever expected.
    #[error("{operation}: the answer is longer than {limit} bytes")]
    AnswerTooLarge {
        /// Name of the call.
        operation: &'static str,
        /// The limit.
        limit: usize,
    },
    /// HTTP 200 with something that is not a GraphQL (or JSON) answer: a login page, a maintenance page, cut JSON.
    #[error("{operation}: the answer is not GitLab's API ({what}); check spec.gitlab.url and proxies in between")]
    NotGraphQl {
        /// Name of the call.
        operation: &'static str,
        /// What came instead.
        what: String,
    },
    /// JSON of another form than the schema promises. The request was executed.
    #[error("{operation}: GitLab's answer has an unexpected form: {what}")]
    UnexpectedAnswer {
        /// Name of the call.
        operation: &'static str,
        /// What does not fit.
        what: String,
    },
    /// GitLab's schema differs from what this client knows; nothing was executed.
    #[error("{operation}: GitLab's schema does not accept the request: {message}")]
    SchemaMismatch {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// A read-only instance (maintenance mode, Geo secondary).
    #[error("{operation}: {message}")]
    ReadOnly {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// A model of that name exists. GitLab's list hides models of beta families until the testing terms are accepted,
    /// so "not listed" does not mean "free".
    #[error("{operation}: {message}")]
    NameTaken {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// The model's family does not serve that feature.
    #[error("{operation}: {message}")]
    IncompatibleFamily {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// The model is gone.
    #[error("{operation}: {message}")]
    ModelNotFound {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
    /// Another refusal of the request's content, in GitLab's words.
    #[error("{operation}: {message}")]
    Refused {
        /// Name of the call.
        operation: &'static str,
        /// GitLab's words.
        message: String,
    },
}

fn retry_words(after: Option<Duration>) -> String {
    after.map(|d| format!("; asked to wait {} s", d.as_secs())).unwrap_or_default()
}

/// What is wrong with a client's configuration, and where to change it.
pub(crate) fn configuration(what: String) -> Error {
    Error::Configuration { what }
}

impl Error {
    /// One CamelCase word out of a fixed set: reason of conditions and events, label of metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Configuration { .. } => "InvalidConfiguration",
            Self::WriteNotAllowed { .. } => "NotLeading",
            Self::HeldBack { why, .. } => why.category(),
            Self::Paced { .. } => "Paced",
            Self::Unreachable { .. } => "Unreachable",
            Self::Tls { .. } => "TLSFailed",
            Self::Timeout { .. } => "Timeout",
            Self::TokenInvalid { .. } => "TokenInvalid",
            Self::Forbidden { .. } => "AccessForbidden",
            Self::TokenLacksRights { .. } => "TokenLacksRights",
            Self::RateLimited { .. } => "RateLimited",
            Self::ServerError { .. } => "ServerError",
            Self::UnexpectedStatus { .. } => "UnexpectedStatus",
            Self::Redirected { .. } => "Redirected",
            Self::AnswerTooLarge { .. } => "AnswerTooLarge",
            Self::NotGraphQl { .. } => "NotGraphQL",
            Self::UnexpectedAnswer { .. } => "UnexpectedAnswer",
            Self::SchemaMismatch { .. } => "SchemaMismatch",
            Self::ReadOnly { .. } => "ReadOnlyInstance",
            Self::NameTaken { .. } => "NameTaken",
            Self::IncompatibleFamily { .. } => "IncompatibleFamily",
            Self::ModelNotFound { .. } => "ModelNotFound",
            Self::Refused { .. } => "Refused",
        }
    }

    /// How long GitLab asks to wait, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::ServerError { retry_after, .. } => *retry_after,
            Self::HeldBack { retry_after, .. } | Self::Paced { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything. The others wait for a person: a new
    /// token, another spec, an upgrade.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::WriteNotAllowed { .. }
                | Self::HeldBack { .. }
                | Self::Paced { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::RateLimited { .. }
                | Self::ServerError { .. }
                | Self::NotGraphQl { .. }
                | Self::ReadOnly { .. }
        )
    }

    /// Whether the call may have taken effect although it failed: the request was (perhaps) sent, the answer was lost.
    /// The caller has to observe before it writes again.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::ServerError { .. }
                | Self::NotGraphQl { .. }
                | Self::AnswerTooLarge { .. }
                | Self::UnexpectedAnswer { .. }
        )
    }
}
