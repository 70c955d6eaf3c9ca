//! `POST /v1/chat/{invokable}`: a conversation of the client's own, deprecated by GitLab.

use duo_protocol::budget::estimate;
use duo_protocol::contract::{ChatV1Body, chat_v1_answer};
use duo_protocol::failure::Surface;
use duo_protocol::families::context_window;
use duo_protocol::model::ModelRequest;
use duo_protocol::postprocess::{PromptStream, prose};
use duo_protocol::prompts::AnswerForm;
use http::StatusCode;

use super::code::STREAM_TYPE;
use super::encode::{RawPrompt, body};
use super::{Early, Served, early, forbidden, now};
use crate::answer::{self, Answer};
use crate::inference::{Answered, DUO_CHAT, Feature, Inference};
use crate::upstream::Place;

/// What can be invoked, each with the unit primitives of which one is needed.
const INVOKABLES: [(&str, &[&str]); 7] = [
    ("agent", &["duo_chat", "duo_classic_chat"]),
    ("explain_code", &["explain_code"]),
    ("write_tests", &["write_tests"]),
    ("refactor_code", &["refactor_code"]),
    ("explain_vulnerability", &["explain_vulnerability"]),
    ("summarize_comments", &["summarize_comments"]),
    ("troubleshoot_job", &["troubleshoot_job"]),
];

/// However long the conversation, the answer is given this much room.
const LEAST_TOKENS: usize = 256;

pub(super) async fn chat(served: &Served, invokable: &str) -> Result<Answer, Early> {
    let Some((_, primitives)) = INVOKABLES.iter().find(|(name, _)| *name == invokable) else {
        return Err(early(StatusCode::NOT_FOUND, "Not found"));
    };
    if !served.identity.may_any(primitives) {
        let what = if invokable == "agent" { "duo chat" } else { invokable };
        return Err(forbidden(&format!("Unauthorized to access {what}")));
    }
    let request = ChatV1Body::parse(&served.body)?;
    let selection = request.select()?;
    let feature = Feature { unit_primitive: primitives.first().copied().unwrap_or_default(), ..DUO_CHAT };
    let inference = Inference::prepare(served, &selection, feature, Surface::Feature)?;
    let ask = |place: &Place| asked(&request, place);
    if request.stream {
        let events = inference.stream(ask).await?;
        let prose = PromptStream::new(AnswerForm::Prose, events.place().family);
        return Ok(answer::streamed(STREAM_TYPE, body(events, RawPrompt(prose))));
    }
    let Answered { answer, place } = inference.complete(ask).await?;
    let text = prose(&answer.text, place.family);
    let body = chat_v1_answer(&text, request.provider.as_deref(), request.model.as_deref(), now());
    Ok(answer::json(StatusCode::OK, &body))
}

/// The conversation as it came. The client asks for 8,192 tokens unless it says otherwise; servers refuse what together
/// with the conversation is more than their window.
fn asked(request: &ChatV1Body, place: &Place) -> ModelRequest {
    let conversation: usize = request.messages.iter().map(|message| estimate(&message.content)).sum();
    let room = context_window(place.family).saturating_sub(conversation).max(LEAST_TOKENS);
    ModelRequest {
        messages: request.messages.clone(),
        max_tokens: request.max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX)),
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
        temperature: Some(request.temperature as f32),
        top_p: None,
        stop: request.stop.clone(),
        continue_final_message: false,
        fim: None,
    }
}
