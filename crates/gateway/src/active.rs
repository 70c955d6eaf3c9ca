//! What is in force: environment and mounted configuration joined into one immutable value, swapped as a whole, so that
//! a request sees one configuration from its beginning to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use duo_gateway_config::{Bedrock as BedrockConfig, LogLevel, UndeclaredModels};
use duo_protocol::family::Family;
use duo_protocol::identifier::Identifier;

use crate::auth::{LocalKeys, Rules, Sources};
use crate::config_store::{LoadError, Mounted};
use crate::settings::{Chat, Settings};
use crate::trust::{Trust, read_bundle};
use crate::upstream::bedrock::{Bedrock, Credentials, Options};
use crate::upstream::{Clients, Declared, Directory, Place, Timeouts};

/// Time for one model call where nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections are let go before the server does it: uvicorn, which vLLM runs on, closes them after 5 s, and a
/// request that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(4);
/// No connection to a model server or to GitLab within this time: it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One configuration in force.
pub struct Active {
    /// Hash of the mounted folder; `None` without one.
    pub hash: Option<String>,
    /// Which models may be called.
    pub directory: Directory,
    /// Who gets in.
    pub rules: Rules,
    /// Where the keys of tokens come from.
    pub sources: Sources,
    /// Clients of model servers.
    pub upstream: Arc<Clients>,
    /// Times of a model call.
    pub timeouts: Timeouts,
    /// The chat's own settings.
    pub chat: Chat,
    /// Lowest level that is logged.
    pub log_level: tracing::Level,
    /// Time until a terminating gateway stops accepting.
    pub drain: Duration,
    trust: Trust,
}

impl Active {
    /// Joins the two. Clients of `previous` are kept where nothing changed for them, so that connections live on.
    ///
    /// # Errors
    /// [`LoadError`], naming the file or field.
    pub fn build(settings: &Settings, mounted: Option<&Mounted>, previous: Option<&Self>) -> Result<Self, LoadError> {
        let config = mounted.map(|mounted| &mounted.config);
        let trust = trust(settings, mounted)?;
        let (http, discovery) = match previous {
            Some(old) if old.trust == trust => (old.upstream.http.clone(), old.sources.client.clone()),
            _ => (client(&trust, false)?, client(&trust, true)?),
        };
        let options = bedrock(settings, mounted, &trust)?;
        let bedrock = match previous {
            Some(old) if *old.upstream.bedrock.options() == options => old.upstream.bedrock.clone(),
            _ => Bedrock::new(options),
        };
        let overall = seconds(config.and_then(|config| config.request_timeout_seconds)).unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = seconds(config.and_then(|config| config.first_byte_timeout_seconds)).unwrap_or(overall);
        let clients = Arc::new(Clients {
            http,
            extra_headers: settings.custom_models.extra_headers.clone(),
            bedrock,
            disable_streaming: settings.custom_models.disable_streaming,
        });
        Ok(Self {
            hash: mounted.map(|mounted| mounted.hash.clone()),
            directory: directory(settings, mounted, &clients)?,
            rules: rules(settings, mounted, previous.map_or(0, |old| old.rules.epoch + 1))?,
            sources: Sources { issuers: issuers(settings, mounted), client: discovery },
            upstream: clients,
            timeouts: Timeouts { first_byte, overall },
            chat: settings.chat,
            log_level: config.and_then(|config| config.log_level).map_or(settings.logging.level, level),
            drain: config
                .and_then(|config| config.drain_seconds)
                .map_or(settings.drain, |seconds| Duration::from_secs(seconds.into())),
            trust,
        })
    }

    /// The longest that one model call may take.
    pub fn longest_call(&self) -> Duration {
        self.timeouts.overall.max(self.chat.request_timeout.unwrap_or_default())
    }

    /// Whether both trust the same certificate authorities.
    pub fn same_trust(&self, other: &Self) -> bool {
        self.trust == other.trust
    }
}

fn seconds(value: Option<u32>) -> Option<Duration> {
    value.map(|seconds| Duration::from_secs(seconds.into()))
}

fn level(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warning => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    }
}

fn directory(settings: &Settings, mounted: Option<&Mounted>, clients: &Arc<Clients>) -> Result<Directory, LoadError> {
    let clients = clients.clone();
    let Some(mounted) = mounted else {
        return Ok(Directory { models: HashMap::new(), undeclared: settings.custom_models.enabled, clients });
    };
    let mut models = HashMap::new();
    for (at, model) in mounted.config.models.iter().enumerate() {
        let refuse = |field: &str, problem: String| duo_gateway_config::ConfigError::Invalid {
            field: format!("models[{at}].{field}"),
            problem,
        };
        let family = Family::parse(&model.family).map_err(|invalid| refuse("family", invalid.summary()))?;
        let identifier =
            Identifier::parse(&model.identifier).map_err(|invalid| refuse("identifier", invalid.summary()))?;
        let endpoint = model.endpoint.as_deref().and_then(duo_gateway_config::normal_endpoint);
        let api_key = model.api_key_file.as_deref().map(|file| mounted.secret(file)).transpose()?;
        let place = Arc::new(Place::new(identifier, family, endpoint, api_key, clients.clone()));
        models.insert(model.key(), Arc::new(Declared { name: model.name.as_str().into(), place }));
    }
    Ok(Directory { models, undeclared: mounted.config.undeclared_models == UndeclaredModels::Allow, clients })
}

fn rules(settings: &Settings, mounted: Option<&Mounted>, epoch: u64) -> Result<Rules, LoadError> {
    let mut signing = settings.signing_key.clone();
    let mut validation = settings.validation_key.clone();
    let mut named = "AIGW_SELF_SIGNED_JWT__*";
    if let Some(mounted) = mounted {
        if let Some(file) = &mounted.config.signing_key_file {
            signing = Some(mounted.secret(file)?);
            // the environment's would belong to another signing key
            validation = None;
            named = file;
        }
        if let Some(file) = &mounted.config.validation_key_file {
            validation = Some(mounted.secret(file)?);
        }
    }
    let local = LocalKeys::read(signing.as_ref(), validation.as_ref())
        .map_err(|problem| LoadError::File { file: named.to_owned(), problem: problem.to_owned() })?;
    Ok(Rules {
        epoch,
        service_name: settings.service_name.clone(),
        bypass: settings.bypass,
        instance_id: mounted.and_then(|mounted| mounted.config.gitlab.instance_id.clone()).filter(|id| !id.is_empty()),
        local,
    })
}

fn issuers(settings: &Settings, mounted: Option<&Mounted>) -> Vec<String> {
    let (gitlab, portal) = match mounted {
        Some(mounted) => (&mounted.config.gitlab.url, mounted.config.gitlab.customer_portal_url.clone()),
        None => (&settings.gitlab_url, settings.customer_portal_url.clone()),
    };
    let portal = portal.filter(|portal| !portal.trim().is_empty());
    [Some(gitlab.clone()), portal].into_iter().flatten().collect()
}

fn trust(settings: &Settings, mounted: Option<&Mounted>) -> Result<Trust, LoadError> {
    let mut bundles: Vec<(String, Vec<u8>)> = Vec::new();
    let problem = |file: &str, problem: String| LoadError::File { file: file.to_owned(), problem };
    if let Some(path) = &settings.extra_ca_file {
        bundles
            .push((path.display().to_string(), read_bundle(path).map_err(|text| problem("REQUESTS_CA_BUNDLE", text))?));
    }
    if let Some(mounted) = mounted
        && let Some(file) = &mounted.config.ca_bundle_file
    {
        bundles.push((file.clone(), mounted.secret(file)?.expose().as_bytes().to_vec()));
    }
    let bundles: Vec<(&str, &[u8])> = bundles.iter().map(|(name, pem)| (name.as_str(), pem.as_slice())).collect();
    Trust::gather(&bundles).map_err(|text| problem("certificates", text))
}

/// Redirects are followed for key discovery only, and only on the same host: a model server must not send a request
/// with its key elsewhere.
fn client(trust: &Trust, discovery: bool) -> Result<reqwest::Client, LoadError> {
    let redirects = if discovery {
        reqwest::redirect::Policy::custom(|attempt| {
            let from = attempt.previous().last().and_then(reqwest::Url::host_str);
            if attempt.previous().len() > 3 || from != attempt.url().host_str() {
                attempt.stop()
            } else {
                attempt.follow()
            }
        })
    } else {
        reqwest::redirect::Policy::none()
    };
    reqwest::Client::builder()
        .tls_certs_only(trust.certificates())
        .redirect(redirects)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("duo-gateway/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| LoadError::File { file: "TLS".to_owned(), problem: crate::upstream::innermost(&error) })
}

fn bedrock(settings: &Settings, mounted: Option<&Mounted>, trust: &Trust) -> Result<Options, LoadError> {
    let mut options = Options {
        region: settings.aws_region.clone(),
        endpoint: settings.bedrock_endpoint.clone(),
        credentials: Credentials::Chain,
        trust: trust.clone(),
    };
    let declared = mounted.and_then(|mounted| Some((mounted, mounted.config.providers.bedrock.as_ref()?)));
    if let Some((mounted, BedrockConfig { region, endpoint, credentials, .. })) = declared {
        options.region = Some(region.clone());
        options.endpoint = endpoint.clone().or(options.endpoint);
        if *credentials {
            options.credentials = mounted_credentials(mounted)?;
        }
    }
    Ok(options)
}

/// The AWS variables as files: a bearer key alone, or an access key.
fn mounted_credentials(mounted: &Mounted) -> Result<Credentials, LoadError> {
    if let Some(key) = mounted.optional_secret("AWS_BEARER_TOKEN_BEDROCK")? {
        return Ok(Credentials::Bearer(key));
    }
    Ok(Credentials::Keys {
        id: mounted.secret("AWS_ACCESS_KEY_ID")?,
        secret: mounted.secret("AWS_SECRET_ACCESS_KEY")?,
        session: mounted.optional_secret("AWS_SESSION_TOKEN")?,
    })
}
