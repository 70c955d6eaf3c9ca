//! Bodies of the code suggestion endpoints.
//!
//! `POST /v2/code/completions`, `/v2/completions` and `/v2/code/generations` take a [`CompletionBody`];
//! `POST /v3/code/completions` and `/v4/code/suggestions` take a [`ComponentBody`].

use super::invalid::{Invalid, Loc};
use super::metadata::{ModelMetadata, ModelSelection};
use super::read::Reader;
use super::tree::{Map, Value};
use crate::model::{ChatMessage, Role};

/// Limit of the code above and of the code below the cursor, in characters each.
const CODE_LIMIT: usize = 100_000;

/// The file the cursor is in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CurrentCode {
    /// Trimmed, at most 255 characters.
    pub file_name: String,
    /// What the editor calls the language (`Ruby`, `ruby`), at most 255 characters.
    pub language_identifier: Option<String>,
    /// Code before the cursor, at most 100,000 characters.
    pub content_above_cursor: String,
    /// Code behind the cursor, at most 100,000 characters.
    pub content_below_cursor: String,
}

impl CurrentCode {
    fn read(reader: &mut Reader, map: &mut Map) -> Option<Self> {
        let file_name = reader.required(map, "file_name", 255);
        let above = reader.required(map, "content_above_cursor", CODE_LIMIT);
        let below = reader.required(map, "content_below_cursor", CODE_LIMIT);
        let language_identifier = reader.text(map, "language_identifier", 255);
        Some(CurrentCode {
            file_name: file_name?.trim().to_owned(),
            language_identifier,
            content_above_cursor: above?,
            content_below_cursor: below?,
        })
    }
}

/// A prompt the client wrote itself.
#[derive(Clone, PartialEq, Eq)]
pub enum CodePrompt {
    /// `prompt_version` 2.
    Text(String),
    /// `prompt_version` 3.
    Messages(Vec<ChatMessage>),
}

impl CodePrompt {
    fn read(reader: &mut Reader, map: &mut Map, max: usize) -> Option<Self> {
        if matches!(map.get("prompt"), Some(Value::Array(_))) {
            let messages = read_messages(reader, map, "prompt", max);
            return Some(CodePrompt::Messages(messages)).filter(|p| *p != CodePrompt::Messages(Vec::new()));
        }
        reader.text(map, "prompt", max).map(CodePrompt::Text)
    }
}

/// A conversation of at most 100 messages of at most `max` characters each.
pub(super) fn read_messages(reader: &mut Reader, map: &mut Map, key: &str, max: usize) -> Vec<ChatMessage> {
    reader.list(map, key, 100, |reader, map| {
        let role = reader.required(map, "role", 32);
        let content = reader.required(map, "content", max);
        let role = match role?.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => {
                reader.fault("role", "Input should be 'system', 'user' or 'assistant'", "enum");
                return None;
            }
        };
        Some(ChatMessage { role, content: content? })
    })
}

/// A piece of other code that goes in front of the prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeContext {
    /// `file`, `snippet` or other, at most 1,024 characters.
    pub kind: String,
    /// Its name, at most 1,024 characters.
    pub name: String,
    /// At most 500,000 characters (v2) or 100,000 (v3, v4).
    pub content: String,
}

impl CodeContext {
    fn read(reader: &mut Reader, map: &mut Map, max: usize) -> Option<Self> {
        let kind = reader.required(map, "type", 1024);
        let name = reader.required(map, "name", 1024);
        let content = reader.required(map, "content", max);
        Some(CodeContext { kind: kind?, name: name?, content: content? })
    }
}

/// Body of the v2 code endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionBody {
    /// 1, 2 or 3; absent is 1, as before 19.x (which refuses it).
    pub prompt_version: u8,
    /// Where the cursor is.
    pub current_file: CurrentCode,
    /// A prompt of the client's own (versions 2 and 3).
    pub prompt: Option<CodePrompt>,
    /// For generations: `code_suggestions/generations`.
    pub prompt_id: Option<String>,
    /// The answer is wanted as raw text pieces.
    pub stream: bool,
    /// At most 100 pieces of other code.
    pub context: Vec<CodeContext>,
    /// The model: `model_metadata` when present, else the five `model_*` fields.
    pub metadata: ModelMetadata,
    from_fields: bool,
}

impl CompletionBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            let prompt_version = match map.get("prompt_version") {
                None | Some(Value::Null) => 1,
                Some(value) => match value.as_number().and_then(serde_json::Number::as_u64) {
                    Some(version @ 1..=3) => u8::try_from(version).unwrap_or(1),
                    _ => {
                        reader.fault("prompt_version", "Input should be 1, 2 or 3", "literal_error");
                        1
                    }
                },
            };
            if matches!(map.get("current_file"), None | Some(Value::Null)) {
                reader.fault("current_file", "Field required", "missing");
            }
            let current_file = reader.object(map, "current_file", CurrentCode::read);
            let prompt = if prompt_version > 1 { CodePrompt::read(reader, map, 400_000) } else { None };
            let from_fields = matches!(map.get("model_metadata"), None | Some(Value::Null));
            let metadata = if from_fields {
                Self::model_fields(reader, map)
            } else {
                reader.object(map, "model_metadata", ModelMetadata::read)
            };
            let prompt_id = reader.text(map, "prompt_id", 255);
            let stream = reader.flag(map, "stream");
            // read for their limits only: older clients send them, nothing here uses them
            reader.text(map, "project_path", 255);
            reader.list(map, "telemetry", 10, |_, _| Some(()));
            let context = reader.list(map, "context", 100, |reader, map| CodeContext::read(reader, map, 500_000));
            Some(CompletionBody {
                prompt_version,
                current_file: current_file?,
                prompt,
                prompt_id,
                stream,
                context,
                metadata: metadata?,
                from_fields,
            })
        })
    }

    fn model_fields(reader: &mut Reader, map: &mut Map) -> Option<ModelMetadata> {
        let provider = reader.text(map, "model_provider", 255);
        if let Some(name) = provider.as_deref() {
            let known = ["anthropic", "vertex-ai", "litellm", "codestral", "fireworks_ai", "amazon_q", "gitlab"];
            if !known.contains(&name) {
                reader.fault("model_provider", format!("Input should be one of {}", known.join(", ")), "enum");
            }
        }
        Some(ModelMetadata {
            provider,
            name: reader.text(map, "model_name", 50),
            endpoint: reader.text(map, "model_endpoint", 255),
            api_key: reader
                .text(map, "model_api_key", 2000)
                .filter(|key| !key.trim().is_empty())
                .map(super::metadata::ApiKey::new),
            identifier: reader.text(map, "model_identifier", 1000),
        })
    }

    /// The model to call; see [`ModelMetadata::select`].
    ///
    /// # Errors
    /// 422 list detail, its places named as this body names the fields (`model_name`, `model_identifier`, …).
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        self.metadata.select().map_err(|mut invalid| {
            if self.from_fields {
                for item in &mut invalid.0 {
                    if let [_, _, Loc::Key(field)] = item.loc.as_slice() {
                        item.loc = vec![Loc::Key("body".into()), Loc::Key(format!("model_{field}"))];
                    }
                }
            }
            invalid
        })
    }

    /// For `/v2/code/generations`: versions 2 and 3 must bring a prompt.
    ///
    /// # Errors
    /// 422 list detail.
    pub fn require_prompt(&self) -> Result<(), Invalid> {
        if self.prompt_version > 1 && self.prompt.is_none() {
            return Err(Invalid::one(&["body", "prompt"], "Field required", "missing"));
        }
        Ok(())
    }
}

/// What Rails gathers for a generation; every field may be absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PromptEnhancer {
    /// Pairs of an example and the answer to it.
    pub examples: Vec<(String, String)>,
    /// Code above the cursor, cut by Rails.
    pub trimmed_content_above_cursor: Option<String>,
    /// Code below the cursor, cut by Rails.
    pub trimmed_content_below_cursor: Option<String>,
    /// Other files, each wrapped in `<file_content file_name=…>` by Rails.
    pub related_files: Vec<String>,
    /// Other snippets, each wrapped in `<snippet_content name=…>` by Rails.
    pub related_snippets: Vec<String>,
    /// Names of libraries in use.
    pub libraries: Vec<String>,
    /// What the user asks for, usually the comment above the cursor.
    pub user_instruction: Option<String>,
}

impl PromptEnhancer {
    fn read(_: &mut Reader, map: &mut Map) -> Option<Self> {
        let examples = match map.get_mut("examples_array").map(Value::take) {
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(|item| {
                    Some((item.get("example")?.as_str()?.into(), item.get("response")?.as_str()?.into()))
                })
                .collect(),
            _ => Vec::new(),
        };
        Some(PromptEnhancer {
            examples,
            trimmed_content_above_cursor: Reader::string(map, "trimmed_content_above_cursor"),
            trimmed_content_below_cursor: Reader::string(map, "trimmed_content_below_cursor"),
            related_files: Reader::strings(map, "related_files"),
            related_snippets: Reader::strings(map, "related_snippets"),
            libraries: Reader::strings(map, "libraries"),
            user_instruction: Reader::string(map, "user_instruction"),
        })
    }
}

/// The fields both kinds of component share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditorPayload {
    /// Where the cursor is.
    pub current_file: CurrentCode,
    /// v3: raw text pieces; v4: SSE.
    pub stream: bool,
}

/// Payload of `code_editor_generation`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GenerationPayload {
    /// The shared fields.
    pub editor: EditorPayload,
    /// A prompt of the client's own, at most 400,000 characters.
    pub prompt: Option<String>,
    /// `code_suggestions/generations` from current GitLab.
    pub prompt_id: Option<String>,
    /// Version constraint, `^1.0.0`.
    pub prompt_version: Option<String>,
    /// What Rails gathered.
    pub enhancer: PromptEnhancer,
}

/// The first component, which decides what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// `code_editor_completion`: needs `complete_code`.
    Completion {
        /// The shared fields.
        editor: EditorPayload,
        /// A prompt of the client's own.
        prompt: Option<CodePrompt>,
    },
    /// `code_editor_generation`: needs `generate_code`.
    Generation(Box<GenerationPayload>),
}

impl Component {
    /// Whether a stream is wanted.
    pub fn stream(&self) -> bool {
        match self {
            Component::Completion { editor, .. } => editor.stream,
            Component::Generation(payload) => payload.editor.stream,
        }
    }

    /// Where the cursor is.
    pub fn current_file(&self) -> &CurrentCode {
        match self {
            Component::Completion { editor, .. } => &editor.current_file,
            Component::Generation(payload) => &payload.editor.current_file,
        }
    }
}

/// Body of the v3 and v4 code endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentBody {
    /// The first component.
    pub component: Component,
    /// The `code_context` components behind it.
    pub context: Vec<CodeContext>,
    /// The model.
    pub metadata: Option<ModelMetadata>,
}

enum Part {
    Main(Component),
    Context(CodeContext),
}

impl ComponentBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            if !matches!(map.get("prompt_components"), Some(Value::Array(items)) if items.is_empty()) {
                if matches!(map.get("prompt_components"), None | Some(Value::Null)) {
                    reader.fault("prompt_components", "Field required", "missing");
                }
            } else {
                reader.fault("prompt_components", "List should have at least 1 item", "too_short");
            }
            let first = map.get("prompt_components").and_then(|items| items.as_array()?.first()?.get("type")?.as_str());
            let context_first = first == Some("code_context");
            let parts = reader.list(map, "prompt_components", 100, read_part);
            let metadata = reader.object(map, "model_metadata", ModelMetadata::read);
            let mut parts = parts.into_iter();
            let component = match parts.next() {
                Some(Part::Main(component)) => Some(component),
                Some(Part::Context(_)) if context_first => {
                    reader.fault(
                        "prompt_components",
                        "The first component must be a completion or generation",
                        "value_error",
                    );
                    None
                }
                // the first one's own faults are told already
                _ => None,
            };
            let context = parts.filter_map(|part| if let Part::Context(c) = part { Some(c) } else { None }).collect();
            Some(ComponentBody { component: component?, context, metadata })
        })
    }

    /// The model to call.
    ///
    /// # Errors
    /// 422 list detail.
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        self.metadata.as_ref().ok_or_else(ModelMetadata::missing)?.select()
    }
}

fn read_part(reader: &mut Reader, map: &mut Map) -> Option<Part> {
    reader.object(map, "metadata", |reader, map| {
        reader.text(map, "source", 255);
        reader.text(map, "version", 255);
        Some(())
    });
    let kind = reader.required(map, "type", 255)?;
    if matches!(map.get("payload"), None | Some(Value::Null)) {
        reader.fault("payload", "Field required", "missing");
        return None;
    }
    match kind.as_str() {
        "code_editor_completion" => reader.object(map, "payload", |reader, map| {
            let editor = read_editor(reader, map);
            let prompt = CodePrompt::read(reader, map, 400_000);
            Some(Part::Main(Component::Completion { editor: editor?, prompt }))
        }),
        "code_editor_generation" => reader.object(map, "payload", |reader, map| {
            let editor = read_editor(reader, map);
            let prompt = reader.text(map, "prompt", 400_000);
            let prompt_id = reader.text(map, "prompt_id", 255);
            let prompt_version = reader.text(map, "prompt_version", 255);
            let enhancer = reader.object(map, "prompt_enhancer", PromptEnhancer::read).unwrap_or_default();
            let editor = editor?;
            let payload = GenerationPayload { editor, prompt, prompt_id, prompt_version, enhancer };
            Some(Part::Main(Component::Generation(Box::new(payload))))
        }),
        "code_context" => {
            reader.object(map, "payload", |reader, map| CodeContext::read(reader, map, CODE_LIMIT)).map(Part::Context)
        }
        _ => {
            let msg = "Input should be 'code_editor_completion', 'code_editor_generation' or 'code_context'";
            reader.fault("type", msg, "union_tag_invalid");
            None
        }
    }
}

fn read_editor(reader: &mut Reader, map: &mut Map) -> Option<EditorPayload> {
    let current_file = CurrentCode::read(reader, map);
    let stream = reader.flag(map, "stream");
    Some(EditorPayload { current_file: current_file?, stream })
}

crate::opaque::opaque_debug!(CurrentCode, CodePrompt, CodeContext, PromptEnhancer, GenerationPayload);
