//! Whole answers.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::not_bedrocks;
use crate::model::{ModelAnswer, StopReason, UpstreamFailure, Usage};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    output: Output<'a>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
}

/// Of another kind where there is no text: reasoning is not the answer.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// `TokenUsage`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_input_tokens: Option<i64>,
    cache_write_input_tokens: Option<i64>,
}

impl Tokens {
    pub(super) fn usage(&self) -> Usage {
        let count = |tokens: Option<i64>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
        let (read, write) = (count(self.cache_read_input_tokens), count(self.cache_write_input_tokens));
        Usage {
            // Bedrock counts what the cache held, or was given, apart
            input_tokens: count(self.input_tokens).saturating_add(read).saturating_add(write),
            output_tokens: count(self.output_tokens),
            cache_read_tokens: read,
            cache_write_tokens: write,
        }
    }
}

/// Reads a whole answer of Converse.
///
/// # Errors
/// [`UpstreamFailure::Protocol`] for what is none: a page, a part of an answer, `{}`.
pub fn parse_answer(body: &[u8]) -> Result<ModelAnswer, UpstreamFailure> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| not_bedrocks())?;
    let blocks = answer.output.message.content.unwrap_or_default();
    Ok(ModelAnswer {
        text: blocks.into_iter().filter_map(|block| block.text).collect(),
        stop: StopReason::from_bedrock(answer.stop_reason.as_deref().unwrap_or_default()),
        usage: answer.usage.map(|tokens| tokens.usage()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_joined_reasoning_is_left_out_and_the_cache_counts_as_read() {
        let body = br#"{"metrics": {"latencyMs": 1}, "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "a\n"}, {"text": "b"}]}},
            "stopReason": "max_tokens", "usage": {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17,
            "cacheReadInputTokens": 100, "cacheWriteInputTokens": 10, "somethingNew": {"a": []}}}"#;
        let answer = parse_answer(body).unwrap();
        assert_eq!((answer.text.as_str(), answer.stop), ("a\nb", StopReason::MaxTokens));
        let usage = Usage { input_tokens: 122, output_tokens: 5, cache_read_tokens: 100, cache_write_tokens: 10 };
        assert_eq!(answer.usage, Some(usage));
    }

    #[test]
    fn what_holds_no_message_is_no_answer() {
        for body in ["", "{}", "[]", "null", r#"{"output": {}}"#, r#"{"output": {"other": {}}}"#, "<html>"] {
            let failure = parse_answer(body.as_bytes()).unwrap_err();
            assert!(matches!(failure, UpstreamFailure::Protocol { .. }), "{body}: {failure}");
        }
        let silent = parse_answer(br#"{"output": {"message": {"role": "assistant", "content": []}}}"#).unwrap();
        assert_eq!((silent.text.as_str(), silent.usage), ("", None));
    }
}
