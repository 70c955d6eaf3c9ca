//! The rules of a configuration. Pure; looks at no file.

mod calls;
mod places;
mod providers;
mod signals;

use std::collections::BTreeMap;

use crate::{ConfigError, GatewayConfig};

pub(crate) fn validate(config: &GatewayConfig) -> Result<(), ConfigError> {
    http_url("gitlab.url", &config.gitlab.url)?;
    if let Some(url) = &config.gitlab.api_url {
        http_url("gitlab.apiUrl", url)?;
    }
    if let Some(url) = config.gitlab.customer_portal_url.as_deref().filter(|url| !url.is_empty()) {
        http_url("gitlab.customerPortalUrl", url)?;
    }
    for (field, file) in [
        ("caBundleFile", &config.ca_bundle_file),
        ("signingKeyFile", &config.signing_key_file),
        ("validationKeyFile", &config.validation_key_file),
    ] {
        if let Some(file) = file {
            flat_file(field, file)?;
        }
    }
    if let Some(file) = &config.docs_index_file
        && !file.starts_with('/')
    {
        flat_file("docsIndexFile", file)?;
    }
    for (field, seconds) in [
        ("requestTimeoutSeconds", config.request_timeout_seconds),
        ("firstByteTimeoutSeconds", config.first_byte_timeout_seconds),
    ] {
        if seconds == Some(0) {
            return invalid(field, "0 would fail every call; give whole seconds from 1, or leave it out");
        }
    }
    if let Some(tls) = &config.tls {
        flat_file("tls.certificate.certificateFile", &tls.certificate.certificate_file)?;
        flat_file("tls.certificate.keyFile", &tls.certificate.key_file)?;
    }
    providers::providers(config)?;
    signals::signals(config)?;
    places::places(config)?;
    calls::calls(config)?;
    models(config)
}

fn models(config: &GatewayConfig) -> Result<(), ConfigError> {
    let (mut names, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for (at, model) in config.models.iter().enumerate() {
        let field = |name: &str| format!("models[{at}].{name}");
        if model.name.trim().is_empty() {
            return invalid(field("name"), "is empty");
        }
        if model.family.trim().is_empty() {
            return invalid(field("family"), "is empty; name GitLab's family key, or `general`");
        }
        if let Some(other) = names.insert(&model.name, at) {
            return invalid(field("name"), format!("`{}` is the name of models[{other}] too", model.name));
        }
        if let Some(other) = keys.insert(model.key(), at) {
            return invalid(
                format!("models[{at}]"),
                format!(
                    "has the family, endpoint and identifier of models[{other}]: requests could not tell them apart"
                ),
            );
        }
    }
    Ok(())
}

fn http_url(field: impl Into<String>, url: &str) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace) => Ok(()),
        // the URL is not repeated: people put credentials into URLs
        _ => invalid(field, "is not an http:// or https:// URL"),
    }
}

/// Files are named relative to the folder and may not lead out of it.
fn flat_file(field: impl Into<String>, name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return invalid(field, "must be the plain name of a file in the mounted folder");
    }
    Ok(())
}

fn invalid<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid { field: field.into(), problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use crate::{Bedrock, GatewayConfig, LogLevel, Model, UndeclaredModels};

    const FULL: &str = "
gitlab: {url: https://gitlab.example.com, apiUrl: https://gitlab.example.com/api/v4/, customerPortalUrl: '', instanceId: 5cb5}
caBundleFile: ca.crt
undeclaredModels: Allow
providers: {bedrock: {region: us-east-1, endpoint: 'http://127.0.0.1:1', credentials: true}}
models:
- {name: mixtral, family: mixtral, identifier: 'bedrock/mistral.mixtral-8x7b-instruct-v0:1'}
- {name: code, family: codestral, identifier: custom_openai/codestral, endpoint: 'http://vllm:8000/v1', apiKeyFile: model-code}
requestTimeoutSeconds: 60
firstByteTimeoutSeconds: 30
signingKeyFile: signing.pem
validationKeyFile: previous.pem
logLevel: DEBUG
drainSeconds: 0
";

    #[test]
    fn a_full_configuration_is_read_and_survives_rendering() {
        let config = GatewayConfig::from_yaml(FULL).unwrap();
        assert_eq!(config.undeclared_models, UndeclaredModels::Allow);
        assert_eq!(config.log_level, Some(LogLevel::Debug));
        assert_eq!(
            config.providers.bedrock,
            Some(Bedrock {
                region: "us-east-1".into(),
                endpoint: Some("http://127.0.0.1:1".into()),
                credentials: true,
                fips: false,
                guardrail: None
            })
        );
        let again = GatewayConfig::from_yaml(&config.to_yaml().unwrap()).unwrap();
        assert_eq!(again.to_yaml().unwrap(), config.to_yaml().unwrap());
        assert_eq!(again.gitlab, config.gitlab);
        assert_eq!(again.models.len(), 2);
    }

    #[test]
    fn rendering_does_not_depend_on_the_order_of_models() {
        let config = GatewayConfig::from_yaml(FULL).unwrap();
        let mut turned = config.clone();
        turned.models.reverse();
        assert_eq!(turned.to_yaml().unwrap(), config.to_yaml().unwrap());
    }

    #[test]
    fn the_least_configuration_refuses_undeclared_models() {
        let config = GatewayConfig::from_yaml("gitlab: {url: http://g}").unwrap();
        assert_eq!(config, GatewayConfig::new("http://g"));
        assert_eq!(config.undeclared_models, UndeclaredModels::Refuse);
    }

    #[test]
    fn each_mistake_names_its_field() {
        let model = |text: &str| format!("gitlab: {{url: http://g}}\nmodels: [{{{text}}}]");
        let twice = "gitlab: {url: http://g}\nmodels:\n- {name: a, family: f, identifier: bedrock/x}\n- {name: b, family: f, identifier: bedrock/x, endpoint: 'http://e'}";
        let names = "gitlab: {url: http://g}\nmodels:\n- {name: a, family: f, identifier: bedrock/x}\n- {name: a, family: f, identifier: bedrock/y}";
        let cases = [
            ("gitlab: {}".to_owned(), "missing field `url`"),
            ("gitlab: {url: gitlab.example.com}".to_owned(), "gitlab.url"),
            ("gitlab: {url: 'https:///x'}".to_owned(), "gitlab.url"),
            ("gitlab: {url: http://g, apiUrl: x}".to_owned(), "gitlab.apiUrl"),
            ("gitlab: {url: http://g, customerPortalUrl: x}".to_owned(), "gitlab.customerPortalUrl"),
            ("gitlab: {url: http://g}\nsurprise: 1".to_owned(), "surprise"),
            ("gitlab: {url: http://g}\nundeclaredModels: Perhaps".to_owned(), "undeclaredModels"),
            ("gitlab: {url: http://g}\ncaBundleFile: ../etc/passwd".to_owned(), "caBundleFile"),
            ("gitlab: {url: http://g}\nsigningKeyFile: ..data".to_owned(), "signingKeyFile"),
            ("gitlab: {url: http://g}\nvalidationKeyFile: a/b".to_owned(), "validationKeyFile"),
            ("gitlab: {url: http://g}\ndocsIndexFile: ../docs.idx".to_owned(), "docsIndexFile"),
            ("gitlab: {url: http://g}\nrequestTimeoutSeconds: 0".to_owned(), "requestTimeoutSeconds"),
            ("gitlab: {url: http://g}\nfirstByteTimeoutSeconds: 0".to_owned(), "firstByteTimeoutSeconds"),
            ("gitlab: {url: http://g}\nlogLevel: loud".to_owned(), "logLevel"),
            ("gitlab: {url: http://g}\nproviders: {bedrock: {region: ''}}".to_owned(), "providers.bedrock.region"),
            (
                "gitlab: {url: http://g}\nproviders: {bedrock: {region: r, endpoint: e}}".to_owned(),
                "providers.bedrock.endpoint",
            ),
            (model("name: a, family: f, identifier: bedrock/"), "models[0].identifier"),
            (model("name: a, family: f, identifier: other/x"), "models[0].identifier"),
            (model("name: a, family: '', identifier: bedrock/x"), "models[0].family"),
            (model("name: '', family: f, identifier: bedrock/x"), "models[0].name"),
            (model("name: a, family: f, identifier: custom_openai/x"), "models[0].endpoint"),
            (model("name: a, family: f, identifier: azure/x, endpoint: ftp://h"), "models[0].endpoint"),
            (
                model("name: a, family: f, identifier: azure/x, endpoint: 'http://e', apiKeyFile: /k"),
                "models[0].apiKeyFile",
            ),
            (model("name: a, family: f"), "models[0]: missing field `identifier`"),
            (twice.to_owned(), "models[1]: has the family"),
            (names.to_owned(), "models[1].name"),
        ];
        for (text, expected) in cases {
            let error = GatewayConfig::from_yaml(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}\n→ {error}\nshould contain {expected}");
            assert!(error.starts_with("config.yaml: "), "{error}");
        }
    }

    #[test]
    fn models_are_found_by_their_key() {
        let model = Model::new("m", "mixtral", "bedrock/m");
        assert_eq!(model.key(), crate::model_key("mixtral", Some("http://bedrockselfhostedmodel.com"), "bedrock/m"));
    }
}
