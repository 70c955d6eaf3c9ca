//! `POST /v1/prompts/{id}` and `POST /v2/prompts/{id}`: named prompts, the connection check among them.

use duo_protocol::build::prompt_request;
use duo_protocol::contract::{PromptBody, prompt_answer_v1, prompt_answer_v2};
use duo_protocol::failure::Surface;
use duo_protocol::postprocess::{PromptStream, prompt_answer};
use duo_protocol::prompts::{Prompt, PromptError, find};
use http::StatusCode;

use super::code::STREAM_TYPE;
use super::encode::{PromptLines, RawPrompt, body};
use super::{Early, Served, early, forbidden, today};
use crate::answer::{self, Answer};
use crate::inference::{Answered, Feature, Inference};
use crate::upstream::Place;

/// The two differ in the form of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The connection check of GitLab's "Test connection".
const CHECK: &str = "model_configuration/check";

pub(super) async fn invoke(served: &Served, id: &str, version: Version) -> Result<Answer, Early> {
    let prompt = find(id).map_err(|error| refused(&error))?;
    if !served.identity.may_any(prompt.unit_primitives) {
        return Err(forbidden(&format!("Unauthorized to access '{}'", prompt.id)));
    }
    let request = PromptBody::parse(&served.body)?;
    prompt.check_version(request.prompt_version.as_deref()).map_err(|error| refused(&error))?;
    let selection = request.select()?;
    let surface = if prompt.id == CHECK { Surface::ConnectionCheck } else { Surface::Feature };
    served.context.note("prompt_id", prompt.id);
    let inference = Inference::prepare(served, &selection, feature(prompt), surface)?;
    let date = today();
    let ask = |place: &Place| prompt_request(prompt, &request.inputs, place.family, &date);
    if request.stream {
        let events = inference.stream(ask).await?;
        let model = events.place().model().to_owned();
        let family = events.place().family;
        let prose = PromptStream::new(prompt.for_family(family).form, family);
        return Ok(match version {
            Version::V1 => answer::streamed(STREAM_TYPE, body(events, RawPrompt(prose))),
            Version::V2 => answer::streamed(STREAM_TYPE, body(events, PromptLines { prose, model })),
        });
    }
    let Answered { answer, place } = inference.complete(ask).await?;
    let text = prompt_answer(&answer.text, prompt.for_family(place.family).form, place.family);
    let body = match version {
        Version::V1 => prompt_answer_v1(&text),
        Version::V2 => prompt_answer_v2(&text, inference.family(), answer.usage),
    };
    Ok(answer::json(StatusCode::OK, &body))
}

fn refused(error: &PromptError) -> Early {
    early(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), &error.to_string())
}

fn feature(prompt: &Prompt) -> Feature {
    let unit_primitive = prompt.unit_primitives.first().copied().unwrap_or("unknown");
    let category = match prompt.id {
        CHECK => "code_suggestions",
        id if id.starts_with("code_suggestions/") => "code_suggestions",
        id if id.starts_with("chat/") => "duo_chat",
        "categorize_question" => "duo_chat",
        "classify_code_review_mention_intent" => "code_review_workflow",
        "generate_session_title" | "summarize_duo_workflow" => "duo_agent_platform",
        "generate_commit_message" | "review_merge_request" | "summarize_review" | "summarize_new_merge_request" => {
            "code_review_workflow"
        }
        "resolve_vulnerability" => "vulnerability_management",
        _ => "ai_abstraction_layer",
    };
    Feature { unit_primitive, category }
}
