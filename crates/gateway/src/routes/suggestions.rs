//! `POST /v3/code/completions` and `POST /v4/code/suggestions`: completion or generation, by the first component.

use duo_protocol::build::{CodeInput, completion_request, generation_request, plain_generation_request};
use duo_protocol::contract::{CodeAnswer, CodePrompt, Component, ComponentBody, ModelInfo, code_answer_v3};
use duo_protocol::failure::Surface;
use duo_protocol::family::Family;
use duo_protocol::model::ModelRequest;
use duo_protocol::postprocess::{CompletionStream, GenerationStream, completion, generation};
use http::{HeaderName, HeaderValue, StatusCode};

use super::code::{STREAM_TYPE, at_cursor, language, nothing_to_go_by};
use super::encode::{CodeFilter, NewLine, RawCode, SseCode, body};
use super::pings::{SILENCE, pinged};
use super::{Early, Served, forbidden, now};
use crate::answer::{self, Answer};
use crate::inference::{Answered, COMPLETE_CODE, GENERATE_CODE, Inference};
use crate::upstream::Place;

/// The two differ in how a stream is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V4,
}

impl Version {
    /// What GitLab's own gateway calls the engine.
    fn engine(self) -> &'static str {
        match self {
            Self::V3 => "openai",
            Self::V4 => "agent",
        }
    }
}

pub(super) async fn suggest(served: &Served, version: Version) -> Result<Answer, Early> {
    let request = ComponentBody::parse(&served.body)?;
    let component = &request.component;
    let (feature, kind) = match component {
        Component::Completion { .. } => (COMPLETE_CODE, "completion"),
        Component::Generation(_) => (GENERATE_CODE, "generation"),
    };
    if served.identity.minted_here || !served.identity.may(feature.unit_primitive) {
        return Err(forbidden("Unauthorized to access code suggestions"));
    }
    let selection = request.select()?;
    let inference = Inference::prepare(served, &selection, feature, Surface::Feature)?;
    served.context.note("code_suggestion_type", kind);
    let file = component.current_file();
    let lang = language(file);
    served.count_language(file, lang);
    let model = ModelInfo { engine: version.engine(), name: inference.family(), lang };
    let flags = served.feature_flags();
    if matches!(component, Component::Completion { .. }) && nothing_to_go_by(file) && !component.stream() {
        return Ok(whole("", model, &flags));
    }
    let ask = |place: &Place| asked(&request, place.family);
    if component.stream() {
        let events = inference.stream(ask).await?;
        let family = events.place().family;
        let filter = match component {
            Component::Completion { .. } => {
                CodeFilter::Completion(Box::new(CompletionStream::new(&at_cursor(events.place(), file))))
            }
            Component::Generation(_) => {
                let line = NewLine::after(&file.content_above_cursor);
                CodeFilter::Generation(GenerationStream::new(family, lang), line)
            }
        };
        return Ok(match version {
            Version::V3 => answer::streamed(STREAM_TYPE, body(events, RawCode(filter))),
            Version::V4 => {
                let events = body(events, SseCode::new(filter, model, now(), &flags));
                let mut answer = answer::streamed(STREAM_TYPE, pinged(events, SILENCE));
                let name = HeaderName::from_static("x-streaming-format");
                answer.headers_mut().insert(name, HeaderValue::from_static("sse"));
                answer
            }
        });
    }
    let Answered { answer, place } = inference.complete(ask).await?;
    let text = served.post_processed(|| match component {
        Component::Completion { .. } => completion(&answer.text, &at_cursor(&place, file), &answer.stop),
        Component::Generation(_) => generation(&answer.text, place.family, lang, &file.content_above_cursor),
    });
    Ok(whole(&text, model, &flags))
}

fn asked(request: &ComponentBody, family: Family) -> ModelRequest {
    let file = request.component.current_file();
    match &request.component {
        Component::Completion { prompt, .. } => {
            let input = CodeInput { file, context: &request.context, prompt: prompt.as_ref() };
            completion_request(&input, family)
        }
        Component::Generation(payload) => {
            let prompt = payload.prompt.clone().map(CodePrompt::Text);
            let input = CodeInput { file, context: &request.context, prompt: prompt.as_ref() };
            match payload.prompt_id {
                Some(_) => generation_request(&input, &payload.enhancer, family),
                None => plain_generation_request(&input, family),
            }
        }
    }
}

fn whole(text: &str, model: ModelInfo<'_>, flags: &[&str]) -> Answer {
    let body = code_answer_v3(&CodeAnswer {
        text,
        model,
        created: now(),
        usage: None,
        max_output_tokens_used: false,
        feature_flags: flags,
    });
    answer::json(StatusCode::OK, &body)
}
