//! The clients of all places of one configuration: made once for each different way or account, shared between places,
//! and taken over from the last configuration where nothing changed, so that connections live on.

use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue};

use super::bedrock::{self, Bedrock};
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
}

/// Makes and keeps the clients of one configuration.
pub struct Clients {
    /// What all places have in common.
    pub common: Common,
    /// The client of the common way.
    pub http: reqwest::Client,
    /// The caller of the common account.
    pub bedrock: Bedrock,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    ways: Vec<(Way, reqwest::Client)>,
    accounts: Vec<Bedrock>,
    /// Of the last configuration; whatever is not asked for again goes with [`Clients::settle`].
    spare_ways: Vec<(Way, reqwest::Client)>,
    spare_accounts: Vec<Bedrock>,
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
        }
        let http = made.http(&common.way)?;
        let bedrock = made.bedrock(common.bedrock.clone(), &common.way)?;
        Ok(Self { common, http, bedrock, made: Mutex::new(made) })
    }

    /// The client that goes a way.
    ///
    /// # Errors
    /// [`LoadError`] when it cannot be gone.
    pub fn http(&self, way: &Way) -> Result<reqwest::Client, LoadError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).http(way)
    }

    /// The caller of Bedrock with an account on a way.
    ///
    /// # Errors
    /// [`LoadError`] when the way cannot be gone.
    pub fn bedrock(&self, account: bedrock::Account, way: &Way) -> Result<Bedrock, LoadError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).bedrock(account, way)
    }

    /// All places are built: what is left of the last configuration is let go.
    pub fn settle(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.spare_ways = Vec::new();
        made.spare_accounts = Vec::new();
    }
}

impl Made {
    fn http(&mut self, way: &Way) -> Result<reqwest::Client, LoadError> {
        if let Some((_, client)) = self.ways.iter().find(|(known, _)| known == way) {
            return Ok(client.clone());
        }
        let spare = self.spare_ways.iter().find(|(known, _)| known == way).map(|(_, client)| client.clone());
        let client = spare.map_or_else(|| way.client(), Ok)?;
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
        let bedrock = bedrock::Account::default();
        let common = Common { way, extra_headers: Vec::new(), disable_streaming: false, bedrock };
        std::sync::Arc::new(Self::new(common, None).unwrap())
    }
}
