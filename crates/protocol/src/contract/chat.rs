//! `POST /v2/chat/agent`: the body of one ReAct turn and the lines of its answer.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::invalid::Invalid;
use super::metadata::{ModelMetadata, ModelSelection};
use super::read::Reader;
use super::tree::{Map, Value};
use crate::model::{Role, Usage};

/// One tool call that was made, and what it returned.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AgentStep {
    /// What the model thought.
    pub thought: String,
    /// The tool's name.
    pub tool: String,
    /// What it was given.
    pub tool_input: String,
    /// What it returned.
    pub observation: String,
}

/// What kind of page the user looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is GitLab's resource of that name")]
pub enum ResourceKind {
    Issue,
    Epic,
    MergeRequest,
    Commit,
    Build,
    WorkItem,
}

impl ResourceKind {
    /// In words: `merge request`.
    pub fn words(self) -> &'static str {
        match self {
            ResourceKind::Issue => "issue",
            ResourceKind::Epic => "epic",
            ResourceKind::MergeRequest => "merge request",
            ResourceKind::Commit => "commit",
            ResourceKind::Build => "build (CI job)",
            ResourceKind::WorkItem => "work item",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "issue" => ResourceKind::Issue,
            "epic" => ResourceKind::Epic,
            "merge_request" => ResourceKind::MergeRequest,
            "commit" => ResourceKind::Commit,
            "build" => ResourceKind::Build,
            "work_item" => ResourceKind::WorkItem,
            _ => return None,
        })
    }
}

/// The page the user looks at.
#[derive(Clone, PartialEq, Eq)]
pub struct PageContext {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its title (17.9 and later).
    pub title: Option<String>,
    /// Its text (before 17.9).
    pub content: Option<String>,
}

/// The file the user has open, or the part that is selected.
#[derive(Clone, PartialEq, Eq)]
pub struct CurrentFile {
    /// Path in the project.
    pub file_path: String,
    /// File or selection.
    pub data: String,
    /// Whether `data` is a selection.
    pub selected_code: bool,
}

/// Something the user attached.
#[derive(Clone, PartialEq, Eq)]
pub struct AdditionalContext {
    /// `file`, `snippet`, `merge_request`, …; its use needs unit primitive `include_<category>_context`.
    pub category: String,
    /// Its id or path.
    pub id: Option<String>,
    /// Its text.
    pub content: Option<String>,
}

const CATEGORIES: [&str; 11] = [
    "file",
    "snippet",
    "merge_request",
    "issue",
    "dependency",
    "local_git",
    "terminal",
    "repository",
    "directory",
    "os_information",
    "agent_user_environment",
];

/// One message of the conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentMessage {
    /// Who says it.
    pub role: Role,
    /// Null on the last assistant message while a tool loop runs (18.0 and later).
    pub content: Option<String>,
    /// The page the user looks at.
    pub context: Option<PageContext>,
    /// The open file.
    pub current_file: Option<CurrentFile>,
    /// What the user attached.
    pub additional_context: Vec<AdditionalContext>,
    /// Steps so far; `None` when the field is absent or null.
    pub agent_scratchpad: Option<Vec<AgentStep>>,
}

/// Body of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBody {
    /// The conversation, at least one message.
    pub messages: Vec<AgentMessage>,
    /// Steps in the 17.10 form (`options.agent_scratchpad.steps`); takes precedence when present.
    pub option_steps: Option<Vec<AgentStep>>,
    /// What GitLab cannot look up (`Pipelines`, `Vulnerabilities`).
    pub unavailable_resources: Vec<String>,
    /// The model.
    pub metadata: Option<ModelMetadata>,
}

impl AgentBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault; an empty `messages` is one (the official gateway answers 500).
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            match map.get("messages") {
                None | Some(Value::Null) => reader.fault("messages", "Field required", "missing"),
                Some(Value::Array(items)) if items.is_empty() => {
                    reader.fault("messages", "List should have at least 1 item", "too_short");
                }
                Some(_) => {}
            }
            let messages = reader.list(map, "messages", 1000, read_message);
            let option_steps = reader.object(map, "options", |reader, map| {
                reader.object(map, "agent_scratchpad", |reader, map| Some(reader.list(map, "steps", 100, read_step)))
            });
            let unavailable_resources = reader.texts(map, "unavailable_resources", 0..=100, 255).unwrap_or_default();
            let metadata = reader.object(map, "model_metadata", ModelMetadata::read);
            Some(AgentBody { messages, option_steps, unavailable_resources, metadata })
        })
    }

    /// Why the body is answered 400 (`{"detail": …}`) although it is valid.
    pub fn refusal(&self) -> Option<&'static str> {
        let misplaced = |m: &AgentMessage| m.role != Role::Assistant && m.agent_scratchpad.is_some();
        self.messages.iter().any(misplaced).then_some("agent_scratchpad can only be present when role is ASSISTANT")
    }

    /// The tool calls of the running turn, in either form.
    pub fn steps(&self) -> &[AgentStep] {
        if let Some(steps) = &self.option_steps {
            return steps;
        }
        match self.messages.last() {
            Some(AgentMessage { role: Role::Assistant, agent_scratchpad: Some(steps), .. }) => steps,
            _ => &[],
        }
    }

    /// Whether the user speaks to Duo by its name, `@GitLabDuo`, in the last message that is a user's.
    pub fn mentions_duo(&self) -> bool {
        let last = self.messages.iter().rev().find(|message| message.role == Role::User);
        last.and_then(|message| message.content.as_deref()).is_some_and(|content| content.contains("@GitLabDuo"))
    }

    /// The unit primitives that the attached contexts need, each once; a token without one of them gets
    /// 403 `Unauthorized to access <unit primitive>`.
    pub fn context_primitives(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for context in self.messages.iter().flat_map(|m| &m.additional_context) {
            let name = format!("include_{}_context", context.category);
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    /// The model to call.
    ///
    /// # Errors
    /// 422 list detail.
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        self.metadata.as_ref().ok_or_else(ModelMetadata::missing)?.select()
    }
}

/// No limit of the contract: the body's size bounds these.
const ANY: usize = usize::MAX;

fn read_message(reader: &mut Reader, map: &mut Map) -> Option<AgentMessage> {
    let role = match reader.required(map, "role", ANY)?.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => {
            reader.fault("role", "Input should be 'user', 'assistant' or 'system'", "enum");
            return None;
        }
    };
    let content = reader.text(map, "content", ANY);
    let context = reader.object(map, "context", |reader, map| {
        let Some(kind) = ResourceKind::parse(&reader.required(map, "type", ANY)?) else {
            reader.fault("type", "Input should be issue, epic, merge_request, commit, build or work_item", "enum");
            return None;
        };
        let title = reader.text(map, "title", ANY);
        Some(PageContext { kind, title, content: reader.text(map, "content", ANY) })
    });
    let current_file = reader.object(map, "current_file", |reader, map| {
        let file_path = reader.required(map, "file_path", ANY);
        let data = reader.required(map, "data", ANY);
        let selected_code = reader.flag(map, "selected_code");
        Some(CurrentFile { file_path: file_path?, data: data?, selected_code })
    });
    let additional_context = reader.list(map, "additional_context", 1000, |reader, map| {
        let category = reader.required(map, "category", ANY)?;
        if !CATEGORIES.contains(&category.as_str()) {
            reader.fault("category", format!("Input should be one of {}", CATEGORIES.join(", ")), "enum");
            return None;
        }
        let id = reader.text(map, "id", ANY);
        Some(AdditionalContext { category, id, content: reader.text(map, "content", ANY) })
    });
    let agent_scratchpad = match map.get("agent_scratchpad") {
        None | Some(Value::Null) => None,
        Some(_) => Some(reader.list(map, "agent_scratchpad", 100, |reader, map| {
            let observation = reader.text(map, "observation", ANY).unwrap_or_default();
            let mut step = reader.object(map, "action", read_step).unwrap_or_default();
            step.observation = observation;
            Some(step)
        })),
    };
    Some(AgentMessage { role, content, context, current_file, additional_context, agent_scratchpad })
}

fn read_step(reader: &mut Reader, map: &mut Map) -> Option<AgentStep> {
    Some(AgentStep {
        thought: reader.text(map, "thought", ANY).unwrap_or_default(),
        tool: reader.text(map, "tool", ANY).unwrap_or_default(),
        tool_input: reader.text(map, "tool_input", ANY).unwrap_or_default(),
        observation: reader.text(map, "observation", ANY).unwrap_or_default(),
    })
}

/// One line of the answer (`application/x-ndjson; charset=utf-8`).
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum AgentEvent {
    /// GitLab shall call a tool; at most one per turn.
    Action {
        /// Name of an offered tool.
        tool: String,
        /// Its input.
        tool_input: String,
        /// Why.
        thought: String,
    },
    /// A piece of the answer; GitLab joins them.
    FinalAnswerDelta {
        /// The piece.
        text: String,
        /// Set on the last piece only, whose text is empty.
        finish_reason: Option<String>,
    },
    /// The model kept to no format; GitLab shows the text as the answer.
    Unknown {
        /// All the model wrote.
        text: String,
    },
    /// The turn failed.
    Error {
        /// `tool not available` and `prompt is too long` inside it select special texts in GitLab.
        message: String,
        /// GitLab asks twice more when true.
        retryable: bool,
    },
    /// Token counts (19.x reads them, older GitLab logs and goes on).
    #[serde(rename = "usage")]
    TokenUsage(
        /// Built by [`AgentEvent::usage`].
        serde_json::Value,
    ),
}

impl AgentEvent {
    /// The `usage` line; `model` is the model's name as sent upstream.
    pub fn usage(model: &str, usage: Usage) -> Self {
        AgentEvent::TokenUsage(json!({ "usage": super::answers::usage_map(model, usage) }))
    }

    /// The error line for a tool that was not offered.
    pub fn tool_not_available() -> Self {
        AgentEvent::Error { message: "tool not available".into(), retryable: false }
    }

    /// The line, with its `\n` and none inside: GitLab splits at `}` followed by a line end.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|_| "{}".into());
        line.push('\n');
        line
    }
}

crate::opaque::opaque_debug!(PageContext, CurrentFile, AdditionalContext, AgentMessage, AgentStep);

/// Shows what a log may show: the kind, the tool, lengths.
impl fmt::Debug for AgentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentEvent::Action { tool, .. } => write!(f, "Action({tool})"),
            AgentEvent::FinalAnswerDelta { text, finish_reason } => {
                write!(f, "FinalAnswerDelta({} bytes, {finish_reason:?})", text.len())
            }
            AgentEvent::Unknown { text } => write!(f, "Unknown({} bytes)", text.len()),
            AgentEvent::Error { message, retryable } => write!(f, "Error({message:?}, retryable: {retryable})"),
            AgentEvent::TokenUsage(usage) => write!(f, "TokenUsage({usage})"),
        }
    }
}
