//! What Converse and the models themselves refuse in a request that is well formed, in AWS's words. Pure: a request
//! and a model in, a conversation to answer or a refusal out.

use serde_json::Value;

use super::{
    error::Refusal,
    models::{Model, Prefill, Sampling},
};
use crate::answers::{Limits, Question, Role};

/// Reads a request that passed the shape check into the model's question and the answer's limits.
pub fn read(body: &Value, model: &Model, asked_as: &str) -> Result<(Question, Limits), Refusal> {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let system = body["system"].as_array().map_or(&[][..], Vec::as_slice);
    check_system(system, model)?;
    check_cache(messages, system, model)?;
    let turns = read_turns(messages)?;
    check_end(&turns, model)?;
    let limits = read_limits(&body["inferenceConfig"], model)?;
    let system = system.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n");
    Ok((Question { model: asked_as.to_owned(), system, turns, continues: true }, limits))
}

fn check_system(system: &[Value], model: &Model) -> Result<(), Refusal> {
    if !system.is_empty() && !model.system {
        return Err(Refusal::validation(
            "This model doesn't support system messages. Try again without a system message or use a model that \
             supports system messages.",
        ));
    }
    match system.iter().position(|block| block["text"].as_str().is_some_and(is_blank)) {
        Some(index) => Err(Refusal::validation(format!(
            "The text field in the SystemContentBlock object at system.{index} is blank. Add text to the text field, \
             and try again."
        ))),
        None => Ok(()),
    }
}

fn check_cache(messages: &[Value], system: &[Value], model: &Model) -> Result<(), Refusal> {
    let blocks = messages.iter().filter_map(|message| message["content"].as_array()).flatten().chain(system);
    if !model.cache && blocks.into_iter().any(|block| block.get("cachePoint").is_some()) {
        return Err(Refusal::access_denied(
            "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for \
             more information.",
        ));
    }
    Ok(())
}

fn read_turns(messages: &[Value]) -> Result<Vec<(Role, String)>, Refusal> {
    let mut turns: Vec<(Role, String)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        // the shape allows this role since 2026; none of the models of the table takes it
        if message["role"] == "system" {
            return Err(Refusal::validation(format!(
                "This model doesn't support the system role at messages.{index}. Use the system field instead."
            )));
        }
        let role = if message["role"] == "assistant" { Role::Assistant } else { Role::User };
        let content = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        if content.is_empty() {
            return Err(Refusal::validation(format!(
                "The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to \
                 the content field and try again."
            )));
        }
        if let Some(block) = content.iter().position(|block| block["text"].as_str().is_some_and(is_blank)) {
            return Err(Refusal::validation(format!(
                "The text field in the ContentBlock object at messages.{index}.content.{block} is blank. Add text to \
                 the text field, and try again."
            )));
        }
        if turns.last().is_some_and(|(last, _)| *last == role) {
            return Err(Refusal::validation(
                "A conversation must alternate between user and assistant roles. Make sure the conversation \
                 alternates between user and assistant roles and try again.",
            ));
        }
        turns.push((role, content.iter().map(block_text).collect::<Vec<_>>().join("\n")));
    }
    match turns.first() {
        Some((Role::User, _)) => Ok(turns),
        _ => Err(Refusal::validation(
            "A conversation must start with a user message. Try again with a conversation that starts with a user \
             message.",
        )),
    }
}

fn block_text(block: &Value) -> String {
    if let Some(text) = block["text"].as_str() {
        return text.to_owned();
    }
    let results = block["toolResult"]["content"].as_array().map_or(&[][..], Vec::as_slice);
    results.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}

fn check_end(turns: &[(Role, String)], model: &Model) -> Result<(), Refusal> {
    let Some((Role::Assistant, last)) = turns.last() else { return Ok(()) };
    match model.prefill {
        Prefill::Refused => Err(Refusal::validation(
            "A conversation must end with a user message. Try again with a conversation that ends with a user message.",
        )),
        Prefill::RefusedByClaude => Err(Refusal::validation(
            "The model returned the following errors: This model does not support assistant message prefill. The \
             conversation must end with a user message.",
        )),
        Prefill::Continues if model.is_claude() && last.ends_with(char::is_whitespace) => Err(Refusal::validation(
            "The model returned the following errors: messages: final assistant content cannot end with trailing \
             whitespace",
        )),
        Prefill::Continues => Ok(()),
    }
}

fn read_limits(config: &Value, model: &Model) -> Result<Limits, Refusal> {
    let max_tokens = config["maxTokens"].as_u64();
    if let Some(asked) = max_tokens
        && asked > model.max_tokens
    {
        let limit = model.max_tokens;
        return Err(Refusal::validation(format!(
            "The maximum tokens you requested exceeds the model limit of {limit}. Try again with a maximum tokens \
             value that is lower than {limit}."
        )));
    }
    let given = |name: &str| !config[name].is_null();
    if model.sampling == Sampling::Neither && (given("temperature") || given("topP")) {
        let name = if given("temperature") { "temperature" } else { "top_p" };
        return Err(Refusal::validation(format!(
            "The model returned the following errors: `{name}` is deprecated for this model."
        )));
    }
    if model.sampling == Sampling::OneOf && given("temperature") && given("topP") {
        return Err(Refusal::validation(
            "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this \
             model. Please use only one.",
        ));
    }
    let stop: Vec<String> = config["stopSequences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sequence| sequence.as_str().map(str::to_owned))
        .collect();
    if model.is_claude() && stop.iter().any(|sequence| is_blank(sequence)) {
        return Err(Refusal::validation(
            "The model returned the following errors: stop_sequences: each stop sequence must contain non-whitespace",
        ));
    }
    let max_tokens = max_tokens.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
    Ok(Limits { max_tokens, stop })
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bedrock::models::find;
    use serde_json::json;

    const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
    const CLAUDE_3: &str = "anthropic.claude-3-sonnet-20240229-v1:0";
    const CLAUDE_45: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    const CLAUDE_46: &str = "us.anthropic.claude-opus-4-6-v1";
    const CLAUDE_47: &str = "us.anthropic.claude-opus-4-7";

    fn refusal(model: &str, body: &Value) -> String {
        let target = find(model, "us-east-1", &[]).unwrap();
        read(body, target.model, model).err().map_or(String::new(), |refusal| refusal.message)
    }

    fn turns(turns: &[(&str, &str)]) -> Value {
        let messages: Vec<_> =
            turns.iter().map(|(role, text)| json!({"role": role, "content": [{"text": text}]})).collect();
        json!({ "messages": messages })
    }

    fn with(mut body: Value, name: &str, value: Value) -> Value {
        body[name] = value;
        body
    }

    #[test]
    fn mixtral_and_mistral_7b_refuse_system_messages_and_others_take_them() {
        let body = with(turns(&[("user", "hi")]), "system", json!([{"text": "be kind"}]));
        for model in [MIXTRAL, "mistral.mistral-7b-instruct-v0:2"] {
            assert!(refusal(model, &body).starts_with("This model doesn't support system messages"), "{model}");
        }
        for model in [CLAUDE_3, "mistral.mistral-large-2402-v1:0", "meta.llama3-70b-instruct-v1:0"] {
            assert_eq!(refusal(model, &body), "", "{model}");
        }
        // an empty list is no system message
        assert_eq!(refusal(MIXTRAL, &with(turns(&[("user", "hi")]), "system", json!([]))), "");
    }

    #[test]
    fn conversations_start_with_the_user_and_alternate_and_hold_no_blank_text() {
        for (body, words) in [
            (json!({}), "must start with a user message"),
            (turns(&[("assistant", "hi")]), "must start with a user message"),
            (turns(&[("user", "a"), ("user", "b")]), "must alternate"),
            (turns(&[("user", "a"), ("assistant", "b"), ("assistant", "c")]), "must alternate"),
            (turns(&[("user", "a"), ("assistant", " \n")]), "at messages.1.content.0 is blank"),
            (json!({"messages": [{"role": "user", "content": []}]}), "at messages.0 is empty"),
            (turns(&[("system", "a")]), "system role"),
            (with(turns(&[("user", "a")]), "system", json!([{"text": " "}])), "at system.0 is blank"),
        ] {
            assert!(refusal(CLAUDE_3, &body).contains(words), "{body}");
        }
    }

    #[test]
    fn a_prefill_is_continued_by_older_claude_only_and_must_not_end_in_a_blank() {
        let prefilled = turns(&[("user", "a"), ("assistant", "<new_code>")]);
        let blank = turns(&[("user", "a"), ("assistant", "Thought: ")]);
        assert_eq!(refusal(CLAUDE_3, &prefilled), "");
        assert!(refusal(CLAUDE_3, &blank).contains("cannot end with trailing whitespace"));
        assert!(refusal(CLAUDE_46, &prefilled).contains("does not support assistant message prefill"));
        assert!(refusal(MIXTRAL, &prefilled).contains("must end with a user message"));
    }

    #[test]
    fn parameters_that_a_model_does_not_take_are_refused() {
        let config = |config: Value| with(turns(&[("user", "a")]), "inferenceConfig", config);
        for (model, body, words) in [
            (CLAUDE_3, config(json!({"maxTokens": 4097})), "exceeds the model limit of 4096"),
            (CLAUDE_3, config(json!({"maxTokens": 4096, "temperature": 0, "topP": 1})), ""),
            (CLAUDE_3, config(json!({"stopSequences": ["\n\n"]})), "must contain non-whitespace"),
            (MIXTRAL, config(json!({"stopSequences": ["\n\n"]})), ""),
            (CLAUDE_45, config(json!({"temperature": 0, "topP": 1})), "cannot both be specified"),
            (CLAUDE_45, config(json!({"temperature": 0})), ""),
            (CLAUDE_47, config(json!({"temperature": 0})), "`temperature` is deprecated"),
            (CLAUDE_47, config(json!({"maxTokens": 1})), ""),
        ] {
            let got = refusal(model, &body);
            assert!(got.contains(words) && got.is_empty() == words.is_empty(), "{model} {body}: {got}");
        }
    }

    #[test]
    fn cache_points_are_refused_by_models_without_caching() {
        let body =
            json!({"messages": [{"role": "user", "content": [{"text": "a"}, {"cachePoint": {"type": "default"}}]}]});
        assert!(refusal(CLAUDE_3, &body).contains("prompt caching"));
        assert_eq!(refusal(CLAUDE_45, &body), "");
    }
}
