//! The table of capabilities.

use super::{Capability, TokenLimit};
use crate::family::Family;
use crate::identifier::{Identifier, Provider};

/// The common case of an OpenAI-compatible server.
const OPENAI: Capability = Capability {
    system: true,
    prefill: false,
    temperature: true,
    both_samplings: true,
    stop: true,
    most_stops: 4,
    blank_stops: true,
    strict_turns: false,
    continue_final_message: false,
    token_limit: TokenLimit::MaxTokens,
    thinking_tokens: 0,
    prompt_cache: None,
    tools: true,
    most_tokens: None,
};

/// What a reasoning model is given to think, in tokens.
const THINKING: u32 = 2048;

/// The common case on Bedrock.
const BEDROCK: Capability = Capability { strict_turns: true, ..OPENAI };

/// What the model named by `identifier` takes.
pub fn of(identifier: &Identifier, family: Family) -> Capability {
    let model = identifier.model.to_ascii_lowercase();
    match &identifier.provider {
        Provider::Bedrock => bedrock(&model),
        Provider::Anthropic => claude(&model, BEDROCK),
        Provider::OpenAi | Provider::Azure => openai(&model, family),
        Provider::BedrockMantle => mantle(&model, family),
        Provider::CustomOpenai => custom(&model, family),
        Provider::VertexAi if model.contains("claude") => claude(&model, BEDROCK),
        Provider::VertexAi => vertex(&model, family),
        Provider::Other(_) => OPENAI,
    }
}

/// The longest answers of models on Bedrock that give fewer than the features want.
const MOST_TOKENS: [(&str, u32); 6] = [
    ("mistral.mixtral-8x7b", 4096),
    ("meta.llama", 2048),
    ("amazon.nova", 5000),
    ("amazon.titan-text", 3072),
    ("cohere.command", 4000),
    ("ai21.jamba", 4096),
];

fn bedrock(model: &str) -> Capability {
    // a region prefix (`us.`, `eu.`, …) or an ARN may stand before the vendor: search, do not compare
    if model.contains("anthropic.") || model.contains("claude") {
        return claude(model, BEDROCK);
    }
    let any = |names: &[&str]| names.iter().any(|name| model.contains(name));
    Capability {
        // "This model doesn't support system messages."
        system: !any(&["mixtral-8x7b-instruct", "mistral-7b-instruct", "amazon.titan-text", "cohere.command-text"]),
        // Llama's and Titan's inference parameters on Bedrock have no stop sequences
        stop: !any(&["meta.llama", "amazon.titan-text", "openai.gpt-oss"]),
        most_tokens: MOST_TOKENS.iter().find(|(name, _)| model.contains(name)).map(|(_, most)| *most),
        thinking_tokens: if any(&["openai.gpt-oss", "deepseek.r1"]) { THINKING } else { 0 },
        prompt_cache: model.contains("amazon.nova").then_some(1024),
        tools: any(&["amazon.nova", "mistral-large", "mistral-small", "command-r", "jamba", "openai.gpt-oss", "qwen"])
            || (model.contains("meta.llama")
                && !model.contains("llama2")
                && !model.contains("llama3-8b")
                && !model.contains("llama3-70b")),
        ..BEDROCK
    }
}

/// Bedrock's OpenAI-compatible door.
fn mantle(model: &str, family: Family) -> Capability {
    if model.contains("claude") {
        return Capability { prefill: false, prompt_cache: None, ..claude(model, OPENAI) };
    }
    let thinking_tokens = if model.contains("gpt-oss") { THINKING } else { 0 };
    Capability { strict_turns: family.is_mistral_like(), thinking_tokens, ..OPENAI }
}

/// Gemini from 2.5 on thinks before it answers, and the thinking counts against the limit.
fn vertex(model: &str, family: Family) -> Capability {
    let name = model.rsplit('/').next().unwrap_or(model);
    let thinks = name.strip_prefix("gemini-").is_some_and(|version| {
        !version.starts_with("1.") && !version.starts_with("2.0") && version.starts_with(|c: char| c.is_ascii_digit())
    });
    let thinking_tokens = if thinks { THINKING } else { 0 };
    Capability { strict_turns: family.is_mistral_like(), thinking_tokens, ..OPENAI }
}

/// Claude, wherever it is served under Anthropic's rules.
fn claude(model: &str, base: Capability) -> Capability {
    let new = |name: &str, least: (u32, u32)| version_after(model, name).is_some_and(|v| v >= least);
    let refuses_temperature =
        new("opus-", (4, 7)) || new("sonnet-", (5, 0)) || new("haiku-", (5, 0)) || new("fable-", (5, 0));
    // Claude 4.6 and later refuse a trailing assistant message
    let refuses_prefill = ["opus-", "sonnet-", "haiku-", "fable-"].iter().any(|name| new(name, (4, 6)));
    // from Opus 4.1 and the 4.5 models on, temperature or top_p, not both
    let one_sampling = new("opus-", (4, 1)) || new("sonnet-", (4, 5)) || new("haiku-", (4, 5)) || new("fable-", (4, 0));
    let older = |name: &str| model.contains(name);
    let old = older("claude-3-") && !older("claude-3-5") && !older("claude-3-7");
    let ancient = older("claude-v2") || older("claude-2") || older("claude-instant");
    Capability {
        prefill: !refuses_prefill,
        temperature: !refuses_temperature,
        both_samplings: !one_sampling,
        // "stop_sequences: each stop sequence must contain non-whitespace"
        blank_stops: false,
        prompt_cache: (!old && !ancient).then(|| claude_keeps(model)).flatten(),
        tools: !ancient,
        most_tokens: (old || ancient).then_some(4096),
        ..base
    }
}

/// From how many tokens on a marked beginning is kept (AWS' and Anthropic's tables of prompt caching, 2026-11). A name
/// without a version is an account's own (an application inference profile): nobody knows what stands behind it.
fn claude_keeps(model: &str) -> Option<u32> {
    let at_least = |name: &str, least| version_after(model, name).is_some_and(|v| v >= least);
    if at_least("opus-", (4, 5))
        || at_least("haiku-", (4, 5))
        || at_least("sonnet-", (5, 0))
        || at_least("fable-", (0, 0))
    {
        return Some(4096);
    }
    if ["opus-", "sonnet-"].iter().any(|name| at_least(name, (4, 0))) {
        return Some(1024);
    }
    if model.contains("claude-3-5-haiku") {
        return Some(2048);
    }
    // of the two 3.5 Sonnets only the second
    (model.contains("claude-3-7-sonnet") || model.contains("claude-3-5-sonnet-20241022")).then_some(1024)
}

/// The version that follows `name` in a Claude id: `claude-opus-4-7-…` is (4, 7), `claude-sonnet-4-20250514` (4, 0).
fn version_after(model: &str, name: &str) -> Option<(u32, u32)> {
    let (_, rest) = model.split_once(name)?;
    let mut numbers =
        rest.split(|c: char| !c.is_ascii_digit()).map(|part| if part.len() > 2 { None } else { part.parse().ok() });
    let major = numbers.next()??;
    let minor = numbers.next().flatten().unwrap_or(0);
    Some((major, minor))
}

fn openai(model: &str, family: Family) -> Capability {
    if is_reasoning(model) {
        return Capability {
            thinking_tokens: THINKING,
            temperature: false,
            stop: false,
            token_limit: TokenLimit::MaxCompletionTokens,
            ..OPENAI
        };
    }
    let strict_turns = family.is_mistral_like();
    Capability { strict_turns, ..OPENAI }
}

/// GPT-5 and the o-series: own name of the token limit, no temperature but the default, no stop sequences. Deployments
/// on Azure bear any name; usually it holds the model's.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let gpt_5 = (name.contains("gpt-5") || name.contains("gpt5")) && !name.contains("gpt-5-chat");
    gpt_5 || name.split(['-', '_', '.']).any(|part| matches!(part, "o1" | "o3" | "o4"))
}

fn custom(model: &str, family: Family) -> Capability {
    let base = if family == Family::Gpt { openai(model, family) } else { OPENAI };
    if family == Family::Claude3 || model.contains("claude") {
        let claude = claude(model, base);
        // behind an OpenAI-compatible door nobody promises that a trailing assistant message is continued
        return Capability { prefill: false, prompt_cache: None, ..claude };
    }
    Capability {
        // Gemma's chat template raises on the system role
        system: family != Family::Codegemma && !model.contains("gemma"),
        // the templates of Mistral and Gemma raise unless user and assistant alternate, beginning with the user
        strict_turns: family.is_mistral_like()
            || matches!(family, Family::Codegemma | Family::Llama3 | Family::Codellama),
        prefill: family == Family::Mistral,
        continue_final_message: family == Family::Mistral,
        ..base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(identifier: &str, family: Family) -> Capability {
        of(&Identifier::parse(identifier).unwrap(), family)
    }

    #[test]
    fn trap_mixtral_and_mistral_7b_on_bedrock_refuse_system_messages() {
        for id in [
            "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
            "bedrock/mistral.mistral-7b-instruct-v0:2",
            "bedrock/us.mistral.mixtral-8x7b-instruct-v0:1",
            "bedrock/arn:aws:bedrock:eu-west-1::foundation-model/mistral.mixtral-8x7b-instruct-v0:1",
        ] {
            assert!(!cap(id, Family::Mixtral).system, "{id}");
        }
        assert!(cap("bedrock/mistral.mistral-large-2407-v1:0", Family::Mistral).system);
        assert!(cap("custom_openai/Mixtral-8x7B-Instruct-v0.1", Family::Mixtral).system);
    }

    #[test]
    fn trap_claude_prefill_and_temperature_by_version() {
        let table = [
            ("bedrock/anthropic.claude-3-sonnet-20240229-v1:0", true, true, true),
            ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", true, true, true),
            ("bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0", true, true, true),
            ("bedrock/anthropic.claude-sonnet-4-20250514-v1:0", true, true, true),
            ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", true, true, false),
            ("bedrock/anthropic.claude-opus-4-1-20250805-v1:0", true, true, false),
            ("bedrock/global.anthropic.claude-sonnet-4-6", false, true, false),
            ("bedrock/eu.anthropic.claude-opus-4-7", false, false, false),
            ("bedrock/anthropic.claude-opus-4-8-v1", false, false, false),
            ("bedrock/anthropic.claude-sonnet-5", false, false, false),
            ("anthropic/claude-fable-5", false, false, false),
        ];
        for (id, prefill, temperature, both) in table {
            let cap = cap(id, Family::Claude3);
            assert_eq!((cap.prefill, cap.temperature, cap.both_samplings), (prefill, temperature, both), "{id}");
        }
    }

    #[test]
    fn answers_are_not_asked_for_beyond_what_the_model_gives() {
        let table = [
            ("bedrock/anthropic.claude-3-sonnet-20240229-v1:0", Some(4096)),
            ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", None),
            ("bedrock/mistral.mixtral-8x7b-instruct-v0:1", Some(4096)),
            ("bedrock/eu.amazon.nova-pro-v1:0", Some(5000)),
            ("bedrock/us.meta.llama3-3-70b-instruct-v1:0", Some(2048)),
            ("bedrock/mistral.mistral-large-2407-v1:0", None),
        ];
        for (id, most) in table {
            assert_eq!(cap(id, Family::General).most_tokens, most, "{id}");
        }
    }

    #[test]
    fn cache_marks_go_only_to_models_that_keep_them() {
        let table = [
            ("bedrock/anthropic.claude-3-sonnet-20240229-v1:0", None),
            ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", None),
            ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", None),
            ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", Some(1024)),
            ("bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0", Some(2048)),
            ("bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0", Some(1024)),
            ("bedrock/eu.anthropic.claude-sonnet-4-20250514-v1:0", Some(1024)),
            ("bedrock/global.anthropic.claude-sonnet-4-5-20250929-v1:0", Some(1024)),
            ("bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", Some(4096)),
            ("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0", Some(1024)),
            ("bedrock/us.anthropic.claude-opus-4-6-v1", Some(4096)),
            ("bedrock/us.amazon.nova-pro-v1:0", Some(1024)),
            ("bedrock/mistral.mixtral-8x7b-instruct-v0:1", None),
            ("bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None),
            ("anthropic/claude-sonnet-4-5", Some(1024)),
            ("vertex_ai/claude-opus-4-5@20251101", Some(4096)),
            ("custom_openai/claude-sonnet-4-5", None),
            ("bedrock_mantle/anthropic.claude-sonnet-4-5", None),
            ("azure/gpt-4o", None),
        ];
        for (id, least) in table {
            assert_eq!(cap(id, Family::Claude3).prompt_cache, least, "{id}");
        }
    }

    #[test]
    fn models_that_think_are_given_room_for_it_and_old_ones_have_no_tools() {
        let table = [
            ("bedrock/openai.gpt-oss-120b-1:0", 2048, true),
            ("bedrock/us.deepseek.r1-v1:0", 2048, false),
            ("bedrock_mantle/openai.gpt-oss-20b", 2048, true),
            ("vertex_ai/gemini-2.5-pro", 2048, true),
            ("vertex_ai/gemini-2.0-flash", 0, true),
            ("vertex_ai/meta/llama-3.3-70b-instruct-maas", 0, true),
            ("bedrock/mistral.mixtral-8x7b-instruct-v0:1", 0, false),
            ("bedrock/meta.llama3-70b-instruct-v1:0", 0, false),
            ("bedrock/us.meta.llama3-3-70b-instruct-v1:0", 0, true),
            ("bedrock/anthropic.claude-instant-v1", 0, false),
            ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", 0, true),
        ];
        for (id, thinking, tools) in table {
            let cap = cap(id, Family::General);
            assert_eq!((cap.thinking_tokens, cap.tools), (thinking, tools), "{id}");
        }
    }

    #[test]
    fn trap_gpt_5_wants_max_completion_tokens() {
        for id in [
            "azure/gpt-5",
            "azure/prod-gpt-5-mini",
            "azure/my-o3",
            "openai/gpt-5-mini",
            "azure/o3-mini",
            "custom_openai/gpt-5",
        ] {
            assert_eq!(cap(id, Family::Gpt).token_limit, TokenLimit::MaxCompletionTokens, "{id}");
        }
        for id in ["azure/gpt-4o", "azure/gpt-35-turbo", "custom_openai/gpt-4", "custom_openai/my-model"] {
            assert_eq!(cap(id, Family::Gpt).token_limit, TokenLimit::MaxTokens, "{id}");
        }
    }

    #[test]
    fn only_family_mistral_is_told_to_continue_its_final_message() {
        for family in Family::ALL {
            let cap = cap("custom_openai/m", family);
            assert_eq!(cap.continue_final_message, family == Family::Mistral, "{family}");
        }
        assert!(!cap("bedrock/mistral.mistral-large-2407-v1:0", Family::Mistral).continue_final_message);
    }
}
