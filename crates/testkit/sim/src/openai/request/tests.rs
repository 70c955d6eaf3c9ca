use super::*;
use serde_json::json;

fn config(azure: bool) -> Config {
    let served_model_names = ["mixtral", "codegemma", "qwen", "gpt-5-mini"].map(str::to_owned).to_vec();
    Config { azure, served_model_names, max_model_len: 100, ..Config::default() }
}

fn refusal(azure: bool, body: Value) -> String {
    chat(&body, None, &config(azure))
        .err()
        .map_or(String::new(), |refusal| format!("{} {}", refusal.status, refusal.body["error"]["message"]))
}

fn turn(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

#[test]
fn what_gateways_send_is_taken() {
    let body = json!({
        "model": "mixtral",
        "messages": [turn("system", "s"), turn("user", "u"), turn("assistant", "Thought:")],
        "max_tokens": 8, "temperature": 0.0, "stop": ["a", "b"], "stream": true,
        "stream_options": {"include_usage": true}, "continue_final_message": true, "add_generation_prompt": false,
    });
    let request = chat(&body, None, &config(false)).unwrap();
    assert!(request.stream && request.include_usage);
    assert_eq!(request.limits.max_tokens, Some(8));
    assert_eq!(request.limits.stop, ["a", "b"]);
    assert_eq!((request.question.system.as_str(), request.question.prefill()), ("s", "Thought:"));
    let parts = json!({"model": "qwen", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    assert_eq!(chat(&parts, None, &config(true)).unwrap().question.last_user_text(), "hi");
}

#[test]
fn wrong_bodies_are_refused_with_the_parameter() {
    let hi = json!([turn("user", "hi")]);
    for (azure, body, words) in [
        (false, json!([]), "must be a JSON object"),
        (false, json!({"messages": hi}), "'model'"),
        (false, json!({"model": "mixtral"}), "'messages'"),
        (false, json!({"model": "other", "messages": hi}), "404 \"The model `other` does not exist.\""),
        (true, json!({"model": "other", "messages": hi}), "404 \"The API deployment"),
        (false, json!({"model": "qwen", "messages": hi, "max_token": 1}), "argument supplied: max_token"),
        (false, json!({"model": "qwen", "messages": hi, "max_tokens": "1"}), "Invalid type for 'max_tokens'"),
        (false, json!({"model": "qwen", "messages": hi, "max_tokens": 0}), "max_tokens must be"),
        (false, json!({"model": "qwen", "messages": hi, "temperature": 3}), "temperature must be"),
        (false, json!({"model": "qwen", "messages": hi, "max_tokens": 100}), "maximum context length is 100"),
        (false, json!({"model": "qwen", "messages": hi, "stream_options": {}}), "only be defined when"),
        (false, json!({"model": "qwen", "messages": [turn("robot", "hi")]}), "role is not a role"),
        (false, json!({"model": "qwen", "messages": hi, "continue_final_message": true}), "Cannot set both"),
        (true, json!({"model": "qwen", "messages": hi, "top_k": 1}), "argument supplied: top_k"),
        (true, json!({"model": "qwen", "messages": hi, "stop": ["1", "2", "3", "4", "5"]}), "array too long"),
    ] {
        let got = refusal(azure, body.clone());
        assert!(got.contains(words), "{body}: {got}");
    }
}

#[test]
fn chat_templates_of_mistral_and_gemma_have_rules_of_their_own() {
    let two = json!([turn("user", "a"), turn("user", "b")]);
    let system = json!([turn("system", "s"), turn("user", "a")]);
    assert!(refusal(false, json!({"model": "mixtral", "messages": two})).contains("must alternate"));
    assert_eq!(refusal(false, json!({"model": "qwen", "messages": two})), "");
    assert_eq!(refusal(false, json!({"model": "mixtral", "messages": system})), "");
    assert!(refusal(false, json!({"model": "codegemma", "messages": system})).contains("System role not supported"));
}

#[test]
fn gpt_5_takes_max_completion_tokens_only() {
    let with = |name: &str, value: Value| json!({"model": "gpt-5-mini", "messages": [turn("user", "hi")], name: value});
    assert!(refusal(true, with("max_tokens", json!(5))).contains("max_completion_tokens"));
    assert!(refusal(true, with("temperature", json!(0))).contains("'temperature'"));
    assert!(refusal(true, with("stop", json!(["x"]))).contains("'stop'"));
    assert_eq!(refusal(true, with("max_completion_tokens", json!(5))), "");
}

#[test]
fn completions_default_to_sixteen_tokens() {
    let body = json!({"model": "qwen", "prompt": "def hello_world():"});
    assert_eq!(text(&body, None, &config(false)).unwrap().limits.max_tokens, Some(16));
    let both = json!({"model": "qwen", "prompt": ["a", "b"]});
    assert!(text(&both, None, &config(false)).is_err());
}
