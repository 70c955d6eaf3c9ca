//! What all model servers have in common, from environment and mounted configuration.

use duo_gateway_config::GatewayConfig;

use crate::config_store::{LoadError, Mounted};
use crate::secret::Secret;
use crate::settings::{Mtls, Settings};
use crate::trust::read_bundle;
use crate::upstream::bedrock::{Account, Credentials};
use crate::upstream::google::Source;
use crate::upstream::way::{ClientCertificate, ProxyChoice, Way};
use crate::upstream::{Common, Vertex};

/// `way` is the one to GitLab; model servers may ask for a client certificate on top. `first`: there is no configuration in
/// force that could be kept.
pub(super) fn common(
    settings: &Settings,
    mounted: Option<&Mounted>,
    way: &Way,
    first: bool,
) -> Result<Common, LoadError> {
    let providers = mounted.map(|mounted| &mounted.config.providers);
    let declared = providers.and_then(|providers| providers.bedrock.as_ref());
    let guardrail = declared.and_then(|bedrock| bedrock.guardrail.clone());
    Ok(Common {
        way: match &settings.providers.mtls {
            Some(mtls) => with_certificate(way, mtls)?,
            None => way.clone(),
        },
        extra_headers: settings.custom_models.extra_headers.clone(),
        disable_streaming: settings.custom_models.disable_streaming,
        bedrock: bedrock(settings, mounted)?,
        guardrail: guardrail.or_else(|| settings.providers.guardrail.clone()),
        azure_api_version: settings.providers.azure_api_version.clone().filter(|_| mounted.is_none()),
        vertex: vertex(settings, mounted, first)?,
    })
}

fn file(path: &std::path::Path) -> Result<Secret, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    Ok(Secret::new(text))
}

fn with_certificate(way: &Way, mtls: &Mtls) -> Result<Way, LoadError> {
    let problem = |problem| LoadError::File { file: "AIGW_MTLS__CA_BUNDLE".to_owned(), problem };
    let mut way = way.clone();
    if let Some(path) = &mtls.ca_bundle {
        let pem = read_bundle(path).map_err(problem)?;
        way.trust = way.trust.with(&[(&path.display().to_string(), &pem)]).map_err(problem)?;
    }
    let (certificate, mut key) = (file(&mtls.certificate)?, file(&mtls.key)?);
    if let Some(password) = &mtls.password {
        key = crate::encrypted_key::decrypted(&key, password)
            .map_err(|problem| LoadError::File { file: "AIGW_MTLS__KEY_FILE".to_owned(), problem })?;
    }
    way.certificate =
        Some(ClientCertificate::read(&certificate, &key, ("AIGW_MTLS__CERT_FILE", "AIGW_MTLS__KEY_FILE"))?);
    Ok(way)
}

pub(super) fn proxy(config: Option<&GatewayConfig>) -> ProxyChoice {
    let Some(proxy) = config.and_then(|config| config.proxy.as_ref()) else { return ProxyChoice::Environment };
    let url = |url: &Option<String>| url.as_deref().map(str::trim).filter(|url| !url.is_empty()).map(Secret::new);
    ProxyChoice::Rules {
        https: url(&proxy.https_proxy),
        http: url(&proxy.http_proxy),
        except: proxy.no_proxy.join(","),
    }
}

fn bedrock(settings: &Settings, mounted: Option<&Mounted>) -> Result<Account, LoadError> {
    let mut account = Account {
        region: settings.aws_region.clone(),
        endpoint: settings.bedrock_endpoint.clone(),
        ..Account::default()
    };
    let declared = mounted.and_then(|mounted| Some((mounted, mounted.config.providers.bedrock.as_ref()?)));
    if let Some((mounted, bedrock)) = declared {
        account.region = Some(bedrock.region.clone());
        // the environment's endpoint is no FIPS one
        let own = if bedrock.fips { None } else { account.endpoint };
        account.endpoint = bedrock.endpoint.clone().or(own);
        account.fips = bedrock.fips;
        if bedrock.credentials {
            account.credentials = credentials(mounted)?;
        }
    }
    Ok(account)
}

/// The AWS variables as files: a bearer key alone, or an access key.
fn credentials(mounted: &Mounted) -> Result<Credentials, LoadError> {
    if let Some(key) = mounted.optional_secret("AWS_BEARER_TOKEN_BEDROCK")? {
        return Ok(Credentials::Bearer(key));
    }
    Ok(Credentials::Keys {
        id: mounted.secret("AWS_ACCESS_KEY_ID")?,
        secret: mounted.secret("AWS_SECRET_ACCESS_KEY")?,
        session: mounted.optional_secret("AWS_SESSION_TOKEN")?,
    })
}

fn vertex(settings: &Settings, mounted: Option<&Mounted>, first: bool) -> Result<Option<Vertex>, LoadError> {
    let metadata = || match &settings.providers.gce_metadata_host {
        Some(host) => Source::Metadata(host.clone()),
        None => Source::metadata(),
    };
    let key = |file: &str, key: Secret| match Source::check(&key) {
        Ok(project) => Ok((Source::Key(key), project)),
        Err(problem) => Err(LoadError::File { file: file.to_owned(), problem }),
    };
    let declared = mounted.and_then(|mounted| Some((mounted, mounted.config.providers.vertex_ai.as_ref()?)));
    if let Some((mounted, declared)) = declared {
        let source = match &declared.credentials_file {
            Some(file) => match (key(file, mounted.secret(file)?), first) {
                (Ok((source, _)), _) => source,
                // Only its own models fail, each call with this problem; not to start would take all others with them.
                (Err(problem), true) => {
                    tracing::error!(%problem, "models on Vertex AI cannot be called");
                    Source::Key(mounted.secret(file)?)
                }
                (Err(problem), false) => return Err(problem),
            },
            None => metadata(),
        };
        return Ok(Some(Vertex {
            project: declared.project.clone(),
            location: declared.location.clone(),
            endpoint: declared.endpoint.clone(),
            source,
        }));
    }
    let Some(named) = &settings.providers.vertex else { return Ok(None) };
    let (source, project) = match &named.credentials {
        Some(path) => key("GOOGLE_APPLICATION_CREDENTIALS", file(path)?)?,
        None => (metadata(), None),
    };
    let Some(project) = named.project.clone().or(project) else {
        let problem = "the key file names no project; set VERTEXAI_PROJECT".to_owned();
        return Err(LoadError::File { file: "GOOGLE_APPLICATION_CREDENTIALS".to_owned(), problem });
    };
    Ok(Some(Vertex { project, location: named.location.clone(), endpoint: None, source }))
}
