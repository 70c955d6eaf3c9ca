//! The clients of all places of one configuration: made once for each different way or account, shared between places,
//! and taken over from the last configuration where nothing changed, so that connections live on.

use std::sync::{Arc, Mutex, PoisonError};

use duo_gateway_config::Guardrail;
use http::{HeaderName, HeaderValue};

use super::bedrock::{self, Bedrock};
use super::caller::Caller;
use super::google::{self, Tokens};
use super::way::Way;
use crate::config_store::LoadError;

/// What all places have in common. Settings of a place come on top of it.
#[derive(Clone)]
pub struct Common {
    /// The way where a place has none of its own.
    pub way: Way,
    /// Added to each call of an OpenAI-compatible server.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// Ask for whole answers even where the client streams.
    pub disable_streaming: bool,
    /// AWS Bedrock where a place says nothing else.
    pub bedrock: bedrock::Account,
    /// A guardrail for every call of Bedrock.
    pub guardrail: Option<Guardrail>,
    /// Version of Azure's deployments API where a place names none; `None`: the versionless API.
    pub azure_api_version: Option<String>,
    /// Google Vertex AI, where it has settings.
    pub vertex: Option<Vertex>,
}

/// Google Vertex AI: where, and with whose credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Google Cloud project.
    pub project: String,
    /// Location where a place names none.
    pub location: String,
    /// In place of the location's public address.
    pub endpoint: Option<String>,
    /// Where access tokens come from.
    pub source: google::Source,
}

/// Makes and keeps the clients of one configuration.
pub struct Clients {
    /// What all places have in common.
    pub common: Common,
    /// The client of the common way.
    pub http: Caller,
    /// The caller of the common account.
    pub bedrock: Bedrock,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    ways: Vec<(Way, Caller)>,
    accounts: Vec<Bedrock>,
    google: Vec<(Way, Arc<Tokens>)>,
    /// Of the last configuration; whatever is not asked for again goes with [`Clients::settle`].
    spare_ways: Vec<(Way, Caller)>,
    spare_accounts: Vec<Bedrock>,
    spare_google: Vec<(Way, Arc<Tokens>)>,
}

impl Clients {
    /// For a configuration that follows the one of `previous`.
    ///
    /// # Errors
    /// [`LoadError`] when the common way cannot be gone.
    pub fn new(common: Common, previous: Option<&Self>) -> Result<Self, LoadError> {
        let mut made = Made::default();
        if let Some(previous) = previous {
            let old = previous.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.spare_ways.clone_from(&old.ways);
            made.spare_accounts.clone_from(&old.accounts);
            made.spare_google.clone_from(&old.google);
        }
        let http = made.http(&common.way)?;
        let bedrock = made.bedrock(common.bedrock.clone(), &common.way)?;
        Ok(Self { common, http, bedrock, made: Mutex::new(made) })
    }

    /// The client that goes a way.
    ///
    /// # Errors
    /// [`LoadError`] when it cannot be gone.
    pub fn http(&self, way: &Way) -> Result<Caller, LoadError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).http(way)
    }

    /// The caller of Bedrock with an account on a way.
    ///
    /// # Errors
    /// [`LoadError`] when the way cannot be gone.
    pub fn bedrock(&self, account: bedrock::Account, way: &Way) -> Result<Bedrock, LoadError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).bedrock(account, way)
    }

    /// Google's access tokens, fetched over the client that goes `way`.
    pub(super) fn google(&self, way: &Way, client: &reqwest::Client) -> Arc<Tokens> {
        let source = self.common.vertex.as_ref().map_or_else(google::Source::metadata, |vertex| vertex.source.clone());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(known, tokens): &&(Way, Arc<Tokens>)| known == way && *tokens.source() == source;
        if let Some((_, tokens)) = made.google.iter().find(same) {
            return tokens.clone();
        }
        let spare = made.spare_google.iter().find(same).map(|(_, tokens)| tokens.clone());
        let tokens = spare.unwrap_or_else(|| Arc::new(Tokens::new(source, client.clone())));
        made.google.push((way.clone(), tokens.clone()));
        tokens
    }

    /// All places are built: what is left of the last configuration is let go.
    pub fn settle(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.spare_ways = Vec::new();
        made.spare_accounts = Vec::new();
        made.spare_google = Vec::new();
    }
}

impl Made {
    fn http(&mut self, way: &Way) -> Result<Caller, LoadError> {
        if let Some((_, client)) = self.ways.iter().find(|(known, _)| known == way) {
            return Ok(client.clone());
        }
        let spare = self.spare_ways.iter().find(|(known, _)| known == way).map(|(_, client)| client.clone());
        let client = spare.map_or_else(|| way.caller(), Ok)?;
        self.ways.push((way.clone(), client.clone()));
        Ok(client)
    }

    fn bedrock(&mut self, account: bedrock::Account, way: &Way) -> Result<Bedrock, LoadError> {
        let same = |known: &&Bedrock| known.is(&account, way);
        if let Some(known) = self.accounts.iter().find(same) {
            return Ok(known.clone());
        }
        let made = match self.spare_accounts.iter().find(same) {
            Some(spare) => spare.clone(),
            None => Bedrock::new(account, way.clone(), self.http(way)?),
        };
        self.accounts.push(made.clone());
        Ok(made)
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Clients {
    /// Clients that reach nobody in particular.
    pub(crate) fn for_tests() -> std::sync::Arc<Self> {
        let way = Way {
            trust: crate::trust::Trust::gather(&[]).unwrap(),
            proxy: super::way::ProxyChoice::None,
            certificate: None,
        };
        let common = Common {
            way,
            extra_headers: Vec::new(),
            disable_streaming: false,
            bedrock: bedrock::Account::default(),
            guardrail: None,
            azure_api_version: None,
            vertex: None,
        };
        std::sync::Arc::new(Self::new(common, None).unwrap())
    }
}
