//! What is sent to each kind of model server, how its answers are read, and as whom it is called.

mod chain;
mod doors;
mod frames;
mod golden;
mod oracles;
mod roles;
pub mod vertex;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use duo_gateway::active::Active;
use duo_gateway::config_store::Mounted;
use duo_gateway::upstream::{CallOptions, Clients, Place, PlaceSpec, Timeouts};
use duo_protocol::capability::adapt;
use duo_protocol::family::Family;
use duo_protocol::model::{ChatMessage, FillInMiddle, ModelAnswer, ModelEvent, ModelRequest, UpstreamFailure};
use futures::StreamExt;
use tempfile::TempDir;

/// The declared models of a folder as places, without a gateway around them.
pub struct Stand {
    pub places: Vec<Arc<Place>>,
    pub active: Active,
    _folder: TempDir,
}

impl Stand {
    /// `config` is what stands below `gitlab`; files are written beside it.
    pub fn new(config: &str, files: &[(&str, &str)]) -> Self {
        Self::after(config, files, None)
    }

    /// The same as the configuration that follows another.
    pub fn after(config: &str, files: &[(&str, &str)], previous: Option<&Active>) -> Self {
        Self::with(config, files, previous, |_| {})
    }

    pub fn with(
        config: &str,
        files: &[(&str, &str)],
        previous: Option<&Active>,
        change: impl FnOnce(&mut duo_gateway::settings::Settings),
    ) -> Self {
        let config = format!("gitlab: {{url: 'http://gitlab'}}\n{config}");
        let folder = crate::support::config_folder(&config, "", "", files);
        let (mounted, _) = Mounted::load(&folder.path().join("config.yaml")).unwrap();
        let mut settings = crate::support::world::settings("http://gitlab");
        change(&mut settings);
        let active = Active::build(&settings, Some(&mounted), previous).unwrap();
        let places = places(&mounted, &active.upstream);
        Self { places, active, _folder: folder }
    }

    pub fn place(&self) -> &Place {
        &self.places[0]
    }
}

fn places(mounted: &Mounted, clients: &Arc<Clients>) -> Vec<Arc<Place>> {
    let build = |model: &duo_gateway_config::Model| {
        let spec = PlaceSpec {
            field: "models",
            identifier: &model.identifier,
            family: &model.family,
            endpoint: model.endpoint.as_deref(),
            api_key_file: model.api_key_file.as_deref(),
            connection: &model.connection,
            prompt_caching: model.prompt_caching,
            price: model.price.as_ref(),
        };
        Place::build(&spec, mounted, clients).unwrap()
    };
    mounted.config.models.iter().map(build).collect()
}

/// A call with no limits worth mentioning.
pub fn patient() -> CallOptions {
    let long = Duration::from_secs(60);
    CallOptions {
        timeouts: Timeouts { first_byte: long, overall: long },
        prompt_cache: true,
        trace: Default::default(),
    }
}

/// A conversation with a beginning that is long enough to be kept.
pub fn conversation() -> ModelRequest {
    ModelRequest {
        messages: vec![
            ChatMessage::system(format!("Be brief. {}", "These are the rules. ".repeat(900))),
            ChatMessage::user("What is a merge request?"),
            ChatMessage::assistant("A proposal to merge changes."),
            ChatMessage::user("And an issue?"),
        ],
        max_tokens: 100,
        temperature: Some(0.2),
        top_p: None,
        stop: vec!["Observation:".into()],
        fim: None,
        continue_final_message: false,
    }
}

/// A code completion as the features ask for it.
pub fn completion(family: Family) -> ModelRequest {
    let file = duo_protocol::contract::CurrentCode {
        file_name: "user.rb".into(),
        language_identifier: Some("Ruby".into()),
        content_above_cursor: "class User\n  def full_name\n    ".into(),
        content_below_cursor: "\n  end\nend\n".into(),
    };
    let input = duo_protocol::build::CodeInput { file: &file, context: &[], prompt: None };
    let request = duo_protocol::build::completion_request(&input, family);
    let expected =
        FillInMiddle { prefix: file.content_above_cursor.clone(), suffix: file.content_below_cursor.clone() };
    assert_eq!(request.fim, Some(expected));
    request
}

pub async fn complete(place: &Place, request: ModelRequest) -> Result<ModelAnswer, UpstreamFailure> {
    place.complete(&adapt(request, &place.capability), &patient()).await
}

pub async fn stream(place: &Place, request: ModelRequest) -> Result<Vec<ModelEvent>, UpstreamFailure> {
    let mut stream = place.stream(&adapt(request, &place.capability), &patient()).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event?);
    }
    Ok(events)
}
