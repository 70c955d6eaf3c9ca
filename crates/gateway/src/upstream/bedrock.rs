//! AWS Bedrock: Converse and ConverseStream through the AWS SDK.
//!
//! Credentials are the mounted files when the configuration says so, else the SDK's whole chain (environment, profile,
//! web identity, pod identity, instance role). The client is made at the first call, so that a gateway without Bedrock
//! never looks for credentials. The SDK's own retries are off: a throttled call answers at once, with its Retry-After.
//! Its stalled-stream check is off, too: a model may think in silence for longer than the 20 s it allows.

mod bounds;
mod client;
mod convert;
mod embed;
mod failure;
mod http;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::types::ConverseStreamOutput;
use duo_gateway_config::Guardrail;
use duo_protocol::cache::CacheMarks;
use duo_protocol::failure::cleaned;
use duo_protocol::model::{ChatMessage, ModelAnswer, ModelEvent, ModelRequest, StopReason, UpstreamFailure};
use futures::stream;
use tokio::sync::OnceCell;

pub use client::{Account, Credentials, Role};

use super::stream::whole;
use super::way::Way;
use super::{Clients, ModelStream};

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
    http: reqwest::Client,
    client: OnceCell<Client>,
}

impl Bedrock {
    /// For an account, by a client that goes `way`; nothing is contacted yet.
    pub fn new(account: Account, way: Way, http: reqwest::Client) -> Self {
        Self { inner: Arc::new(Inner { account, way, http, client: OnceCell::new() }) }
    }

    /// Whether one for this account and way need not be made anew.
    pub fn is(&self, account: &Account, way: &Way) -> bool {
        self.inner.account == *account && self.inner.way == *way
    }

    async fn client(&self) -> Result<&Client, UpstreamFailure> {
        self.inner.client.get_or_try_init(|| client::connect(&self.inner.account, self.inner.http.clone())).await
    }

    async fn converse(&self, ask: &Ask<'_>, guardrail: Option<&Guardrail>) -> Result<ModelAnswer, UpstreamFailure> {
        let input = convert::request(ask.request, ask.marks)?;
        let output = self
            .client()
            .await?
            .converse()
            .model_id(ask.model)
            .set_messages(Some(input.messages))
            .set_system(input.system)
            .inference_config(input.inference)
            .set_guardrail_config(guardrail.map(convert::guardrail))
            .send()
            .await
            .map_err(|error| self.failed(failure::of_call(&error, &ask.request.messages)))?;
        // the SDK takes `{}`, and even an empty body, for an answer, and fills in what is missing
        let Some(said) = output.output().filter(|said| said.is_message()) else {
            return Err(failure::not_bedrocks());
        };
        Ok(ModelAnswer {
            text: convert::text(said),
            stop: StopReason::from_bedrock(output.stop_reason().as_str()),
            usage: output.usage().map(convert::usage),
        })
    }

    async fn converse_stream(
        &self,
        ask: &Ask<'_>,
        guardrail: Option<&Guardrail>,
    ) -> Result<ModelStream, UpstreamFailure> {
        let input = convert::request(ask.request, ask.marks)?;
        let output = self
            .client()
            .await?
            .converse_stream()
            .model_id(ask.model)
            .set_messages(Some(input.messages))
            .set_system(input.system)
            .inference_config(input.inference)
            .set_guardrail_config(guardrail.map(convert::stream_guardrail))
            .send()
            .await
            .map_err(|error| self.failed(failure::of_call(&error, &ask.request.messages)))?;
        let asked: Arc<[ChatMessage]> = ask.request.messages.clone().into();
        let state = (output.stream, asked, self.clone());
        Ok(Box::pin(stream::try_unfold(state, |(mut receiver, asked, caller)| async move {
            loop {
                match receiver.recv().await {
                    Ok(None) => return Ok(None),
                    Ok(Some(event)) => {
                        if let Some(event) = neutral(&event) {
                            return Ok(Some((event, (receiver, asked, caller))));
                        }
                    }
                    Err(error) => return Err(caller.failed(failure::of_stream(&error, &asked))),
                }
            }
        })))
    }

    /// Without the key, which servers in front of Bedrock repeat, and with the cure, where AWS' words leave people alone.
    fn failed(&self, failure: UpstreamFailure) -> UpstreamFailure {
        let account = &self.inner.account;
        let failure = cleaned(failure, account.credentials.sent(), &[]);
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
    guardrail: Option<Guardrail>,
    /// Until then whole answers only: streaming is denied, and policies change.
    whole_until: Mutex<Option<Instant>>,
}

/// So long a denied stream is not asked for again.
const DENIED: Duration = Duration::from_secs(600);

impl Door {
    pub fn new(caller: Bedrock, clients: &Clients) -> Self {
        Self { caller, guardrail: clients.common.guardrail.clone(), whole_until: Mutex::default() }
    }

    pub async fn complete(&self, ask: &Ask<'_>) -> Result<ModelAnswer, UpstreamFailure> {
        self.caller.converse(ask, self.guardrail.as_ref()).await
    }

    /// Least-privilege policies often allow `bedrock:InvokeModel` alone; such an account gets its answer in one piece.
    pub async fn stream(&self, ask: &Ask<'_>) -> Result<ModelStream, UpstreamFailure> {
        let denied = *self.whole_until.lock().unwrap_or_else(PoisonError::into_inner);
        if denied.is_none_or(|until| Instant::now() >= until) {
            match self.caller.converse_stream(ask, self.guardrail.as_ref()).await {
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

/// Events that carry nothing for us (starts and ends of blocks, reasoning, tools) are passed over.
fn neutral(event: &ConverseStreamOutput) -> Option<ModelEvent> {
    match event {
        ConverseStreamOutput::ContentBlockDelta(delta) => {
            let text = delta.delta()?.as_text().ok()?;
            (!text.is_empty()).then(|| ModelEvent::Text(text.clone()))
        }
        ConverseStreamOutput::MessageStop(stop) => {
            Some(ModelEvent::Stop(StopReason::from_bedrock(stop.stop_reason().as_str())))
        }
        ConverseStreamOutput::Metadata(metadata) => Some(ModelEvent::Usage(convert::usage(metadata.usage()?))),
        _ => None,
    }
}
