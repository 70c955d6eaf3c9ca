//! Neutral requests to the SDK's types and back. The request has been fitted to the model before.

use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, ContentBlock, ConversationRole, ConverseOutput, GuardrailConfiguration,
    GuardrailStreamConfiguration, GuardrailStreamProcessingMode, GuardrailTrace, InferenceConfiguration, Message,
    SystemContentBlock, TokenUsage,
};
use duo_gateway_config::{Guardrail, GuardrailStream, GuardrailTrace as Trace};
use duo_protocol::cache::CacheMarks;
use duo_protocol::model::{ModelRequest, Role, UpstreamFailure, Usage};

pub(super) struct Input {
    pub messages: Vec<Message>,
    pub system: Option<Vec<SystemContentBlock>>,
    pub inference: InferenceConfiguration,
}

pub(super) fn request(request: &ModelRequest, marks: CacheMarks) -> Result<Input, UpstreamFailure> {
    let unmade =
        |error: aws_sdk_bedrockruntime::error::BuildError| UpstreamFailure::Protocol { reason: error.to_string() };
    let (mut messages, mut system) = (Vec::new(), Vec::new());
    for (at, message) in request.messages.iter().enumerate() {
        // Bedrock refuses empty text blocks
        if message.content.trim().is_empty() {
            continue;
        }
        let role = match message.role {
            Role::System => {
                system.push(SystemContentBlock::Text(message.content.clone()));
                if marks.system {
                    system.push(SystemContentBlock::CachePoint(cache_point().map_err(unmade)?));
                }
                continue;
            }
            Role::User => ConversationRole::User,
            Role::Assistant => ConversationRole::Assistant,
        };
        let mut made = Message::builder().role(role).content(ContentBlock::Text(message.content.clone()));
        if marks.message == Some(at) {
            made = made.content(ContentBlock::CachePoint(cache_point().map_err(unmade)?));
        }
        messages.push(made.build().map_err(unmade)?);
    }
    let stop: Vec<String> = request.stop.clone();
    let inference = InferenceConfiguration::builder()
        .max_tokens(i32::try_from(request.max_tokens).unwrap_or(i32::MAX))
        .set_temperature(request.temperature)
        .set_top_p(request.top_p)
        .set_stop_sequences((!stop.is_empty()).then_some(stop))
        .build();
    Ok(Input { messages, system: (!system.is_empty()).then_some(system), inference })
}

fn cache_point() -> Result<CachePointBlock, aws_sdk_bedrockruntime::error::BuildError> {
    CachePointBlock::builder().r#type(CachePointType::Default).build()
}

fn trace(guardrail: &Guardrail) -> GuardrailTrace {
    match guardrail.trace.unwrap_or(Trace::Disabled) {
        Trace::Disabled => GuardrailTrace::Disabled,
        Trace::Enabled => GuardrailTrace::Enabled,
        Trace::Full => GuardrailTrace::EnabledFull,
    }
}

pub(super) fn guardrail(guardrail: &Guardrail) -> GuardrailConfiguration {
    GuardrailConfiguration::builder()
        .guardrail_identifier(&guardrail.identifier)
        .guardrail_version(&guardrail.version)
        .trace(trace(guardrail))
        .build()
}

pub(super) fn stream_guardrail(guardrail: &Guardrail) -> GuardrailStreamConfiguration {
    let mode = match guardrail.stream_processing.unwrap_or(GuardrailStream::Sync) {
        GuardrailStream::Sync => GuardrailStreamProcessingMode::Sync,
        GuardrailStream::Async => GuardrailStreamProcessingMode::Async,
    };
    GuardrailStreamConfiguration::builder()
        .guardrail_identifier(&guardrail.identifier)
        .guardrail_version(&guardrail.version)
        .trace(trace(guardrail))
        .stream_processing_mode(mode)
        .build()
}

/// The text blocks of an answer; reasoning is not the answer.
pub(super) fn text(output: &ConverseOutput) -> String {
    let Ok(message) = output.as_message() else { return String::new() };
    message.content().iter().filter_map(|block| block.as_text().ok()).map(String::as_str).collect()
}

pub(super) fn usage(usage: &TokenUsage) -> Usage {
    let count = |tokens: i32| u64::try_from(tokens).unwrap_or(0);
    let (read, write) =
        (usage.cache_read_input_tokens().map_or(0, count), usage.cache_write_input_tokens().map_or(0, count));
    Usage {
        // Bedrock counts what the cache held, or was given, apart
        input_tokens: count(usage.input_tokens()) + read + write,
        output_tokens: count(usage.output_tokens()),
        cache_read_tokens: read,
        cache_write_tokens: write,
    }
}

#[cfg(test)]
mod tests {
    use duo_protocol::model::ChatMessage;

    use super::*;

    #[test]
    fn roles_limits_and_stops_arrive_and_blank_blocks_do_not() {
        let input = request(
            &ModelRequest {
                messages: vec![
                    ChatMessage::system("be brief"),
                    ChatMessage::user("q"),
                    ChatMessage::assistant(" "),
                    ChatMessage::assistant("Thought:"),
                ],
                max_tokens: 7,
                temperature: Some(0.5),
                top_p: None,
                stop: vec!["x".into()],
                fim: None,
                continue_final_message: false,
            },
            CacheMarks::default(),
        )
        .unwrap();
        assert_eq!(input.system.unwrap(), [SystemContentBlock::Text("be brief".into())]);
        let roles: Vec<&str> = input.messages.iter().map(|message| message.role().as_str()).collect();
        assert_eq!(roles, ["user", "assistant"]);
        assert_eq!(input.inference.max_tokens(), Some(7));
        assert_eq!(input.inference.stop_sequences(), ["x"]);
        assert_eq!(input.inference.top_p(), None);
    }

    #[test]
    fn without_a_system_message_no_system_block_is_sent() {
        // Mixtral 8x7B on Bedrock refuses the block, even an empty one
        let input = request(
            &ModelRequest {
                messages: vec![ChatMessage::user("q")],
                max_tokens: 1,
                temperature: None,
                top_p: None,
                stop: vec![],
                fim: None,
                continue_final_message: false,
            },
            CacheMarks::default(),
        )
        .unwrap();
        assert!(input.system.is_none());
    }
}
