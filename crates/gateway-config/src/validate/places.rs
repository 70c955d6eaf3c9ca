//! Rules of a place: what its identifier's kind needs and knows. A setting that the kind does not know is an error: it
//! would be ignored.

use super::{flat_file, http_url, invalid};
use crate::{ConfigError, Connection, GatewayConfig};

/// A kind of model server, by the beginning of its identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bedrock,
    VertexAi,
    CustomOpenAi,
    Azure,
    OpenAi,
    Anthropic,
    BedrockMantle,
}

const KINDS: [(&str, Kind); 7] = [
    ("bedrock/", Kind::Bedrock),
    ("custom_openai/", Kind::CustomOpenAi),
    ("azure/", Kind::Azure),
    ("vertex_ai/", Kind::VertexAi),
    ("openai/", Kind::OpenAi),
    ("anthropic/", Kind::Anthropic),
    ("bedrock_mantle/", Kind::BedrockMantle),
];

/// What a model, a replica and a fallback have in common.
struct Place<'a> {
    field: String,
    identifier: &'a str,
    endpoint: Option<&'a str>,
    api_key_file: Option<&'a str>,
    connection: &'a Connection,
}

/// All places of all models.
pub(super) fn places(config: &GatewayConfig) -> Result<(), ConfigError> {
    for (at, model) in config.models.iter().enumerate() {
        let own = Place {
            field: format!("models[{at}]"),
            identifier: &model.identifier,
            endpoint: model.endpoint.as_deref(),
            api_key_file: model.api_key_file.as_deref(),
            connection: &model.connection,
        };
        let kind = own.check()?;
        if model.prompt_caching == Some(true) && !kind.keeps_prompts() {
            let problem =
                format!("has no meaning for {}…: only Bedrock, Anthropic and Vertex AI have marks", kind.prefix());
            return invalid(format!("models[{at}].promptCaching"), problem);
        }
        for (number, replica) in model.replicas.iter().enumerate() {
            let place = Place {
                field: format!("models[{at}].replicas[{number}]"),
                identifier: &model.identifier,
                endpoint: replica.endpoint.as_deref(),
                api_key_file: replica.api_key_file.as_deref(),
                connection: &replica.connection,
            };
            place.check()?;
        }
        for (number, fallback) in model.fallbacks.iter().enumerate() {
            let place = Place {
                field: format!("models[{at}].fallbacks[{number}]"),
                identifier: &fallback.identifier,
                endpoint: fallback.endpoint.as_deref(),
                api_key_file: fallback.api_key_file.as_deref(),
                connection: &fallback.connection,
            };
            place.check()?;
        }
    }
    Ok(())
}

impl Kind {
    fn prefix(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(prefix, _)| prefix)
    }

    fn keeps_prompts(self) -> bool {
        matches!(self, Self::Bedrock | Self::Anthropic | Self::VertexAi)
    }

    /// Which settings of a connection have a meaning.
    fn knows(self, setting: &str) -> bool {
        match setting {
            "region" => matches!(self, Self::Bedrock | Self::VertexAi | Self::BedrockMantle),
            "endpoint" => matches!(self, Self::Bedrock | Self::VertexAi),
            "assumeRole" => self == Self::Bedrock,
            "apiVersion" => self == Self::Azure,
            "completionApi" => matches!(self, Self::CustomOpenAi | Self::OpenAi),
            _ => true,
        }
    }
}

impl Place<'_> {
    fn check(&self) -> Result<Kind, ConfigError> {
        let kind = self.kind()?;
        match self.endpoint.filter(|endpoint| !endpoint.trim().is_empty()) {
            Some(endpoint) => http_url(self.at("endpoint"), endpoint)?,
            None if !matches!(kind, Kind::CustomOpenAi | Kind::Azure) => {}
            None => {
                let problem = format!("is needed by {}…: the model server's base URL", kind.prefix());
                return invalid(self.at("endpoint"), problem);
            }
        }
        if let Some(file) = self.api_key_file {
            if matches!(kind, Kind::Bedrock | Kind::VertexAi) {
                let problem =
                    format!("has no meaning for {}…: its credentials are those of `providers`", kind.prefix());
                return invalid(self.at("apiKeyFile"), problem);
            }
            flat_file(self.at("apiKeyFile"), file)?;
        }
        self.connection(kind)?;
        Ok(kind)
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }

    fn kind(&self) -> Result<Kind, ConfigError> {
        let Some((prefix, kind)) = KINDS.iter().find(|(prefix, _)| self.identifier.starts_with(prefix)) else {
            let known = KINDS.map(|(prefix, _)| prefix).join(", ");
            return invalid(self.at("identifier"), format!("`{}` starts with none of {known}", self.identifier));
        };
        if self.identifier.len() == prefix.len() {
            return invalid(self.at("identifier"), format!("names no model after `{prefix}`"));
        }
        Ok(*kind)
    }

    fn connection(&self, kind: Kind) -> Result<(), ConfigError> {
        let connection = self.connection;
        let at = |name: &str| self.at(&format!("connection.{name}"));
        for (name, set) in [
            ("region", connection.region.is_some()),
            ("endpoint", connection.endpoint.is_some()),
            ("assumeRole", connection.assume_role.is_some()),
            ("apiVersion", connection.api_version.is_some()),
            ("completionApi", connection.completion_api.is_some()),
        ] {
            if set && !kind.knows(name) {
                return invalid(at(name), format!("has no meaning for {}…; leave it out", kind.prefix()));
            }
        }
        if let Some(region) = &connection.region {
            region_name(at("region"), region)?;
        }
        if let Some(endpoint) = &connection.endpoint {
            http_url(at("endpoint"), endpoint)?;
        }
        if let Some(role) = &connection.assume_role {
            if !(role.role_arn.starts_with("arn:")
                && role.role_arn.contains(":iam::")
                && role.role_arn.contains(":role/"))
            {
                return invalid(at("assumeRole.roleArn"), "is not arn:aws:iam::<account>:role/<name>");
            }
            if let Some(endpoint) = &role.sts_endpoint {
                http_url(at("assumeRole.stsEndpoint"), endpoint)?;
            }
        }
        if let Some(version) = &connection.api_version
            && (version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        {
            return invalid(at("apiVersion"), "is not a version of Azure OpenAI's API such as 2024-10-21");
        }
        if let Some(files) = &connection.client_certificate {
            flat_file(at("clientCertificate.certificateFile"), &files.certificate_file)?;
            flat_file(at("clientCertificate.keyFile"), &files.key_file)?;
        }
        if let Some(file) = &connection.ca_bundle_file {
            flat_file(at("caBundleFile"), file)?;
        }
        match connection.proxy_url.as_deref().map(str::trim) {
            None | Some("") => Ok(()),
            Some(url) => http_url(at("proxyUrl"), url),
        }
    }
}

/// It becomes a part of host names.
pub(super) fn region_name(field: impl Into<String>, region: &str) -> Result<(), ConfigError> {
    if !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Ok(());
    }
    invalid(field, "is not the name of a region, such as us-east-1")
}

#[cfg(test)]
mod tests {
    use crate::GatewayConfig;

    fn read(model: &str) -> Result<GatewayConfig, String> {
        let text = format!("gitlab: {{url: http://g}}\nmodels: [{{name: a, family: f, {model}}}]");
        GatewayConfig::from_yaml(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_takes_its_own_settings() {
        for model in [
            "identifier: bedrock/m, connection: {region: eu-west-3, endpoint: 'https://vpce', assumeRole: {roleArn: 'arn:aws:iam::1:role/r', externalId: x, stsEndpoint: 'https://sts'}}",
            "identifier: bedrock/m, promptCaching: true, endpoint: 'http://bedrockselfhostedmodel.com'",
            "identifier: bedrock_mantle/m, connection: {region: eu-west-3}, apiKeyFile: k",
            "identifier: vertex_ai/gemini, connection: {region: europe-west1, endpoint: 'https://psc'}",
            "identifier: azure/d, endpoint: 'https://x', connection: {apiVersion: 2024-10-21}",
            "identifier: custom_openai/m, endpoint: 'http://v/v1', connection: {completionApi: Suffix, proxyUrl: ''}",
            "identifier: openai/gpt-4o, connection: {proxyUrl: 'http://proxy:3128', caBundleFile: ca}",
            "identifier: anthropic/claude, promptCaching: true, connection: {clientCertificate: {certificateFile: c, keyFile: k}}",
            "identifier: bedrock/m, fallbacks: [{identifier: custom_openai/m, endpoint: 'http://v'}], replicas: [{connection: {region: us-east-2}}]",
        ] {
            assert_eq!(read(model).map(|_| ()), Ok(()), "{model}");
        }
    }

    #[test]
    fn what_a_kind_does_not_know_or_cannot_be_is_named() {
        let vllm = "identifier: custom_openai/m, endpoint: 'http://v'";
        let cases = [
            (format!("{vllm}, connection: {{region: us-east-1}}"), "models[0].connection.region"),
            (format!("{vllm}, connection: {{endpoint: 'http://x'}}"), "models[0].connection.endpoint"),
            (
                format!("{vllm}, connection: {{assumeRole: {{roleArn: 'arn:aws:iam::1:role/r'}}}}"),
                "connection.assumeRole",
            ),
            (format!("{vllm}, connection: {{apiVersion: 2024-10-21}}"), "connection.apiVersion"),
            (format!("{vllm}, promptCaching: true"), "models[0].promptCaching"),
            (format!("{vllm}, connection: {{proxyUrl: 'proxy:3128'}}"), "connection.proxyUrl"),
            (format!("{vllm}, connection: {{caBundleFile: ../ca}}"), "connection.caBundleFile"),
            (
                format!("{vllm}, connection: {{clientCertificate: {{certificateFile: c, keyFile: a/b}}}}"),
                "connection.clientCertificate.keyFile",
            ),
            (format!("{vllm}, replicas: [{{endpoint: 'ftp://v'}}]"), "models[0].replicas[0].endpoint"),
            (format!("{vllm}, replicas: [{{}}]"), "models[0].replicas[0].endpoint"),
            (format!("{vllm}, fallbacks: [{{identifier: other/x}}]"), "models[0].fallbacks[0].identifier"),
            (
                format!("{vllm}, fallbacks: [{{identifier: bedrock/x, connection: {{completionApi: Chat}}}}]"),
                "models[0].fallbacks[0].connection.completionApi",
            ),
            ("identifier: bedrock/m, apiKeyFile: k".to_owned(), "models[0].apiKeyFile"),
            ("identifier: bedrock/m, connection: {region: 'x.evil.com/'}".to_owned(), "connection.region"),
            ("identifier: bedrock/m, connection: {assumeRole: {roleArn: admin}}".to_owned(), "assumeRole.roleArn"),
            (
                "identifier: bedrock/m, connection: {assumeRole: {roleArn: 'arn:aws:iam::1:role/r', stsEndpoint: x}}"
                    .to_owned(),
                "assumeRole.stsEndpoint",
            ),
            (
                "identifier: azure/d, endpoint: 'https://x', connection: {apiVersion: 'a&b'}".to_owned(),
                "connection.apiVersion",
            ),
            ("identifier: azure/d".to_owned(), "models[0].endpoint"),
            ("identifier: anthropic/".to_owned(), "models[0].identifier"),
        ];
        for (model, expected) in cases {
            let error = read(&model).expect_err(&model);
            assert!(error.contains(expected), "{model}\n→ {error}\nshould contain {expected}");
        }
    }
}
