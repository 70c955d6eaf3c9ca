//! Users who ask Duo something: GitLab picks the feature's model, calls the gateway exactly as Rails does, and shows
//! what a user of GitLab would see.
//!
//! Built from what GitLab sends on the wire; knows nothing of the gateway of this repository.

pub mod breaker;
pub mod chat;
pub mod client;
pub mod code;
pub mod metadata;
pub mod prompts;
pub mod selection;
pub mod sse;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::client::CallReport;
use super::rights;
use super::sim::Sim;
use super::state::DEVELOPER;

/// Pauses and limits of GitLab's calls to the gateway; the defaults are GitLab's.
#[derive(Clone, Debug)]
pub struct Pace {
    /// First pause before a 429 is tried again; doubles each time.
    pub retry_base: Duration,
    /// How often a 429 of a call that is not streamed is tried again.
    pub retries: u32,
    /// Calls within [`Pace::breaker_window`] before the breaker judges; half of them failed opens it.
    pub breaker_volume: usize,
    /// Window of the breaker; it also stays open that long.
    pub breaker_window: Duration,
    /// How long GitLab waits for its own cloud when a firewall swallows the call.
    pub cloud_timeout: Duration,
    /// Instead of the configured timeout (60 s and more), so that a test need not wait.
    pub timeout: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry_base: Duration::from_secs(1),
            retries: 3,
            breaker_volume: 8,
            breaker_window: Duration::from_secs(60),
            cloud_timeout: Duration::from_secs(5),
            timeout: None,
        }
    }
}

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A question to Duo Chat.
    Chat,
    /// A completion while typing.
    CodeCompletion,
    /// A completion by direct connection: the editor calls the gateway itself, with a token the gateway minted.
    DirectCompletion,
    /// Code from a comment.
    CodeGeneration,
    /// `/explain` in Duo Chat.
    ExplainCode,
    /// A merge commit message (not streamed: retried on 429, behind the circuit breaker).
    CommitMessage,
}

impl What {
    /// The feature whose model serves it.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Chat => "duo_chat",
            Self::CodeCompletion | Self::DirectCompletion => "code_completions",
            Self::CodeGeneration => "code_generations",
            Self::ExplainCode => "duo_chat_explain_code",
            Self::CommitMessage => "generate_commit_message",
        }
    }
}

/// The user's words and what the editor knows. Every field has a default that gives a sensible question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// Login of the user; the default has a Duo seat.
    pub user: String,
    /// Question to the chat.
    pub question: String,
    /// Earlier turns of the conversation: `{"role": "user"|"assistant", "content"}`.
    pub conversation: Vec<serde_json::Value>,
    /// The page the user looks at, as GitLab sends it (`{"type": "issue", "title": …}`).
    pub context: Option<serde_json::Value>,
    /// Further context items, as GitLab sends them.
    pub additional_context: Option<serde_json::Value>,
    /// File in the editor.
    pub file_name: String,
    /// Text before the cursor.
    pub above: String,
    /// Text behind the cursor.
    pub below: String,
    /// Code marked by the user, for `/explain`.
    pub selected_text: String,
    /// Instruction for code generation.
    pub instruction: String,
    /// Code generation: the editor takes SSE, so `/v4/code/suggestions` is called, else `/v3/code/completions`.
    pub sse: bool,
    /// Code completion: the editor asks for a stream.
    pub stream: bool,
    /// Diff for a commit message.
    pub diff: String,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            user: DEVELOPER.to_owned(),
            question: "What is a merge request?".to_owned(),
            conversation: Vec::new(),
            context: None,
            additional_context: None,
            file_name: "hello.rb".to_owned(),
            above: "def hello_world\n".to_owned(),
            below: "\nend\n".to_owned(),
            selected_text: "puts 'hello'".to_owned(),
            instruction: "Print a greeting".to_owned(),
            sse: true,
            stream: false,
            diff: "+puts 'hello'".to_owned(),
        }
    }
}

/// What the user sees, and what happened for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The user got an answer.
    pub ok: bool,
    /// The answer, empty without one. A broken stream leaves what had arrived.
    pub text: String,
    /// GitLab's code for the failure, e.g. `A1000`, where it has one.
    pub error_code: Option<String>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Name of the model that GitLab picked.
    pub model: Option<String>,
    /// Every call to the gateway.
    pub calls: Vec<CallReport>,
    /// Tools the chat ran: name, input, observation.
    pub tools: Vec<(String, String, String)>,
}

impl Outcome {
    fn fail(&mut self, code: Option<&str>, error: impl Into<String>) {
        self.ok = false;
        self.error_code = code.map(str::to_owned);
        self.error = Some(error.into());
    }

    fn answer(&mut self, text: String) {
        self.ok = true;
        self.text = text;
    }
}

/// A user asks.
pub async fn ask(sim: &Arc<Sim>, what: What, ask: &Ask) -> Outcome {
    let picked = sim.read(|state| {
        let Some(user) = state.user(&ask.user) else {
            return Err((None, format!("there is no user {}", ask.user)));
        };
        if !rights::may_use_code_suggestions(state, user) {
            return Err((Some("M3004"), "the user has no access to GitLab Duo: no licence or no seat".to_owned()));
        }
        let model = selection::model_for(state, what.feature()).map_err(|reason| (None, reason))?;
        let Some(url) = state.settings.ai_gateway_url.clone() else {
            return Err((Some("A1001"), "the local AI gateway URL is not set".to_owned()));
        };
        let seconds =
            if state.instance.version.at_least(18, 7) { state.settings.ai_gateway_timeout_seconds } else { 60 };
        let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(60));
        Ok(Picked { url, user: user.clone(), model, timeout: sim.pace.timeout.unwrap_or(timeout) })
    });
    let picked = match picked {
        Ok(picked) => picked,
        Err((code, error)) => {
            let code = code.map(str::to_owned);
            return Outcome { error_code: code, error: Some(error), ..Outcome::default() };
        }
    };
    let mut outcome = Outcome { model: Some(picked.model.name.clone()), ..Outcome::default() };
    match what {
        What::Chat => chat::run(sim, &picked, ask, &mut outcome).await,
        What::CodeCompletion => code::completion(sim, &picked, ask, &mut outcome).await,
        What::DirectCompletion => code::direct_completion(sim, &picked, ask, &mut outcome).await,
        What::CodeGeneration => code::generation(sim, &picked, ask, &mut outcome).await,
        What::ExplainCode => prompts::explain_code(sim, &picked, ask, &mut outcome).await,
        What::CommitMessage => prompts::commit_message(sim, &picked, ask, &mut outcome).await,
    }
    outcome
}

/// What GitLab settled before it calls the gateway.
pub struct Picked {
    /// Base URL of the gateway.
    pub url: String,
    /// Who asks.
    pub user: super::state::User,
    /// The model.
    pub model: super::state::Model,
    /// How long GitLab waits for the next byte.
    pub timeout: Duration,
}
