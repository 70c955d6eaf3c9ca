//! AWS Bedrock: Converse, ConverseStream and InvokeModel.
//!
//! Who calls whom is the AWS SDK's to say (`permit`): credentials are the mounted files when the configuration says so,
//! else the SDK's whole chain (environment, profile, web identity, pod identity, instance role). The SDK's client is made
//! at the first call, so that a gateway without Bedrock never looks for credentials. The calls themselves are
//! `duo_protocol::bedrock` over the gateway's own client; none is made twice: a throttled call answers at once, with its
//! Retry-After.

mod bounds;
mod call;
mod client;
mod embed;
mod failure;
mod guardrail;
mod http;
mod permit;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use aws_sdk_bedrockruntime::Client;
use duo_gateway_config::Guardrail;
use duo_protocol::bedrock::{ConverseStream, converse_body, parse_answer};
use duo_protocol::cache::CacheMarks;
use duo_protocol::failure::cleaned;
use duo_protocol::model::{ChatMessage, ModelAnswer, ModelRequest, UpstreamFailure};
use tokio::sync::OnceCell;

pub use client::{Account, Credentials, Role};

use super::caller::Caller;
use super::json::{MAX_ANSWER, Reader, events, read};
use super::stream::whole;
use super::way::Way;
use super::{Clients, ModelStream};
use call::{Addresses, Clock, Verb};
use permit::Permit;

/// The caller of Bedrock. Cheap to clone; clones share connections and credentials.
#[derive(Clone)]
pub struct Bedrock {
    inner: Arc<Inner>,
}

/// Says nothing of credentials.
impl std::fmt::Debug for Bedrock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bedrock").field("region", &self.inner.account.region).finish_non_exhaustive()
    }
}

struct Inner {
    account: Account,
    way: Way,
    caller: Caller,
    client: OnceCell<Client>,
    permit: ArcSwapOption<Permit>,
    clock: Clock,
}

impl Bedrock {
    /// For an account, by a client that goes `way`; nothing is contacted yet.
    pub fn new(account: Account, way: Way, caller: Caller) -> Self {
        let (client, permit, clock) = (OnceCell::new(), ArcSwapOption::empty(), Clock::default());
        Self { inner: Arc::new(Inner { account, way, caller, client, permit, clock }) }
    }

    /// Whether one for this account and way need not be made anew.
    pub fn is(&self, account: &Account, way: &Way) -> bool {
        self.inner.account == *account && self.inner.way == *way
    }

    async fn client(&self) -> Result<&Client, UpstreamFailure> {
        let connect = || client::connect(&self.inner.account, self.inner.caller.general.clone());
        self.inner.client.get_or_try_init(connect).await
    }

    /// Without the key, which servers in front of Bedrock repeat, and with the cure, where AWS' words leave people alone.
    fn failed(&self, failure: UpstreamFailure, asked: &[ChatMessage]) -> UpstreamFailure {
        let account = &self.inner.account;
        let failure = cleaned(failure, account.credentials.sent(), asked);
        failure::explained(failure, account.region.as_deref())
    }
}

/// What is asked of a model of Bedrock.
pub(super) struct Ask<'a> {
    pub model: &'a str,
    pub request: &'a ModelRequest,
    pub marks: CacheMarks,
}

/// A way in to one model.
#[derive(Debug)]
pub(super) struct Door {
    caller: Bedrock,
    /// As it is sent with calls for whole answers.
    guardrail: Option<String>,
    stream_guardrail: Option<String>,
    addresses: Mutex<Option<Arc<Addresses>>>,
    /// Until then whole answers only: streaming is denied, and policies change.
    whole_until: Mutex<Option<Instant>>,
}

/// So long a denied stream is not asked for again.
const DENIED: Duration = Duration::from_secs(600);

impl Door {
    pub fn new(caller: Bedrock, clients: &Clients) -> Self {
        let guardrail: Option<&Guardrail> = clients.common.guardrail.as_ref();
        Self {
            caller,
            guardrail: guardrail.map(guardrail::whole),
            stream_guardrail: guardrail.map(guardrail::stream),
            addresses: Mutex::default(),
            whole_until: Mutex::default(),
        }
    }

    pub async fn complete(&self, ask: &Ask<'_>) -> Result<ModelAnswer, UpstreamFailure> {
        let asked = &ask.request.messages;
        let answer = async {
            let body = converse_body(ask.request, ask.marks, self.guardrail.as_deref());
            let mut reply = self.caller.call(self, ask.model, Verb::Converse, body, asked).await?;
            parse_answer(&read(&mut reply, MAX_ANSWER).await?)
        };
        answer.await.map_err(|failure| self.caller.failed(failure, asked))
    }

    async fn converse_stream(&self, ask: &Ask<'_>) -> Result<ModelStream, UpstreamFailure> {
        let asked = &ask.request.messages;
        let body = converse_body(ask.request, ask.marks, self.stream_guardrail.as_deref());
        let reply = self.caller.call(self, ask.model, Verb::ConverseStream, body, asked).await;
        let reply = reply.map_err(|failure| self.caller.failed(failure, asked))?;
        let (caller, asked): (_, Arc<[ChatMessage]>) = (self.caller.clone(), asked.clone().into());
        let reader = Reader::Bedrock(ConverseStream::new());
        Ok(events(reply, reader, move |failure| caller.failed(failure, &asked)))
    }

    /// Least-privilege policies often allow `bedrock:InvokeModel` alone; such an account gets its answer in one piece.
    pub async fn stream(&self, ask: &Ask<'_>) -> Result<ModelStream, UpstreamFailure> {
        let denied = *self.whole_until.lock().unwrap_or_else(PoisonError::into_inner);
        if denied.is_none_or(|until| Instant::now() >= until) {
            match self.converse_stream(ask).await {
                Err(failure) if failure::denies_streaming(&failure) => {
                    *self.whole_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + DENIED);
                    tracing::warn!(
                        model = ask.model,
                        "bedrock:InvokeModelWithResponseStream is denied: answers come in one piece"
                    );
                }
                other => return other,
            }
        }
        Ok(whole(self.complete(ask).await?))
    }
}
