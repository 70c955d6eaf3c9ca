//! HTTP to one GitLab: one request, one bounded answer, one typed error. Knows nothing of models and features.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, future::BoxFuture};
use http::{HeaderValue, StatusCode, header};
use url::Url;

use crate::{
    connections::{Connections, Needs},
    error::{Error, Result, configuration},
    refusal::{Causes, error_words, is_html, redirect_target, retry_after},
    token::{Token, scrub},
};

/// Longest answer of an ordinary call. A hundred models with their fields are some 50 KiB.
pub(crate) const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// One finished call, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOutcome {
    /// Name of the GraphQL operation, or of the REST resource.
    pub operation: &'static str,
    /// `OK` or the category of the error.
    pub result: &'static str,
    /// Time from the first byte sent to the end of the answer.
    pub duration: Duration,
}

/// Called after every request.
pub type CallObserver = Arc<dyn Fn(CallOutcome) + Send + Sync>;

/// Asked right before each write is sent: how long it may take, `None` when it may not be sent at all. The place for a
/// leader's lease: no write starts after the renewal deadline, and each ends before the lease does.
pub type WriteBudget = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// Asked before each request, for whoever keeps the pace of calls to this GitLab: waits for the request's turn, or says
/// why it may not be sent now ([`Error::HeldBack`]).
pub type Gate = Arc<dyn Fn(Entering) -> BoxFuture<'static, Result<Entered>> + Send + Sync>;

/// What a [`Gate`] knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entering {
    /// Name of the GraphQL operation, or of the REST resource.
    pub operation: &'static str,
    /// GitLab itself waits for others in it.
    pub long: bool,
}

/// Is told how a request ended: the error, if there was one.
pub type Ended = Box<dyn FnOnce(Option<&Error>) + Send>;

/// Leave for one request.
pub struct Entered {
    /// It must not take longer than this.
    pub within: Option<Duration>,
    /// Called with how it ended; not called for one that was dropped.
    pub ended: Ended,
}

/// How to reach one GitLab.
#[derive(Clone)]
pub struct ClientConfig {
    /// GitLab's own URL, with its path when GitLab runs under a relative URL. Not the API's URL.
    pub base_url: Url,
    /// Personal access token of an administrator; scope `api`.
    pub token: Token,
    /// Additional certificate authorities, PEM, one or several.
    pub ca_bundle_pem: Option<Vec<u8>>,
    /// Limit of one request, connecting and reading included. The health check and the connection check, which wait for
    /// other systems, have longer ones of their own.
    pub request_timeout: Duration,
    /// `User-Agent` of every request.
    pub user_agent: String,
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("base_url", &self.base_url.as_str())
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

/// The HTTP side of a client.
#[derive(Clone)]
pub(crate) struct Transport {
    http: Arc<reqwest::Client>,
    user_agent: HeaderValue,
    graphql: Url,
    rest: Url,
    host: String,
    token: Token,
    authorization: HeaderValue,
    timeout: Duration,
    observer: Option<CallObserver>,
    write_budget: Option<WriteBudget>,
    gate: Option<Gate>,
}

impl Transport {
    pub(crate) fn new(config: ClientConfig, connections: &Connections) -> Result<Self> {
        let ClientConfig { base_url, token, ca_bundle_pem, request_timeout, user_agent } = config;
        if !base_url.username().is_empty() || base_url.password().is_some() {
            return Err(configuration(
                "spec.gitlab.url carries credentials; name a Secret in spec.gitlab.tokenSecretRef".into(),
            ));
        }
        if !matches!(base_url.scheme(), "http" | "https") || base_url.host_str().is_none() {
            return Err(configuration(format!("spec.gitlab.url `{base_url}` is not an http(s) URL")));
        }
        if token.is_empty() {
            return Err(configuration("the access token is empty; fill the key of spec.gitlab.tokenSecretRef".into()));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
            configuration("the access token has characters that no token has; check the Secret's key".into())
        })?;
        authorization.set_sensitive(true);
        let host = match base_url.port() {
            Some(port) => format!("{}:{port}", base_url.host_str().unwrap_or_default()),
            None => base_url.host_str().unwrap_or_default().to_owned(),
        };
        let user_agent =
            HeaderValue::from_str(&user_agent).map_err(|_| configuration("the user agent is no text".into()))?;
        let http = connections.client(Needs::new(base_url.scheme(), ca_bundle_pem, request_timeout))?;
        let graphql = below(&base_url, "api/graphql")?;
        let rest = below(&base_url, "api/v4/")?;
        Ok(Self {
            http,
            user_agent,
            graphql,
            rest,
            host,
            token,
            authorization,
            timeout: request_timeout,
            observer: None,
            write_budget: None,
            gate: None,
        })
    }

    pub(crate) fn set_observer(&mut self, observer: CallObserver) {
        self.observer = Some(observer);
    }

    pub(crate) fn set_write_budget(&mut self, budget: WriteBudget) {
        self.write_budget = Some(budget);
    }

    pub(crate) fn set_gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Identifies the instance in the schema cache.
    pub(crate) fn instance(&self) -> &str {
        self.graphql.as_str()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts a GraphQL body and returns the whole bounded answer of an HTTP 200.
    pub(crate) async fn post_graphql(&self, call: Call<'_>, body: Vec<u8>) -> Result<Bytes> {
        self.through_gate(call, |call| async move {
            let response = self.send(call, self.http.post(self.graphql.clone()), Some(body)).await?;
            self.read(call, response, ANSWER_LIMIT).await
        })
        .await
    }

    /// Posts a GraphQL body and returns the answer of an HTTP 200 for streaming.
    pub(crate) async fn post_graphql_streaming(&self, call: Call<'_>, body: Vec<u8>) -> Result<reqwest::Response> {
        self.through_gate(call, |call| self.send(call, self.http.post(self.graphql.clone()), Some(body))).await
    }

    /// Reads a REST resource below `/api/v4/`.
    pub(crate) async fn get_rest(&self, call: Call<'_>, path: &str) -> Result<Bytes> {
        self.through_gate(call, |call| async move {
            let url = self.rest.join(path).map_err(|e| configuration(format!("REST path `{path}`: {e}")))?;
            let response = self.send(call, self.http.get(url), None).await?;
            self.read(call, response, ANSWER_LIMIT).await
        })
        .await
    }

    /// Makes a request when its turn has come, and tells how it ended.
    async fn through_gate<'a, T, F>(&self, mut call: Call<'a>, request: impl FnOnce(Call<'a>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let entered = match &self.gate {
            None => None,
            Some(gate) => Some(gate(Entering { operation: call.operation, long: call.timeout > self.timeout }).await?),
        };
        if let Some(within) = entered.as_ref().and_then(|entered| entered.within) {
            call.timeout = call.timeout.min(within);
        }
        let started = std::time::Instant::now();
        let result = request(call).await;
        self.observe(call.operation, started.elapsed(), result.as_ref().err());
        if let Some(entered) = entered {
            (entered.ended)(result.as_ref().err());
        }
        result
    }

    fn observe(&self, operation: &'static str, duration: Duration, error: Option<&Error>) {
        let result = error.map_or("OK", Error::category);
        tracing::debug!(operation, result, duration_ms = duration.as_millis() as u64, host = %self.host, "call to GitLab");
        if let Some(observer) = &self.observer {
            observer(CallOutcome { operation, result, duration });
        }
    }

    /// Sends one request; every status but 200 and every HTML page is an error.
    async fn send(
        &self,
        call: Call<'_>,
        request: reqwest::RequestBuilder,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response> {
        let mut timeout = call.timeout;
        if let Some(budget) = self.write_budget.as_ref().filter(|_| call.write) {
            timeout = timeout.min(budget().ok_or(Error::WriteNotAllowed { operation: call.operation })?);
        }
        let call = Call { timeout, ..call };
        let mut request = request
            .timeout(timeout)
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::USER_AGENT, self.user_agent.clone())
            .header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|e| self.transport_error(call, &e))?;
        let status = response.status();
        if status == StatusCode::OK {
            return if is_html(response.headers()) {
                Err(Error::NotGraphQl { operation: call.operation, what: "an HTML page".into() })
            } else {
                Ok(response)
            };
        }
        Err(self.status_error(call, status, response).await)
    }

    async fn read(&self, call: Call<'_>, response: reqwest::Response, limit: usize) -> Result<Bytes> {
        let too_large = Error::AnswerTooLarge { operation: call.operation, limit };
        if response.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_large);
        }
        let mut body = BytesMut::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| self.transport_error(call, &e))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn status_error(&self, call: Call<'_>, status: StatusCode, response: reqwest::Response) -> Error {
        let operation = call.operation;
        let retry_after = retry_after(response.headers(), jiff::Timestamp::now());
        if status.is_redirection() {
            let target = redirect_target(&self.graphql, response.headers());
            return Error::Redirected { target: scrub(&target, &self.secrets(call)) };
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Error::RateLimited { retry_after };
        }
        let html = is_html(response.headers());
        let body = self.read(call, response, 64 * 1024).await.unwrap_or_default();
        let message = scrub(&error_words(&body, html, status), &self.secrets(call));
        match status {
            StatusCode::UNAUTHORIZED => Error::TokenInvalid { message },
            // GitLab's REST API says with 403 that the token's scope is too small
            StatusCode::FORBIDDEN if message.contains("insufficient_scope") => {
                Error::TokenLacksRights { operation, message }
            }
            StatusCode::FORBIDDEN => Error::Forbidden { operation, message },
            StatusCode::UNPROCESSABLE_ENTITY => Error::SchemaMismatch { operation, message },
            s if s.is_server_error() => Error::ServerError { operation, status: s.as_u16(), message, retry_after },
            s => Error::UnexpectedStatus { operation, status: s.as_u16(), message },
        }
    }

    pub(crate) fn transport_error(&self, call: Call<'_>, error: &reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return Error::Timeout { operation: call.operation, after: call.timeout };
        }
        let causes = Causes::of(error);
        let cause = scrub(&causes.text, &self.secrets(call));
        let host = self.host.clone();
        if causes.tls { Error::Tls { host, cause } } else { Error::Unreachable { host, cause } }
    }

    pub(crate) fn secrets<'a>(&'a self, call: Call<'a>) -> Vec<&'a Token> {
        std::iter::once(&self.token).chain(call.secret).collect()
    }
}

/// What a single call is called, how long it may take and which secret it carries besides the access token.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) operation: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) secret: Option<&'a Token>,
    /// It stores something in GitLab.
    pub(crate) write: bool,
}

fn below(base: &Url, path: &str) -> Result<Url> {
    let mut base = base.clone();
    base.set_query(None);
    base.set_fragment(None);
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    base.join(path).map_err(|e| configuration(format!("spec.gitlab.url `{base}`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_a_relative_url() {
        for (base, graphql) in [
            ("https://gitlab.example.com", "https://gitlab.example.com/api/graphql"),
            ("https://example.com/gitlab", "https://example.com/gitlab/api/graphql"),
            ("https://example.com/gitlab/?x=1#y", "https://example.com/gitlab/api/graphql"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), "api/graphql").unwrap().as_str(), graphql);
        }
    }
}
