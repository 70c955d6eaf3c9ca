//! `POST /v1/embeddings/code_embeddings`, `…/index` and `…/search`: vectors for GitLab's code search (19.x).

use duo_protocol::contract::{EmbeddingsBody, embeddings_answer};
use duo_protocol::embeddings::{EmbeddingRequest, Embeddings, Purpose};
use duo_protocol::failure::Surface;
use duo_protocol::model::{StopReason, Usage};
use http::StatusCode;

use super::{Early, Served, forbidden};
use crate::answer::{self, Answer};
use crate::inference::{EMBED_CODE, Inference, Measure};

pub(super) async fn code_embeddings(served: &Served, purpose: Purpose) -> Result<Answer, Early> {
    if !served.identity.may(EMBED_CODE.unit_primitive) {
        return Err(forbidden(&format!("Unauthorized to access {}", EMBED_CODE.unit_primitive)));
    }
    let body = EmbeddingsBody::parse(&served.body)?;
    let selection = body.select()?;
    let inference = Inference::prepare(served, &selection, EMBED_CODE, Surface::Feature)?;
    let EmbeddingsBody { contents: texts, dimensions, drop_params, identifier, .. } = body;
    let bytes = texts.iter().map(String::len).sum();
    let request = EmbeddingRequest { texts, dimensions, drop_params, purpose };
    let request = &request;
    let call =
        |place: std::sync::Arc<crate::upstream::Place>, options| async move { place.embed(request, &options).await };
    let measure = |answer: &Embeddings| Measure {
        usage: answer.input_tokens.map(|input_tokens| Usage { input_tokens, ..Usage::default() }),
        stop: StopReason::EndTurn,
        bytes,
    };
    let (answer, place) = inference.run(call, measure).await?;
    let body = embeddings_answer(place.identifier.provider.as_str(), &identifier, answer.vectors);
    Ok(answer::with_type(StatusCode::OK, "application/json", body))
}
