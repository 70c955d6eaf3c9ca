//! What is in force: environment and mounted configuration joined into one immutable value, swapped as a whole, so that
//! a request sees one configuration from its beginning to its end.

mod providers;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use duo_gateway_config::{Limits, LogLevel, UndeclaredModels};

use crate::auth::{LocalKeys, Rules, Sources};
use crate::config_store::{LoadError, Mounted};
use crate::secret::Secret;
use crate::settings::{Chat, Settings};
use crate::telemetry::{self, Destination, Tracer};
use crate::tls::{Certificate, Fault};
use crate::trust::{Trust, read_bundle};
use crate::upstream::way::Way;
use crate::upstream::{Clients, Directory, Timeouts, declare};

/// Currency of prices where none is named.
const DEFAULT_CURRENCY: &str = "USD";
/// Time for one model call where nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// One configuration in force.
pub struct Active {
    /// Hash of the mounted folder; `None` without one.
    pub hash: Option<String>,
    /// Which models may be called.
    pub directory: Directory,
    /// Digest of each declared model by its name: the operator compares it with its own declaration.
    pub declared: BTreeMap<String, String>,
    /// Who gets in.
    pub rules: Rules,
    /// Where the keys of tokens come from.
    pub sources: Sources,
    /// Clients of model servers.
    pub upstream: Arc<Clients>,
    /// Times of a model call.
    pub timeouts: Timeouts,
    /// What callers may use.
    pub limits: Option<Limits>,
    /// The chat's own settings.
    pub chat: Chat,
    /// Currency of prices, ISO 4217.
    pub currency: String,
    /// Where traces go.
    pub trace_destination: Option<Destination>,
    /// Makes them; set when the configuration is put in force.
    pub tracer: Option<Arc<Tracer>>,
    /// Prompts and answers are logged, for all requests.
    pub prompt_logging: bool,
    /// Lowest level that is logged.
    pub log_level: tracing::Level,
    /// Time until a terminating gateway stops accepting.
    pub drain: Duration,
    /// The documentation index to search.
    pub docs_index: Option<PathBuf>,
    /// The API listener's certificate, if the configuration names one.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether the API listener takes plain HTTP beside TLS.
    pub accept_plain: bool,
    way: Way,
}

impl Active {
    /// Joins the two. Clients of `previous` are kept where nothing changed for them, so that connections live on.
    ///
    /// # Errors
    /// [`LoadError`], naming the file or field.
    pub fn build(settings: &Settings, mounted: Option<&Mounted>, previous: Option<&Self>) -> Result<Self, LoadError> {
        let config = mounted.map(|mounted| &mounted.config);
        let way = Way { trust: trust(settings, mounted)?, proxy: providers::proxy(config), certificate: None };
        let discovery = match previous {
            Some(old) if old.way == way => old.sources.client.clone(),
            _ => way.discovery_client()?,
        };
        let overall = seconds(config.and_then(|config| config.request_timeout_seconds)).unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = seconds(config.and_then(|config| config.first_byte_timeout_seconds)).unwrap_or(overall);
        let common = providers::common(settings, mounted, &way, previous.is_none())?;
        let clients = Arc::new(Clients::new(common, previous.map(|old| &*old.upstream))?);
        let rules = rules(settings, mounted, previous.map_or(0, |old| old.rules.epoch + 1))?;
        let directory = directory(settings, mounted, &clients, previous.map(|old| &old.directory))?;
        // nothing can be refused any more
        clients.settle();
        directory.settle();
        Ok(Self {
            hash: mounted.map(|mounted| mounted.hash.clone()),
            directory,
            declared: config
                .map(|config| config.models.iter().map(|model| (model.name.clone(), model.digest())).collect())
                .unwrap_or_default(),
            rules,
            sources: Sources { issuers: issuers(settings, mounted), client: discovery },
            upstream: clients,
            timeouts: Timeouts { first_byte, overall },
            limits: config.and_then(|config| config.limits.clone()),
            chat: settings.chat,
            currency: config.and_then(|config| config.currency.clone()).unwrap_or_else(|| DEFAULT_CURRENCY.to_owned()),
            trace_destination: trace_destination(settings, mounted)?,
            tracer: None,
            prompt_logging: settings.logging.requests || config.is_some_and(|config| config.prompt_logging),
            log_level: config.and_then(|config| config.log_level).map_or(settings.logging.level, level),
            drain: config
                .and_then(|config| config.drain_seconds)
                .map_or(settings.drain, |seconds| Duration::from_secs(seconds.into())),
            docs_index: match config.and_then(|config| config.docs_index_file.as_ref()) {
                // a plain name stands beside the configuration; an absolute path replaces the folder
                Some(file) => settings.config_file.as_deref().map(|config| config.with_file_name("").join(file)),
                None => settings.docs_index.clone(),
            },
            certificate: certificate(settings, mounted, previous)?,
            accept_plain: config.and_then(|config| config.tls.as_ref()).is_some_and(|tls| tls.accept_plain),
            way,
        })
    }

    /// The longest that one model call may take.
    pub fn longest_call(&self) -> Duration {
        self.timeouts.overall.max(self.chat.request_timeout.unwrap_or_default())
    }

    /// Whether both reach GitLab in the same way.
    pub fn same_way(&self, other: &Self) -> bool {
        self.way == other.way
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

fn directory(
    settings: &Settings,
    mounted: Option<&Mounted>,
    clients: &Arc<Clients>,
    previous: Option<&Directory>,
) -> Result<Directory, LoadError> {
    let (models, undeclared) = match mounted {
        None => (HashMap::new(), settings.custom_models.enabled),
        Some(mounted) => {
            (declare(mounted, clients, previous)?, mounted.config.undeclared_models == UndeclaredModels::Allow)
        }
    };
    let brought = previous.map(|old| old.brought.clone()).unwrap_or_default();
    Ok(Directory { models, undeclared, clients: clients.clone(), brought })
}

fn trace_destination(settings: &Settings, mounted: Option<&Mounted>) -> Result<Option<Destination>, LoadError> {
    let declared = mounted.and_then(|mounted| Some((mounted, mounted.config.tracing.as_ref()?)));
    let Some((mounted, tracing)) = declared else {
        return Ok(telemetry::destination(&settings.telemetry, None).unwrap_or_default());
    };
    let headers = tracing.headers_file.as_deref().map(|file| mounted.secret(file)).transpose()?;
    let headers = headers.as_ref().map(Secret::expose);
    telemetry::destination(&settings.telemetry, Some((tracing, headers))).map_err(|problem| LoadError::File {
        file: tracing.headers_file.clone().unwrap_or_default(),
        problem: problem.to_owned(),
    })
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

fn certificate(
    settings: &Settings,
    mounted: Option<&Mounted>,
    previous: Option<&Active>,
) -> Result<Option<Arc<Certificate>>, LoadError> {
    let Some((mounted, tls)) = mounted.and_then(|mounted| Some((mounted, mounted.config.tls.as_ref()?))) else {
        return Ok(None);
    };
    let files = &tls.certificate;
    let (chain, key) = (mounted.secret(&files.certificate_file)?, mounted.secret(&files.key_file)?);
    let previous = previous.and_then(|previous| previous.certificate.as_ref());
    let read = Certificate::read(chain.expose().as_bytes(), key.expose().as_bytes(), &settings.tls.ciphers, previous);
    read.map(Some).map_err(|fault| match fault {
        Fault::Certificate(problem) => LoadError::File { file: files.certificate_file.clone(), problem },
        Fault::Key(problem) => LoadError::File { file: files.key_file.clone(), problem },
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
