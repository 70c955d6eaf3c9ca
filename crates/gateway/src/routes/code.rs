//! `POST /v2/code/completions` (alias `/v2/completions`) and `POST /v2/code/generations`.

use duo_protocol::build::{CodeInput, completion_request, generation_request, plain_generation_request};
use duo_protocol::contract::{CodeAnswer, CompletionBody, CurrentCode, ModelInfo, PromptEnhancer, code_answer_v2};
use duo_protocol::failure::Surface;
use duo_protocol::language::{detect, extension};
use duo_protocol::model::{ModelAnswer, StopReason};
use duo_protocol::postprocess::{AtCursor, CompletionStream, GenerationStream, completion, generation};
use http::StatusCode;

use super::encode::{CodeFilter, NewLine, RawCode, body};
use super::{Early, Served, forbidden, now};
use crate::answer::{self, Answer};
use crate::inference::{Answered, COMPLETE_CODE, GENERATE_CODE, Inference};
use crate::upstream::Place;

/// What streams of code are called, although v2 and v3 send plain text.
pub(super) const STREAM_TYPE: &str = "text/event-stream; charset=utf-8";

pub(super) async fn completions(served: &Served) -> Result<Answer, Early> {
    if !served.identity.may("complete_code") {
        return Err(forbidden("Unauthorized to access code completions"));
    }
    let request = CompletionBody::parse(&served.body)?;
    let selection = request.select()?;
    let inference = Inference::prepare(served, &selection, COMPLETE_CODE, Surface::Feature)?;
    served.context.note("code_suggestion_type", "completion");
    let file = &request.current_file;
    let lang = language(file);
    served.count_language(file, lang);
    if nothing_to_go_by(file) {
        if request.stream {
            // a body of JSON would be taken for code
            return Ok(answer::with_type(StatusCode::OK, STREAM_TYPE, ""));
        }
        return Ok(whole(served, &inference, lang, "", None));
    }
    let input = CodeInput { file, context: &request.context, prompt: request.prompt.as_ref() };
    let ask = |place: &Place| completion_request(&input, place.family);
    if request.stream {
        let events = inference.stream(ask).await?;
        let filter = CodeFilter::Completion(Box::new(CompletionStream::new(&at_cursor(events.place(), file))));
        return Ok(answer::streamed(STREAM_TYPE, body(events, RawCode(filter))));
    }
    let Answered { answer, place } = inference.complete(ask).await?;
    let text = served.post_processed(|| completion(&answer.text, &at_cursor(&place, file), &answer.stop));
    Ok(whole(served, &inference, lang, &text, Some(&answer)))
}

pub(super) async fn generations(served: &Served) -> Result<Answer, Early> {
    if served.identity.minted_here || !served.identity.may("generate_code") {
        return Err(forbidden("Unauthorized to access code generations"));
    }
    let request = CompletionBody::parse(&served.body)?;
    request.require_prompt()?;
    let selection = request.select()?;
    let inference = Inference::prepare(served, &selection, GENERATE_CODE, Surface::Feature)?;
    served.context.note("code_suggestion_type", "generation");
    let file = &request.current_file;
    let lang = language(file);
    served.count_language(file, lang);
    let input = CodeInput { file, context: &request.context, prompt: request.prompt.as_ref() };
    let ask = |place: &Place| match request.prompt_id {
        Some(_) => generation_request(&input, &PromptEnhancer::default(), place.family),
        None => plain_generation_request(&input, place.family),
    };
    if request.stream {
        let events = inference.stream(ask).await?;
        let line = NewLine::after(&file.content_above_cursor);
        let filter = CodeFilter::Generation(GenerationStream::new(events.place().family, lang), line);
        return Ok(answer::streamed(STREAM_TYPE, body(events, RawCode(filter))));
    }
    let Answered { answer, place } = inference.complete(ask).await?;
    let text = served.post_processed(|| generation(&answer.text, place.family, lang, &file.content_above_cursor));
    Ok(whole(served, &inference, lang, &text, Some(&answer)))
}

fn whole(
    served: &Served,
    inference: &Inference<'_>,
    lang: &str,
    text: &str,
    model_answer: Option<&ModelAnswer>,
) -> Answer {
    let flags = served.feature_flags();
    let body = code_answer_v2(&CodeAnswer {
        text,
        model: ModelInfo { engine: "litellm", name: inference.family(), lang },
        created: now(),
        usage: model_answer.and_then(|answer| answer.usage),
        max_output_tokens_used: model_answer.is_some_and(|answer| answer.stop == StopReason::MaxTokens),
        feature_flags: &flags,
    });
    answer::json(StatusCode::OK, &body)
}

/// Where a completion goes, for what is done to it.
pub(super) fn at_cursor<'a>(place: &Place, file: &'a CurrentCode) -> AtCursor<'a> {
    AtCursor {
        family: place.family,
        lang: language(file),
        above: &file.content_above_cursor,
        below: &file.content_below_cursor,
    }
}

/// Our name of the file's language, or nothing.
pub(super) fn language(file: &CurrentCode) -> &'static str {
    detect(&file.file_name, file.language_identifier.as_deref()).unwrap_or_default()
}

/// Neither a language nor an extension: GitLab's gateway does not ask the model then.
pub(super) fn nothing_to_go_by(file: &CurrentCode) -> bool {
    let named = file.language_identifier.as_deref().is_some_and(|name| !name.trim().is_empty());
    !named && language(file).is_empty() && extension(&file.file_name).is_none()
}
