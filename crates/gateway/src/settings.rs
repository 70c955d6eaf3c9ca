//! What the process is told by its environment and arguments: the official image's variables, so that GitLab's own
//! `docker run` line works with this program, plus the place of the mounted configuration.
//!
//! Pure: the environment comes in as a function. What the mounted configuration says wins over what is read here; the
//! two are joined in [`crate::active`]. Names and defaults of the variables: GitLab 17.10 to 19.x.

mod limits;
mod providers;

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::listen::{Limits, descriptors};
use crate::secret::Secret;
use crate::telemetry::OtelEnvironment;
use crate::tls::Ciphers;

pub use limits::ModelLimit;
pub use providers::{Mtls, Providers, Vertex};

/// Everything the process is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens.
    pub api: Listen,
    /// Where metrics and the configuration's hash are served.
    pub metrics: Listen,
    /// `AIGW_FASTAPI__TLS__*`: TLS of the API listener.
    pub tls: Tls,
    /// How much and how slow a client may be.
    pub limits: Limits,
    /// Bytes that all request bodies together may have.
    pub body_memory: usize,
    /// The mounted configuration file, if any; its folder holds the files that it names.
    pub config_file: Option<PathBuf>,
    /// `AIGW_GITLAB_URL`: issuer of the accepted tokens.
    pub gitlab_url: String,
    /// `AIGW_GITLAB_API_URL`.
    pub gitlab_api_url: String,
    /// `AIGW_CUSTOMER_PORTAL_URL`: second issuer; `None` when set to nothing, as offline instances do.
    pub customer_portal_url: Option<String>,
    /// `AIGW_CLOUD_CONNECTOR_SERVICE_NAME`: the audience tokens must name, and the issuer of the tokens made here.
    pub service_name: String,
    /// Who gets in without a token.
    pub bypass: Bypass,
    /// `AIGW_SELF_SIGNED_JWT__SIGNING_KEY`: RSA private key, PEM.
    pub signing_key: Option<Secret>,
    /// `AIGW_SELF_SIGNED_JWT__VALIDATION_KEY`: the previous signing key, PEM.
    pub validation_key: Option<Secret>,
    /// `AIGW_CUSTOM_MODELS__*`.
    pub custom_models: CustomModels,
    /// `AIGW_DUO_CHAT__*`.
    pub chat: Chat,
    /// `AIGW_LOGGING__*`.
    pub logging: Logging,
    /// `OTEL_*`.
    pub telemetry: OtelEnvironment,
    /// `AIGW_MODEL_ENGINE_LIMITS`.
    pub model_limits: Vec<ModelLimit>,
    /// `AWS_REGION`, `AWS_REGION_NAME` or `AWS_DEFAULT_REGION`.
    pub aws_region: Option<String>,
    /// `AWS_BEDROCK_RUNTIME_ENDPOINT` or `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`.
    pub bedrock_endpoint: Option<String>,
    /// What model servers are told and asked.
    pub providers: Providers,
    /// `REQUESTS_CA_BUNDLE`: certificates trusted in addition (`SSL_CERT_FILE` is read with the system's own).
    pub extra_ca_file: Option<PathBuf>,
    /// `DUO_GATEWAY_DOCS_INDEX`: the documentation index, where the mounted configuration names none.
    pub docs_index: Option<PathBuf>,
    /// Time until a terminating gateway stops accepting.
    pub drain: Duration,
    /// How often the mounted folder is looked at.
    pub config_poll: Duration,
    /// At least this long between two key refreshes that requests brought about.
    pub key_refresh_pause: Duration,
}

/// A listening address. A name is resolved when the listener is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address or name.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
}

/// `AIGW_FASTAPI__TLS__*`.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `CERT_FILE` and `KEY_FILE`, if `ENABLED`; files that the mounted configuration names count before them.
    pub files: Option<TlsFiles>,
    /// `SSL_CIPHERS`; for the mounted certificate too.
    pub ciphers: Ciphers,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// Switches that turn authentication off; for trials only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    /// `AIGW_AUTH__BYPASS_EXTERNAL`: nobody needs a token, everybody may everything.
    pub everyone: bool,
    /// `AIGW_AUTH__BYPASS_EXTERNAL_WITH_HEADER`: the same for requests with `Bypass-Auth: true`.
    pub with_header: bool,
    /// `AIGW_AUTH__BYPASS_JWT_SIGNATURE`: tokens are needed, and their claims count, whoever has signed them.
    pub signature: bool,
}

/// `AIGW_CUSTOM_MODELS__*`: models named by requests.
#[derive(Clone, Debug)]
pub struct CustomModels {
    /// Whether requests may name an endpoint and a key; only counts without a mounted configuration.
    pub enabled: bool,
    /// Ask model servers for whole answers, even where the client streams.
    pub disable_streaming: bool,
    /// Headers added to every call of an OpenAI-compatible server. Values are marked sensitive.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
}

/// `AIGW_DUO_CHAT__*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// Upper limit of an answer in tokens in place of the prompt's own.
    pub max_tokens: Option<u32>,
    /// Time for one model call of the chat in place of the general one.
    pub request_timeout: Option<Duration>,
}

/// `AIGW_LOGGING__*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Lowest level that is written.
    pub level: tracing::Level,
    /// JSON lines, or plain text for people.
    pub json: bool,
    /// File to append to in place of standard error.
    pub to_file: Option<PathBuf>,
    /// `ENABLE_REQUEST_LOGGING`: prompts and answers are logged, for all requests.
    pub requests: bool,
}

/// Longest time that can be set; beyond what clocks can add up, the program would fall over its own deadlines.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}: {problem}")]
pub struct SettingsError {
    /// Name of the environment variable.
    pub variable: String,
    /// What is wrong and the cure; never the value of a secret.
    pub problem: String,
}

impl Settings {
    /// Reads the settings. `variable` gives the value of an environment variable; empty values count as unset, but for
    /// `AIGW_CUSTOMER_PORTAL_URL`, where empty means that there is none.
    ///
    /// # Errors
    /// [`SettingsError`] for the first variable whose value cannot be used.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        config_file: Option<PathBuf>,
    ) -> Result<Self, SettingsError> {
        let env = Env(&variable);
        Ok(Self {
            api: Listen {
                host: env.text("AIGW_FASTAPI__API_HOST").unwrap_or_else(|| "0.0.0.0".to_owned()),
                port: env.parsed("AIGW_FASTAPI__API_PORT", "a port from 0 to 65535")?.unwrap_or(5052),
            },
            metrics: Listen {
                host: env.text("AIGW_FASTAPI__METRICS_HOST").unwrap_or_else(|| "0.0.0.0".to_owned()),
                port: env.parsed("AIGW_FASTAPI__METRICS_PORT", "a port from 0 to 65535")?.unwrap_or(8082),
            },
            tls: env.tls()?,
            limits: Limits::default().fitting(descriptors()),
            body_memory: crate::body::memory_for_bodies(),
            config_file: config_file.or_else(|| env.text("DUO_GATEWAY_CONFIG").map(PathBuf::from)),
            gitlab_url: env.url("AIGW_GITLAB_URL")?.unwrap_or_else(|| "https://gitlab.com".to_owned()),
            gitlab_api_url: env.url("AIGW_GITLAB_API_URL")?.unwrap_or_else(|| "https://gitlab.com/api/v4/".to_owned()),
            customer_portal_url: match variable("AIGW_CUSTOMER_PORTAL_URL") {
                None => Some("https://customers.gitlab.com".to_owned()),
                Some(_) => env.url("AIGW_CUSTOMER_PORTAL_URL")?,
            },
            service_name: env
                .text("AIGW_CLOUD_CONNECTOR_SERVICE_NAME")
                .or_else(|| env.text("CLOUD_CONNECTOR_SERVICE_NAME"))
                .unwrap_or_else(|| "gitlab-ai-gateway".to_owned()),
            bypass: Bypass {
                everyone: env.switch("AIGW_AUTH__BYPASS_EXTERNAL")?.unwrap_or(false),
                with_header: env.switch("AIGW_AUTH__BYPASS_EXTERNAL_WITH_HEADER")?.unwrap_or(false),
                signature: env.switch("AIGW_AUTH__BYPASS_JWT_SIGNATURE")?.unwrap_or(false),
            },
            signing_key: env.rsa_key("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", false)?,
            validation_key: env.rsa_key("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", true)?,
            custom_models: CustomModels {
                enabled: env.switch("AIGW_CUSTOM_MODELS__ENABLED")?.unwrap_or(true),
                disable_streaming: env.switch("AIGW_CUSTOM_MODELS__DISABLE_STREAMING")?.unwrap_or(false),
                extra_headers: env.headers("AIGW_CUSTOM_MODELS__EXTRA_HEADERS")?,
            },
            chat: Chat {
                max_tokens: env.parsed("AIGW_DUO_CHAT__MAX_TOKENS", "a whole number of tokens")?,
                request_timeout: env.seconds("AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT")?,
            },
            telemetry: OtelEnvironment::read(&variable)?,
            model_limits: limits::read(|name| env.text(name))?,
            logging: Logging {
                level: env.level("AIGW_LOGGING__LEVEL")?.unwrap_or(tracing::Level::INFO),
                json: env.switch("AIGW_LOGGING__FORMAT_JSON")?.unwrap_or(true),
                to_file: env.text("AIGW_LOGGING__TO_FILE").map(PathBuf::from),
                requests: env.switch("AIGW_LOGGING__ENABLE_REQUEST_LOGGING")?.unwrap_or(false),
            },
            // the AWS SDK for Rust knows AWS_REGION only; the official image documents AWS_REGION_NAME
            aws_region: ["AWS_REGION", "AWS_REGION_NAME", "AWS_DEFAULT_REGION"].iter().find_map(|name| env.text(name)),
            bedrock_endpoint: match env.url("AWS_BEDROCK_RUNTIME_ENDPOINT")? {
                Some(url) => Some(url),
                None => env.url("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")?,
            },
            providers: providers::read(&env)?,
            extra_ca_file: env.text("REQUESTS_CA_BUNDLE").map(PathBuf::from),
            docs_index: env.text("DUO_GATEWAY_DOCS_INDEX").map(PathBuf::from),
            drain: env.seconds("DUO_GATEWAY_DRAIN_SECONDS")?.unwrap_or(Duration::from_secs(10)),
            config_poll: Duration::from_secs(1),
            key_refresh_pause: Duration::from_secs(30),
        })
    }
}

/// Reads and checks single variables.
struct Env<'a, F: Fn(&str) -> Option<String>>(&'a F);

impl<F: Fn(&str) -> Option<String>> Env<'_, F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, SettingsError> {
        match self.text(name) {
            None => Ok(None),
            Some(value) => match value.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => refuse(name, format!("`{value}` is not {what}")),
            },
        }
    }

    /// The spellings that the official image's settings library takes.
    fn switch(&self, name: &str) -> Result<Option<bool>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(Some(true)),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(Some(false)),
            _ => refuse(name, format!("`{value}` is neither `true` nor `false`")),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>, SettingsError> {
        let Some(value) = self.parsed::<f64>(name, "a number of seconds")? else { return Ok(None) };
        match Duration::try_from_secs_f64(value) {
            Ok(duration) if duration <= LONGEST => Ok(Some(duration)),
            _ => refuse(name, format!("`{value}` is not a number of seconds from 0 to {}", LONGEST.as_secs())),
        }
    }

    fn tls(&self) -> Result<Tls, SettingsError> {
        let file = |name: &str| match self.text(name) {
            Some(path) => Ok(PathBuf::from(path)),
            None => refuse(name, "is needed where AIGW_FASTAPI__TLS__ENABLED is true: the path of a PEM file"),
        };
        let files = match self.switch("AIGW_FASTAPI__TLS__ENABLED")?.unwrap_or(false) {
            true => Some(TlsFiles {
                certificate: file("AIGW_FASTAPI__TLS__CERT_FILE")?,
                key: file("AIGW_FASTAPI__TLS__KEY_FILE")?,
            }),
            false => None,
        };
        const CIPHERS: &str = "AIGW_FASTAPI__TLS__SSL_CIPHERS";
        let ciphers = match self.text(CIPHERS).map(|list| Ciphers::parse(&list)) {
            None => Ciphers::default(),
            Some(Ok(ciphers)) => ciphers,
            Some(Err(problem)) => return refuse(CIPHERS, problem),
        };
        Ok(Tls { files, ciphers })
    }

    fn url(&self, name: &str) -> Result<Option<String>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match url::Url::parse(&value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(value)),
            // the value is not repeated: people put credentials into URLs
            _ => refuse(name, "is not an http:// or https:// URL; give for example https://gitlab.example.com"),
        }
    }

    /// A private key, or a public one where that is enough.
    fn rsa_key(&self, name: &str, public: bool) -> Result<Option<Secret>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        // a PEM in one line with \n written out is what shells and .env files make of it
        let value = value.replace("\\n", "\n");
        let usable = jsonwebtoken::EncodingKey::from_rsa_pem(value.as_bytes()).is_ok()
            || (public && jsonwebtoken::DecodingKey::from_rsa_pem(value.as_bytes()).is_ok());
        match usable {
            true => Ok(Some(Secret::new(value))),
            false => refuse(name, "is not an RSA private key in PEM; make one with `openssl genrsa 2048`"),
        }
    }

    fn headers(&self, name: &str) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(Vec::new()) };
        let Ok(map) = serde_json::from_str::<std::collections::BTreeMap<String, String>>(&value) else {
            return refuse(name, "is not a JSON object of header names and string values");
        };
        let header = |(key, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(key).ok()?, value))
        };
        match map.into_iter().map(header).collect() {
            Some(headers) => Ok(headers),
            None => refuse(name, "holds a header name or value that HTTP does not allow"),
        }
    }

    fn level(&self, name: &str) -> Result<Option<tracing::Level>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.to_ascii_uppercase().as_str() {
            "TRACE" | "NOTSET" => Ok(Some(tracing::Level::TRACE)),
            "DEBUG" => Ok(Some(tracing::Level::DEBUG)),
            "INFO" => Ok(Some(tracing::Level::INFO)),
            "WARN" | "WARNING" => Ok(Some(tracing::Level::WARN)),
            "ERROR" | "CRITICAL" | "FATAL" => Ok(Some(tracing::Level::ERROR)),
            _ => refuse(name, format!("`{value}` is none of DEBUG, INFO, WARNING, ERROR")),
        }
    }
}

fn refuse<T>(variable: &str, problem: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError { variable: variable.to_owned(), problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let pairs: std::collections::HashMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::read(|name| pairs.get(name).cloned(), None)
    }

    #[test]
    fn the_articles_docker_run_line_is_enough() {
        let settings = read(&[
            ("AIGW_GITLAB_URL", "https://gitlab.example.com"),
            ("AIGW_GITLAB_API_URL", "https://gitlab.example.com/api/v4/"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION_NAME", "eu-west-1"),
        ])
        .unwrap();
        assert_eq!(settings.gitlab_url, "https://gitlab.example.com");
        assert_eq!(settings.api, Listen { host: "0.0.0.0".into(), port: 5052 });
        assert_eq!(settings.metrics.port, 8082);
        assert_eq!(settings.aws_region.as_deref(), Some("eu-west-1"));
        assert!(settings.custom_models.enabled);
        assert_eq!(settings.bypass, Bypass::default());
    }

    #[test]
    fn an_empty_portal_url_means_that_there_is_none() {
        assert_eq!(read(&[]).unwrap().customer_portal_url.as_deref(), Some("https://customers.gitlab.com"));
        assert_eq!(read(&[("AIGW_CUSTOMER_PORTAL_URL", "")]).unwrap().customer_portal_url, None);
    }

    #[test]
    fn bad_values_are_refused_by_variable() {
        for (name, value) in [
            ("AIGW_FASTAPI__API_PORT", "http"),
            ("AIGW_FASTAPI__METRICS_PORT", "70000"),
            ("AIGW_GITLAB_URL", "gitlab.example.com"),
            ("AIGW_GITLAB_API_URL", "ftp://x"),
            ("AIGW_CUSTOMER_PORTAL_URL", "x"),
            ("AIGW_AUTH__BYPASS_EXTERNAL", "maybe"),
            ("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "not a key"),
            ("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", "-----BEGIN PUBLIC KEY-----"),
            ("AIGW_CUSTOM_MODELS__ENABLED", "2"),
            ("AIGW_CUSTOM_MODELS__EXTRA_HEADERS", "[]"),
            ("AIGW_CUSTOM_MODELS__EXTRA_HEADERS", "{\"a b\":\"c\"}"),
            ("AIGW_DUO_CHAT__MAX_TOKENS", "-1"),
            ("AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT", "-3"),
            ("AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT", "1e19"),
            ("AIGW_LOGGING__LEVEL", "loud"),
            ("AWS_BEDROCK_RUNTIME_ENDPOINT", "vpce"),
            ("AIGW_FASTAPI__TLS__ENABLED", "perhaps"),
            ("AIGW_FASTAPI__TLS__SSL_CIPHERS", "TLSv1"),
            ("AIGW_MTLS__ENABLED", "maybe"),
            ("AIGW_BEDROCK_GUARDRAIL_CONFIG", "{}"),
            ("AIGW_AUTH__BYPASS_JWT_SIGNATURE", "perhaps"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert_eq!(error.variable, name);
        }
    }

    #[test]
    fn tls_needs_both_files_and_takes_openssls_ciphers() {
        const ON: (&str, &str) = ("AIGW_FASTAPI__TLS__ENABLED", "true");
        const CERT: (&str, &str) = ("AIGW_FASTAPI__TLS__CERT_FILE", "/tls/tls.crt");
        const KEY: (&str, &str) = ("AIGW_FASTAPI__TLS__KEY_FILE", "/tls/tls.key");
        assert_eq!(read(&[ON]).unwrap_err().variable, CERT.0);
        assert_eq!(read(&[ON, CERT]).unwrap_err().variable, KEY.0);
        let ciphers = ("AIGW_FASTAPI__TLS__SSL_CIPHERS", "ECDHE-RSA-AES128-GCM-SHA256:!aNULL");
        let tls = read(&[ON, CERT, KEY, ciphers]).unwrap().tls;
        assert_eq!(tls.files.unwrap().key, PathBuf::from("/tls/tls.key"));
        assert!(tls.ciphers.names().ends_with(":ECDHE-RSA-AES128-GCM-SHA256"));
        assert!(read(&[CERT, KEY]).unwrap().tls.files.is_none(), "not switched on");
    }

    #[test]
    fn what_is_off_needs_nothing_more() {
        assert!(read(&[("AIGW_FASTAPI__TLS__ENABLED", "False"), ("AIGW_MTLS__ENABLED", "")]).is_ok());
    }

    #[test]
    fn keys_are_not_shown_by_debug_or_errors() {
        let error = read(&[("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "swordfish")]).unwrap_err();
        assert!(!error.to_string().contains("swordfish"));
        let settings = read(&[("AIGW_CUSTOM_MODELS__EXTRA_HEADERS", "{\"x-key\":\"swordfish\"}")]).unwrap();
        assert!(!format!("{settings:?}").contains("swordfish"), "{settings:?}");
    }
}
