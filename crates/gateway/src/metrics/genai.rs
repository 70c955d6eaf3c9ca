//! Model calls under the names of the OpenTelemetry semantic conventions for generative AI (state: Development), as
//! Prometheus writes them: dots become `_`, the unit `s` becomes `_seconds`.
//!
//! `gen_ai_server_*` is what the gateway does for GitLab, retries and fallbacks included; `gen_ai_client_*` is each
//! single call of a model server.

use duo_protocol::identifier::Provider;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::Histogram;

use super::OTHER;
use super::series::{Labels, group};

/// The conventions' boundaries for durations.
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// The conventions' boundaries for the time to the first token.
const TO_FIRST: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The conventions' boundaries for the time per token.
const PER_TOKEN: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// The conventions' boundaries for tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// `gen_ai.provider.name` of a kind of model server.
pub fn provider_name(provider: &Provider) -> &'static str {
    match provider.as_str() {
        "bedrock" => "aws.bedrock",
        "azure" => "azure.ai.openai",
        "vertex_ai" => "gcp.vertex_ai",
        "bedrock_mantle" => "aws.bedrock",
        "anthropic" => "anthropic",
        // what speaks OpenAI's protocol is called so by the conventions, whoever made it
        _ => "openai",
    }
}

/// `gen_ai.operation.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A conversation.
    Chat,
    /// A text that goes on, without a conversation around it.
    TextCompletion,
    /// Vectors of texts.
    Embeddings,
}

impl Operation {
    /// As the conventions name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }
}

/// Who was asked for what.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AskedLabels {
    /// `aws.bedrock`, `openai`, `azure.ai.openai`, `anthropic`, `gcp.vertex_ai`.
    pub gen_ai_provider_name: &'static str,
    /// `chat`, `text_completion`, `embeddings`.
    pub gen_ai_operation_name: &'static str,
    /// The model asked for, as its server knows it.
    pub gen_ai_request_model: &'static str,
    /// The model that answered: another one after a fallback.
    pub gen_ai_response_model: &'static str,
}

impl AskedLabels {
    /// Nothing told apart, unless that is the case already.
    fn coarser(self) -> Option<Self> {
        (self.gen_ai_request_model != OTHER).then_some(Self {
            gen_ai_provider_name: OTHER,
            gen_ai_operation_name: OTHER,
            gen_ai_request_model: OTHER,
            gen_ai_response_model: OTHER,
        })
    }
}

/// Labels of a model call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct GenAiLabels {
    /// Of whom.
    #[prometheus(flatten)]
    pub asked: AskedLabels,
    /// Empty for none: an HTTP status, `timeout`, `unavailable`, `protocol`, `stream_broken`, `cancelled`, `refused`.
    pub error_type: &'static str,
}

impl Labels for GenAiLabels {
    fn coarser(&self) -> Option<Self> {
        self.asked.coarser().map(|asked| Self { asked, error_type: self.error_type })
    }
}

group! {
    /// What GitLab sees.
    ServerGroup {
        request: Histogram = Histogram::new(SECONDS),
            Histogram("gen_ai_server_request_duration_seconds",
                "Time from a feature's request for a model to the last byte of the answer in seconds");
    }
}

group! {
    /// Streams, as GitLab sees them. A whole answer has no first token of its own and is counted with its end.
    FirstTokenGroup {
        first: Histogram = Histogram::new(TO_FIRST),
            Histogram("gen_ai_server_time_to_first_token_seconds", "Time to the first piece of an answer in seconds");
    }
}

group! {
    /// Streams whose model says how many tokens it wrote.
    PerTokenGroup {
        per_token: Histogram = Histogram::new(PER_TOKEN),
            Histogram("gen_ai_server_time_per_output_token_seconds",
                "Time per token after the first one in seconds");
    }
}

group! {
    /// One call of one model server.
    ClientGroup {
        duration: Histogram = Histogram::new(SECONDS),
            Histogram("gen_ai_client_operation_duration_seconds", "Time of single calls of model servers in seconds");
    }
}

group! {
    /// The first piece of a model server's stream.
    FirstChunkGroup {
        first: Histogram = Histogram::new(TO_FIRST),
            Histogram("gen_ai_client_operation_time_to_first_chunk_seconds",
                "Time to the first piece of a model server's stream in seconds");
    }
}

group! {
    /// The further pieces of a model server's stream.
    ChunkGroup {
        between: Histogram = Histogram::new(PER_TOKEN),
            Histogram("gen_ai_client_operation_time_per_output_chunk_seconds",
                "Time between the pieces of a model server's stream in seconds");
    }
}

/// Labels of token counts.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TokenLabels {
    /// Of whom.
    #[prometheus(flatten)]
    pub asked: AskedLabels,
    /// `input` or `output`.
    pub gen_ai_token_type: &'static str,
}

impl Labels for TokenLabels {
    fn coarser(&self) -> Option<Self> {
        self.asked.coarser().map(|asked| Self { asked, gen_ai_token_type: self.gen_ai_token_type })
    }
}

group! {
    /// Tokens per call.
    TokenGroup {
        tokens: Histogram = Histogram::new(TOKENS),
            Histogram("gen_ai_client_token_usage", "Tokens read and written per call of a model server");
    }
}
