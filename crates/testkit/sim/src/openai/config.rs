//! Settings of the simulated OpenAI-compatible server.

use std::net::SocketAddr;

use crate::upstream::Secret;

/// Settings; the default serves the model `duo-sim` without a key, as vLLM does.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Names of the served models (Azure: deployments); repeatable.
    #[arg(long = "served-model-name", default_value = "duo-sim", value_name = "NAME")]
    pub served_model_names: Vec<String>,
    /// Accepted API keys; repeatable. Without any, vLLM asks for none and Azure accepts none.
    #[arg(
        long = "api-key",
        env = "DUO_SIM_OPENAI_API_KEYS",
        value_delimiter = ',',
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub api_keys: Vec<Secret>,
    /// Play Azure OpenAI instead of vLLM: its paths, headers and error bodies.
    #[arg(long)]
    pub azure: bool,
    /// The context window in tokens; prompt and answer together must fit.
    #[arg(long, default_value_t = 32_768, value_name = "TOKENS")]
    pub max_model_len: usize,
    /// Milliseconds before each piece of an answer; a whole answer takes as long as its pieces would.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub chunk_delay_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            served_model_names: vec!["duo-sim".to_owned()],
            api_keys: Vec::new(),
            azure: false,
            max_model_len: 32_768,
            chunk_delay_ms: 0,
        }
    }
}

/// A change of settings while it runs, as JSON to `PATCH /_sim/config`: what is left out stays.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    api_keys: Option<Vec<Secret>>,
    served_model_names: Option<Vec<String>>,
    chunk_delay_ms: Option<u64>,
}

impl Patch {
    /// Applies the change.
    pub(super) fn apply(self, config: &mut Config) {
        if let Some(keys) = self.api_keys {
            config.api_keys = keys;
        }
        if let Some(names) = self.served_model_names {
            config.served_model_names = names;
        }
        if let Some(delay) = self.chunk_delay_ms {
            config.chunk_delay_ms = delay;
        }
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
        assert_eq!(format!("{:?}", Program::parse_from(["sim"]).config), format!("{:?}", Config::default()));
    }

    #[test]
    fn api_keys_are_never_printed() {
        let config = Program::parse_from(["sim", "--api-key", "topsecret", "--azure"]).config;
        assert!(config.azure && config.api_keys[0].matches("topsecret"));
        assert!(!format!("{config:?}").contains("topsecret"));
    }
}
