//! The client of one GitLab: finds out what the instance can do, then runs typed calls.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    connections::Connections,
    documents::{self, Document},
    error::{Error, Result},
    graphql::request_body,
    introspection::{self, Answer, ReadError, Summary},
    rehearsal::Rehearsal,
    schema::{Capabilities, SchemaCache, SchemaKey, parse_version},
    token::{Token, scrub},
    transport::{Call, CallObserver, ClientConfig, Gate, Transport, WriteBudget},
    types::{Metadata, Observation},
};

/// Limit of calls in which GitLab itself waits for others: health check, connection check, introspection.
/// GitLab ends a request after 30 s (60 s by Puma's worker timeout).
const SLOW_CALL: Duration = Duration::from_secs(60);

/// A schema that was just read is not read again because a request did not fit it.
const RELEARN_AFTER: Duration = Duration::from_secs(600);

/// The administrator's API of one GitLab. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Transport,
    cache: SchemaCache,
    known: Arc<RwLock<Option<Known>>>,
    pub(crate) rehearsal: Option<Rehearsal>,
}

/// What clients of one process share: what is known of GitLab's versions, and HTTP clients by whom they trust. A clone is
/// the same.
#[derive(Clone, Default)]
pub struct Shared {
    schemas: SchemaCache,
    connections: Connections,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[derive(Clone)]
struct Known {
    key: SchemaKey,
    capabilities: Arc<Capabilities>,
    learned: Instant,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("instance", &self.transport.instance()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that shares nothing with others. Sends nothing yet.
    pub fn new(config: ClientConfig) -> Result<Self> {
        Self::sharing(config, &Shared::default())
    }

    /// A client that shares with others of this process what does not depend on whom it speaks to. Sends nothing yet.
    pub fn sharing(config: ClientConfig, shared: &Shared) -> Result<Self> {
        let transport = Transport::new(config, &shared.connections)?;
        Ok(Self { transport, cache: shared.schemas.clone(), known: Arc::default(), rehearsal: None })
    }

    /// Calls `observer` after every request, for metrics.
    #[must_use]
    pub fn with_observer(mut self, observer: CallObserver) -> Self {
        self.transport.set_observer(observer);
        self
    }

    /// Asks `budget` right before each write, see [`WriteBudget`]. The connection check stores nothing and is no write.
    #[must_use]
    pub fn with_write_budget(mut self, budget: WriteBudget) -> Self {
        self.transport.set_write_budget(budget);
        self
    }

    /// A client that only reads. The first observation is kept; writes change that copy and answer from it, later
    /// observations show it, and nothing is sent. The connection check, which needs a mutation and costs tokens, is
    /// [`Error::WriteNotAllowed`].
    #[must_use]
    pub fn rehearsing(mut self) -> Self {
        self.transport.set_write_budget(Arc::new(|| None));
        self.rehearsal = Some(Rehearsal::default());
        self
    }

    /// What GitLab holds, and what it would hold after the writes of a [rehearsal](Self::rehearsing); `None` before it
    /// was looked at, and for a client that does write.
    pub fn rehearsed(&self) -> Option<(Observation, Observation)> {
        self.rehearsal.as_ref().and_then(Rehearsal::seen_and_now)
    }

    /// Asks `gate` before each request, see [`Gate`].
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.transport.set_gate(gate);
        self
    }

    /// Version and edition. GitLab gives none to the anonymous: then the token is not accepted.
    pub async fn metadata(&self) -> Result<Metadata> {
        #[derive(Deserialize)]
        struct Data {
            metadata: Option<Metadata>,
        }
        let data: Data =
            self.transport.run_text(self.call(documents::METADATA), documents::METADATA.plain(), json!({})).await?;
        data.metadata.ok_or_else(anonymous)
    }

    /// What this instance can do; asked once per version.
    pub async fn capabilities(&self) -> Result<Arc<Capabilities>> {
        if let Some(known) = self.known() {
            return Ok(known.capabilities);
        }
        let metadata = self.metadata().await?;
        self.learn(&metadata).await
    }

    /// Takes note of the version that an answer carried; learns anew when GitLab was upgraded.
    pub(crate) async fn note_version(&self, metadata: &Metadata) -> Result<Arc<Capabilities>> {
        match self.known() {
            Some(known) if known.key == key_of(metadata) => Ok(known.capabilities),
            _ => self.learn(metadata).await,
        }
    }

    async fn learn(&self, metadata: &Metadata) -> Result<Arc<Capabilities>> {
        let key = key_of(metadata);
        let version = parse_version(&metadata.version).ok_or_else(|| Error::UnexpectedAnswer {
            operation: documents::METADATA.operation,
            what: format!("version `{}`", scrub(&metadata.version, &[])),
        })?;
        let capabilities = match self.cache.guessed(self.transport.instance(), &key).await {
            Some(guess) => guess,
            None => {
                let slot = self.cache.slot(&key).await;
                let introspected = slot
                    .get_or_try_init(|| async {
                        let summary = self.introspect().await?;
                        Ok(Arc::new(Capabilities::from_summary(version.clone(), &summary)))
                    })
                    .await;
                match introspected {
                    Ok(found) => found.clone(),
                    Err(IntrospectionError::Call(e)) => return Err(e),
                    Err(IntrospectionError::Off(why)) => {
                        tracing::info!(version = %metadata.version, %why, "GitLab does not answer introspection; going by its version");
                        let probe = self.probe_shape().await?;
                        let guess = Arc::new(Capabilities::from_version(version, metadata.enterprise, probe));
                        self.cache.keep_guess(self.transport.instance(), &key, guess.clone()).await;
                        guess
                    }
                }
            }
        };
        let known = Known { key, capabilities: capabilities.clone(), learned: Instant::now() };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(capabilities)
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called when a request did not fit the schema: perhaps GitLab was upgraded or downgraded. Returns the
    /// capabilities if they differ from those that did not fit.
    async fn relearn(&self, failed: &Capabilities) -> Result<Option<Arc<Capabilities>>> {
        if let Some(known) = self.known() {
            if known.learned.elapsed() >= RELEARN_AFTER {
                self.cache.forget(self.transport.instance(), &known.key).await;
            }
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let metadata = self.metadata().await?;
        let found = self.learn(&metadata).await?;
        Ok((*found != *failed).then_some(found))
    }

    async fn introspect(&self) -> Result<Summary, IntrospectionError> {
        let document = documents::INTROSPECTION;
        let call = Call { operation: document.operation, timeout: SLOW_CALL, secret: None, write: false };
        let body = request_body(document.operation, document.plain(), &json!({}))?;
        let response = match self.transport.post_graphql_streaming(call, body).await {
            Ok(response) => response,
            // a proxy or GitLab refuses this one query: not a fault of the instance
            Err(e @ (Error::Forbidden { .. } | Error::SchemaMismatch { .. } | Error::UnexpectedStatus { .. })) => {
                return Err(IntrospectionError::Off(e.to_string()));
            }
            Err(e) => return Err(e.into()),
        };
        let stream = response.bytes_stream().map_err(std::io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(stream));
        let read = tokio::task::spawn_blocking(move || introspection::read(reader, introspection::INTROSPECTION_LIMIT))
            .await
            .map_err(|e| Error::UnexpectedAnswer { operation: document.operation, what: e.to_string() })?;
        match read {
            Ok(Answer::Schema(summary)) => Ok(summary),
            Ok(Answer::Refused(errors)) => match self.transport.top_error(call, &errors) {
                e @ (Error::ServerError { .. } | Error::TokenInvalid { .. }) => Err(e.into()),
                e => Err(IntrospectionError::Off(e.to_string())),
            },
            Err(ReadError::TooLarge) => Err(IntrospectionError::Off(format!(
                "its schema is longer than {} bytes",
                introspection::INTROSPECTION_LIMIT
            ))),
            Err(ReadError::Form(what)) => Err(IntrospectionError::Off(what)),
            Err(ReadError::Io(e)) => {
                let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
                Err(match inner {
                    Some(e) => self.transport.transport_error(call, e).into(),
                    None => Error::UnexpectedAnswer { operation: document.operation, what: e.to_string() }.into(),
                })
            }
        }
    }

    /// Whether models have a provider, by asking for it. `None` when the answer says nothing about it.
    async fn probe_shape(&self) -> Result<Option<bool>> {
        let document = documents::SHAPE_PROBE;
        let probed: Result<Value> = self.transport.run_text(self.call(document), document.plain(), json!({})).await;
        match probed {
            Ok(_) => Ok(Some(true)),
            Err(Error::SchemaMismatch { message, .. }) if message.contains("provider") => Ok(Some(false)),
            Err(e) if e.is_transient() => Err(e),
            Err(_) => Ok(None),
        }
    }

    pub(crate) fn call(&self, document: Document) -> Call<'static> {
        Call { operation: document.operation, timeout: self.transport.timeout(), secret: None, write: false }
    }

    pub(crate) fn write_call(&self, document: Document) -> Call<'static> {
        Call { write: true, ..self.call(document) }
    }

    pub(crate) fn slow_call(&self, document: Document) -> Call<'static> {
        Call { timeout: SLOW_CALL.max(self.transport.timeout()), ..self.call(document) }
    }

    /// Runs a document in the form that fits the instance; when it does not fit, learns anew and tries once more.
    /// Nothing was executed in that case, so a mutation is safe.
    pub(crate) async fn run<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        document: Document,
        variables: impl Fn(&Capabilities) -> Value,
    ) -> Result<T> {
        let capabilities = self.capabilities().await?;
        let first = self.transport.run(call, document, &capabilities, variables(&capabilities)).await;
        match first {
            Err(Error::SchemaMismatch { operation, message }) => match self.relearn(&capabilities).await? {
                Some(found) => self.transport.run(call, document, &found, variables(&found)).await,
                None => Err(Error::SchemaMismatch { operation, message }),
            },
            other => other,
        }
    }

    /// The GitLab that is spoken to: its URL.
    pub fn instance(&self) -> &str {
        self.transport.instance()
    }

    /// The access token this client uses, for comparing with a newer one.
    pub fn token(&self) -> &Token {
        self.transport.token()
    }
}

fn key_of(metadata: &Metadata) -> SchemaKey {
    SchemaKey { version: metadata.version.clone(), enterprise: metadata.enterprise }
}

pub(crate) fn anonymous() -> Error {
    Error::TokenInvalid { message: "GitLab treats the caller as anonymous".into() }
}

enum IntrospectionError {
    /// The instance does not answer introspection.
    Off(String),
    /// The call failed and says nothing about introspection.
    Call(Error),
}

impl From<Error> for IntrospectionError {
    fn from(e: Error) -> Self {
        Self::Call(e)
    }
}
