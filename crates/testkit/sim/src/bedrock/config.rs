//! Settings of the simulated Bedrock.

use std::{net::SocketAddr, str::FromStr};

use crate::upstream::Secret;

/// The access key id that is accepted unless others are configured (AWS's documentation example).
pub const EXAMPLE_ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
/// The secret of [`EXAMPLE_ACCESS_KEY_ID`].
pub const EXAMPLE_SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// An accepted AWS key. As text: `ID:SECRET` or `ID:SECRET:SESSION_TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// The secret.
    pub secret: Secret,
    /// The session token that must come along (temporary credentials); without one none may come.
    pub session_token: Option<Secret>,
}

impl AccessKey {
    /// A long-term key.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: Secret::new(secret), session_token: None }
    }

    /// A temporary key.
    pub fn temporary(id: impl Into<String>, secret: impl Into<String>, token: impl Into<String>) -> Self {
        Self { session_token: Some(Secret::new(token)), ..Self::new(id, secret) }
    }

    /// The key that is accepted unless others are configured.
    pub fn example() -> Self {
        Self::new(EXAMPLE_ACCESS_KEY_ID, EXAMPLE_SECRET_ACCESS_KEY)
    }
}

impl FromStr for AccessKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.splitn(3, ':').collect::<Vec<_>>()[..] {
            [id, secret] if !id.is_empty() && !secret.is_empty() => Ok(Self::new(id, secret)),
            [id, secret, token] if !id.is_empty() && !secret.is_empty() => Ok(Self::temporary(id, secret, token)),
            // the text holds a secret: it is not repeated
            _ => Err("an access key is written ID:SECRET or ID:SECRET:SESSION_TOKEN".to_owned()),
        }
    }
}

/// Settings of the simulated Bedrock; the default accepts [`AccessKey::example`] in us-east-1 for every model.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The one region it plays: signatures for another are refused, profiles must cover it.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// Accepted AWS keys, ID:SECRET[:SESSION_TOKEN]; repeatable. Default: the example key of AWS's documentation.
    #[arg(
        long = "access-key",
        env = "DUO_SIM_BEDROCK_ACCESS_KEYS",
        value_delimiter = ',',
        hide_env_values = true,
        value_name = "KEY",
        default_value = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        hide_default_value = true
    )]
    pub access_keys: Vec<AccessKey>,
    /// Accepted Bedrock API keys (Authorization: Bearer); repeatable.
    #[arg(
        long = "bearer-token",
        env = "DUO_SIM_BEDROCK_BEARER_TOKENS",
        value_delimiter = ',',
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub bearer_tokens: Vec<Secret>,
    /// Models the account has access to, as base model ids; repeatable. Default: all.
    #[arg(long = "grant", value_name = "MODEL")]
    pub granted_models: Vec<String>,
    /// Application inference profiles, PROFILE_ID=MODEL_ID; repeatable.
    #[arg(long = "application-profile", value_parser = parse_pair, value_name = "ID=MODEL")]
    pub application_profiles: Vec<(String, String)>,
    /// Milliseconds before each piece of an answer; a whole answer takes as long as its pieces would.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub chunk_delay_ms: u64,
    /// How far a signature's time may be off, in seconds (AWS: five minutes).
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub clock_skew: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            region: "us-east-1".to_owned(),
            access_keys: vec![AccessKey::example()],
            bearer_tokens: Vec::new(),
            granted_models: Vec::new(),
            application_profiles: Vec::new(),
            chunk_delay_ms: 0,
            clock_skew: 300,
        }
    }
}

/// A change of settings while it runs, as JSON to `PATCH /_sim/config`: what is left out stays.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    access_keys: Option<Vec<Secret>>,
    bearer_tokens: Option<Vec<Secret>>,
    granted_models: Option<Vec<String>>,
    chunk_delay_ms: Option<u64>,
}

impl Patch {
    /// Applies the change, or nothing of it when a key is malformed.
    pub(super) fn apply(self, config: &mut Config) -> Result<(), String> {
        if let Some(keys) = self.access_keys {
            config.access_keys = keys.iter().map(|key| key.reveal().parse()).collect::<Result<_, _>>()?;
        }
        if let Some(tokens) = self.bearer_tokens {
            config.bearer_tokens = tokens;
        }
        if let Some(models) = self.granted_models {
            config.granted_models = models;
        }
        if let Some(delay) = self.chunk_delay_ms {
            config.chunk_delay_ms = delay;
        }
        Ok(())
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, model)) if !id.is_empty() && !model.is_empty() => Ok((id.to_owned(), model.to_owned())),
        _ => Err("an application inference profile is written PROFILE_ID=MODEL_ID".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_command_lines_defaults_are_the_librarys() {
        let parsed = Program::parse_from(["sim"]).config;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
        assert_eq!(parsed.access_keys, Config::default().access_keys);
    }

    #[test]
    fn keys_are_read_with_and_without_a_session_token_and_never_printed() {
        assert_eq!("A:b/c+d".parse(), Ok(AccessKey::new("A", "b/c+d")));
        assert_eq!("A:b:t:1".parse(), Ok(AccessKey::temporary("A", "b", "t:1")));
        for bad in ["topsecret", "A:", ":topsecret"] {
            let error = bad.parse::<AccessKey>().unwrap_err();
            assert!(!error.contains("topsecret"), "{error}");
        }
        let key = AccessKey::temporary("A", "topsecret", "toptoken");
        assert!(!format!("{key:?}").contains("top"));
    }
}
