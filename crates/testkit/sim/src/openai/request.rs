//! Reads and checks a request's body. Unknown parameters are refused, more strictly than vLLM, so that a misspelt
//! one cannot pass unseen. It must not know HTTP.

use serde_json::{Map, Value};

use super::{config::Config, error::Refusal};
use crate::answers::{Limits, Question, Role};

/// A request that may be answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// The conversation.
    pub question: Question,
    /// Limits of the answer.
    pub limits: Limits,
    /// Whether it is streamed.
    pub stream: bool,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Whole,
    Real,
    Object,
    List,
    Texts,
    Any,
}

type Fields = &'static [(&'static str, Kind)];

/// What both operations and both servers take.
const COMMON: Fields = &[
    ("model", Kind::Text),
    ("max_tokens", Kind::Whole),
    ("temperature", Kind::Real),
    ("top_p", Kind::Real),
    ("n", Kind::Whole),
    ("stream", Kind::Flag),
    ("stream_options", Kind::Object),
    ("stop", Kind::Texts),
    ("presence_penalty", Kind::Real),
    ("frequency_penalty", Kind::Real),
    ("logit_bias", Kind::Object),
    ("seed", Kind::Whole),
    ("user", Kind::Text),
];
const CHAT: Fields = &[
    ("messages", Kind::List),
    ("max_completion_tokens", Kind::Whole),
    ("logprobs", Kind::Flag),
    ("top_logprobs", Kind::Whole),
    ("response_format", Kind::Object),
    ("tools", Kind::List),
    ("tool_choice", Kind::Any),
    ("parallel_tool_calls", Kind::Flag),
    ("reasoning_effort", Kind::Text),
];
const TEXT: Fields = &[
    ("prompt", Kind::Texts),
    ("suffix", Kind::Text),
    ("echo", Kind::Flag),
    ("best_of", Kind::Whole),
    ("logprobs", Kind::Whole),
];
/// vLLM's own parameters.
const VLLM: Fields = &[
    ("top_k", Kind::Whole),
    ("min_p", Kind::Real),
    ("min_tokens", Kind::Whole),
    ("repetition_penalty", Kind::Real),
    ("length_penalty", Kind::Real),
    ("stop_token_ids", Kind::List),
    ("include_stop_str_in_output", Kind::Flag),
    ("ignore_eos", Kind::Flag),
    ("skip_special_tokens", Kind::Flag),
    ("spaces_between_special_tokens", Kind::Flag),
    ("add_special_tokens", Kind::Flag),
    ("add_generation_prompt", Kind::Flag),
    ("continue_final_message", Kind::Flag),
    ("chat_template", Kind::Text),
    ("chat_template_kwargs", Kind::Object),
    ("truncate_prompt_tokens", Kind::Whole),
    ("priority", Kind::Whole),
    ("request_id", Kind::Text),
];

/// Reads a body of `chat/completions`; `deployment` is the one in Azure's older path.
pub fn chat(body: &Value, deployment: Option<&str>, config: &Config) -> Result<Request, Refusal> {
    let body = checked(body, CHAT, config)?;
    let model = served_model(body, deployment, config)?;
    check_reasoning_model(body, &model, config)?;
    let (system, turns) = read_messages(body, &model, config)?;
    check_continuation(body, &turns, config)?;
    let continues = body.get("continue_final_message") == Some(&Value::Bool(true));
    let question = Question { model, system, turns, continues };
    let max_tokens = whole(body, "max_completion_tokens").or_else(|| whole(body, "max_tokens"));
    finish(body, question, max_tokens, config)
}

/// Reads a body of `completions`.
pub fn text(body: &Value, deployment: Option<&str>, config: &Config) -> Result<Request, Refusal> {
    let body = checked(body, TEXT, config)?;
    let model = served_model(body, deployment, config)?;
    let prompt = match body.get("prompt") {
        Some(Value::String(prompt)) => prompt.clone(),
        Some(Value::Array(prompts)) if prompts.len() == 1 => prompts[0].as_str().unwrap_or_default().to_owned(),
        Some(Value::Array(_)) => return Err(bad(config, "prompt", "the simulator answers one prompt a request")),
        _ => return Err(missing(config, "prompt")),
    };
    let question = Question { model, system: String::new(), turns: vec![(Role::User, prompt)], continues: false };
    // OpenAI's default, which cuts the answers of callers that forget it
    let max_tokens = whole(body, "max_tokens").or(Some(16));
    finish(body, question, max_tokens, config)
}

fn finish(
    body: &Map<String, Value>,
    question: Question,
    max_tokens: Option<usize>,
    config: &Config,
) -> Result<Request, Refusal> {
    let (window, prompt) = (config.max_model_len, question.tokens());
    let asked = max_tokens.unwrap_or(1);
    if prompt.saturating_add(asked) > window {
        return Err(Refusal::bad_request(
            config.azure,
            "context_length_exceeded",
            Some("messages"),
            format!(
                "This model's maximum context length is {window} tokens. However, you requested {} tokens ({prompt} in \
                 the messages, {asked} in the completion). Please reduce the length of the messages or completion.",
                prompt.saturating_add(asked)
            ),
        ));
    }
    let stop = match body.get("stop") {
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops.iter().filter_map(|stop| stop.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    if config.azure && stop.len() > 4 {
        return Err(bad(config, "stop", "Invalid 'stop': array too long. Expected an array with maximum length 4."));
    }
    let stream = body.get("stream") == Some(&Value::Bool(true));
    let options = body.get("stream_options").filter(|options| !options.is_null());
    if options.is_some() && !stream {
        return Err(bad(config, "stream_options", "Stream options can only be defined when `stream=True`."));
    }
    let include_usage = options.is_some_and(|options| options["include_usage"] == true);
    let max_tokens = max_tokens.or(Some(window - prompt));
    Ok(Request { question, limits: Limits { max_tokens, stop }, stream, include_usage })
}

fn checked<'a>(body: &'a Value, own: Fields, config: &Config) -> Result<&'a Map<String, Value>, Refusal> {
    let Value::Object(members) = body else { return Err(bad(config, "body", "the body must be a JSON object")) };
    let extra = if config.azure { &[][..] } else { VLLM };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let Some((_, kind)) = COMMON.iter().chain(own).chain(extra).find(|(known, _)| known == name) else {
            return Err(bad(config, name, &format!("Unrecognized request argument supplied: {name}")));
        };
        if !kind.fits(value) {
            return Err(bad(config, name, &format!("Invalid type for '{name}'.")));
        }
    }
    let range = |name: &str, low: f64, high: f64| match members.get(name).and_then(Value::as_f64) {
        Some(value) if !(low..=high).contains(&value) => {
            Err(bad(config, name, &format!("{name} must be in [{low}, {high}], got {value}.")))
        }
        _ => Ok(()),
    };
    range("temperature", 0.0, 2.0)?;
    range("top_p", 0.0, 1.0)?;
    range("n", 1.0, 1.0)?;
    range("max_tokens", 1.0, f64::MAX)?;
    range("max_completion_tokens", 1.0, f64::MAX)?;
    Ok(members)
}

fn served_model(body: &Map<String, Value>, deployment: Option<&str>, config: &Config) -> Result<String, Refusal> {
    let named = body.get("model").and_then(Value::as_str);
    let served = |name: &str| config.served_model_names.iter().any(|served| served == name);
    match (deployment, named) {
        // the path decides there, whatever the body says
        (Some(deployment), _) if served(deployment) => Ok(deployment.to_owned()),
        (None, Some(name)) if served(name) => Ok(name.to_owned()),
        (None, None) => Err(missing(config, "model")),
        _ if config.azure => Err(Refusal::azure(
            404,
            "DeploymentNotFound",
            None,
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 \
             minutes, please wait a moment and try again.",
        )),
        _ => {
            let message = format!("The model `{}` does not exist.", named.unwrap_or_default());
            Err(Refusal::vllm(404, "NotFoundError", Some("model"), message))
        }
    }
}

/// GPT-5 and the o-series take `max_completion_tokens` only, no stop sequences and no temperature but 1.
fn check_reasoning_model(body: &Map<String, Value>, model: &str, config: &Config) -> Result<(), Refusal> {
    if !["gpt-5", "o1", "o3", "o4"].iter().any(|prefix| model.starts_with(prefix)) {
        return Ok(());
    }
    let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    let refuse =
        |code: &str, param: &str, message: &str| Err(Refusal::bad_request(config.azure, code, Some(param), message));
    if given("max_tokens") {
        return refuse(
            "unsupported_parameter",
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        );
    }
    if given("stop") {
        return refuse(
            "unsupported_parameter",
            "stop",
            "Unsupported parameter: 'stop' is not supported with this model.",
        );
    }
    if body.get("temperature").and_then(Value::as_f64).is_some_and(|temperature| temperature != 1.0) {
        return refuse(
            "unsupported_value",
            "temperature",
            "Unsupported value: 'temperature' does not support the given value with this model. Only the default (1) \
             value is supported.",
        );
    }
    Ok(())
}

type Conversation = (String, Vec<(Role, String)>);

/// Reads the messages; models of the Mistral and Gemma families have chat templates with rules of their own.
fn read_messages(body: &Map<String, Value>, model: &str, config: &Config) -> Result<Conversation, Refusal> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(bad(config, "messages", "messages must not be empty")),
        _ => return Err(missing(config, "messages")),
    };
    let name = model.to_lowercase();
    let strict = ["mistral", "mixtral", "codestral", "gemma"].iter().any(|family| name.contains(family));
    let (mut system, mut turns): (Vec<String>, Vec<(Role, String)>) = (Vec::new(), Vec::new());
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        if !message.as_object().is_some_and(|message| message.keys().all(|key| MESSAGE.contains(&key.as_str()))) {
            return Err(bad(config, &at, &format!("{at} holds a member that no message has")));
        }
        let text = content(&message["content"]).ok_or_else(|| bad(config, &at, &format!("{at}.content is no text")))?;
        let role = match message["role"].as_str() {
            Some("system" | "developer") if name.contains("gemma") => {
                return Err(bad(config, "messages", "System role not supported"));
            }
            Some("system" | "developer") => {
                if strict && !turns.is_empty() {
                    return Err(bad(config, "messages", ALTERNATE));
                }
                system.push(text);
                continue;
            }
            Some("user" | "tool") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => return Err(bad(config, &at, &format!("{at}.role is not a role"))),
        };
        let expected = if turns.len() % 2 == 0 { Role::User } else { Role::Assistant };
        if strict && role != expected {
            return Err(bad(config, "messages", ALTERNATE));
        }
        turns.push((role, text));
    }
    Ok((system.join("\n"), turns))
}

const MESSAGE: &[&str] = &["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];
const ALTERNATE: &str = "After the optional system message, conversation roles must alternate \
                         user/assistant/user/assistant/...";

/// vLLM: a last assistant message is continued only on request.
fn check_continuation(body: &Map<String, Value>, turns: &[(Role, String)], config: &Config) -> Result<(), Refusal> {
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    if flag("continue_final_message") != Some(true) {
        return Ok(());
    }
    if flag("add_generation_prompt") != Some(false) {
        return Err(bad(
            config,
            "continue_final_message",
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ));
    }
    match turns.last() {
        Some((Role::Assistant, _)) => Ok(()),
        _ => Err(bad(config, "continue_final_message", "The final message is not the assistant's.")),
    }
}

fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| if part["type"] == "text" { part["text"].as_str() } else { None })
            .collect::<Option<Vec<_>>>()
            .map(|parts| parts.join("\n")),
        _ => None,
    }
}

fn whole(body: &Map<String, Value>, name: &str) -> Option<usize> {
    body.get(name)?.as_u64().and_then(|value| usize::try_from(value).ok())
}

fn bad(config: &Config, param: &str, message: &str) -> Refusal {
    Refusal::bad_request(config.azure, "invalid_request", Some(param), message)
}

fn missing(config: &Config, param: &str) -> Refusal {
    bad(config, param, &format!("Missing required parameter: '{param}'."))
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Whole => value.is_i64() || value.is_u64(),
            Self::Real => value.is_number(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
            Self::Texts => {
                value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
            }
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests;
