//! `POST /v2/chat/agent`: one turn of Duo Chat, answered in lines of JSON.

use duo_protocol::build::{ChatTurn, chat_agent_request};
use duo_protocol::contract::AgentBody;
use duo_protocol::failure::Surface;
use duo_protocol::react::{GitlabVersion, TurnParser, offered};
use http::StatusCode;

use super::encode::{ChatLines, body};
use super::{Early, Served, early, forbidden, today};
use crate::answer::{self, Answer};
use crate::auth::Identity;
use crate::inference::{DUO_CHAT, Inference};
use crate::upstream::Place;

/// The chat's unit primitive up to 18.x and from 19 on.
const CHAT: [&str; 2] = ["duo_chat", "duo_classic_chat"];

pub(super) async fn agent(served: &Served) -> Result<Answer, Early> {
    if !served.identity.may_any(&CHAT) {
        return Err(forbidden("Unauthorized to access duo chat"));
    }
    let version = served.header("x-gitlab-version").and_then(GitlabVersion::parse);
    let request = AgentBody::parse(&served.body)?;
    if !may_chat(&served.identity, version, &request) {
        return Err(forbidden("Unauthorized to access duo chat"));
    }
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

/// GitLab 19 has two chats: this one is `duo_classic_chat`, and a token for the other may come here only for a user who
/// speaks to Duo by its name.
fn may_chat(identity: &Identity, version: Option<GitlabVersion>, request: &AgentBody) -> bool {
    let one_chat = version.is_none_or(|version| version.major < 19);
    identity.may("duo_classic_chat") || one_chat || request.mentions_duo()
}
