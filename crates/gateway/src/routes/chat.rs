//! `POST /v2/chat/agent`: one turn of Duo Chat, answered in lines of JSON.

use duo_protocol::build::{ChatTurn, chat_agent_request};
use duo_protocol::contract::AgentBody;
use duo_protocol::failure::Surface;
use duo_protocol::react::{GitlabVersion, TurnParser, offered};
use http::StatusCode;

use super::encode::{ChatLines, body};
use super::{Early, Served, early, forbidden, today};
use crate::answer::{self, Answer};
use crate::inference::{DUO_CHAT, Inference};
use crate::upstream::Place;

/// The chat's unit primitive up to 18.x and from 19 on.
const CHAT: [&str; 2] = ["duo_chat", "duo_classic_chat"];

pub(super) async fn agent(served: &Served) -> Result<Answer, Early> {
    if !served.identity.may_any(&CHAT) {
        return Err(forbidden("Unauthorized to access duo chat"));
    }
    let request = AgentBody::parse(&served.body)?;
    if let Some(text) = request.refusal() {
        return Err(early(StatusCode::BAD_REQUEST, text));
    }
    for primitive in request.context_primitives() {
        if !served.identity.may(&primitive) {
            return Err(forbidden(&format!("Unauthorized to access {primitive}")));
        }
    }
    let selection = request.select()?;
    let inference = Inference::prepare(served, &selection, DUO_CHAT, Surface::Feature)?;
    let version = served.header("x-gitlab-version").and_then(GitlabVersion::parse);
    let documentation = served.app.docs.current().is_some();
    let tools = offered(|primitive| served.identity.may(primitive), version, documentation);
    let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    served.context.note("duo_chat.agent_available_tools", names);

    let date = today();
    let ask = |place: &Place| {
        let turn = ChatTurn { family: place.family, capability: &place.capability, tools: &tools, current_date: &date };
        let mut asked = chat_agent_request(&request, &turn);
        if let Some(most) = served.active.chat.max_tokens {
            asked.max_tokens = most;
        }
        asked
    };
    let events = inference.stream(ask).await?;
    let counts_tokens = version.is_some_and(|version| version.major >= 19);
    let lines = ChatLines {
        parser: Some(TurnParser::new(events.place().family, &tools)),
        model: events.model().to_owned(),
        usage_name: counts_tokens.then(|| events.place().model().to_owned()),
        context: events.context().clone(),
    };
    Ok(answer::streamed("application/x-ndjson; charset=utf-8", body(events, lines)))
}
