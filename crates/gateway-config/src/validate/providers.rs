//! Rules of the model platforms' common settings and of the proxy.

use super::places::region_name;
use super::{flat_file, http_url, invalid};
use crate::{ConfigError, GatewayConfig, Guardrail};

pub(super) fn providers(config: &GatewayConfig) -> Result<(), ConfigError> {
    if let Some(bedrock) = &config.providers.bedrock {
        if bedrock.region.trim().is_empty() {
            return invalid("providers.bedrock.region", "is empty; name an AWS region such as us-east-1");
        }
        region_name("providers.bedrock.region", &bedrock.region)?;
        if let Some(endpoint) = &bedrock.endpoint {
            http_url("providers.bedrock.endpoint", endpoint)?;
            if bedrock.fips {
                let problem = "contradicts `endpoint`, which names a host itself; leave one of the two out";
                return invalid("providers.bedrock.fips", problem);
            }
        }
        if let Some(guardrail) = &bedrock.guardrail {
            self::guardrail(guardrail)?;
        }
    }
    if let Some(vertex) = &config.providers.vertex_ai {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if vertex.project.is_empty() || !vertex.project.bytes().all(plain) {
            return invalid("providers.vertexAi.project", "is not the id of a Google Cloud project");
        }
        region_name("providers.vertexAi.location", &vertex.location)?;
        if let Some(endpoint) = &vertex.endpoint {
            http_url("providers.vertexAi.endpoint", endpoint)?;
        }
        if let Some(file) = &vertex.credentials_file {
            flat_file("providers.vertexAi.credentialsFile", file)?;
        }
    }
    let Some(proxy) = &config.proxy else { return Ok(()) };
    for (field, url) in [("proxy.httpsProxy", &proxy.https_proxy), ("proxy.httpProxy", &proxy.http_proxy)] {
        if let Some(url) = url.as_deref().filter(|url| !url.is_empty()) {
            http_url(field, url)?;
        }
    }
    for (at, host) in proxy.no_proxy.iter().enumerate() {
        if host.is_empty() || host.contains(|c: char| c == ',' || c.is_whitespace()) {
            return invalid(format!("proxy.noProxy[{at}]"), "is not one host, domain, address or CIDR");
        }
    }
    Ok(())
}

fn guardrail(guardrail: &Guardrail) -> Result<(), ConfigError> {
    let bad = |text: &str| text.is_empty() || text.contains(char::is_whitespace);
    if bad(&guardrail.identifier) {
        return invalid("providers.bedrock.guardrail.identifier", "is not the id or ARN of a guardrail");
    }
    let version = &guardrail.version;
    if version != "DRAFT" && (version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit())) {
        return invalid("providers.bedrock.guardrail.version", "is neither a number nor DRAFT");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::GatewayConfig;

    #[test]
    fn the_platforms_settings_are_read_and_each_mistake_names_its_field() {
        let read = |text: &str| GatewayConfig::from_yaml(&format!("gitlab: {{url: http://g}}\n{text}"));
        for good in [
            "providers: {bedrock: {region: us-gov-west-1, fips: true, guardrail: {identifier: gr-1, version: '7', trace: Full, streamProcessing: Async}}}",
            "providers: {vertexAi: {project: 'example.com:p-1', location: global, endpoint: 'https://psc', credentialsFile: gcp.json}}",
            "proxy: {httpsProxy: 'http://proxy:3128', httpProxy: '', noProxy: [10.0.0.0/8, .svc, localhost, '[::1]']}",
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        for (bad, field) in [
            ("providers: {bedrock: {region: 'us east'}}", "providers.bedrock.region"),
            ("providers: {bedrock: {region: r, fips: true, endpoint: 'https://e'}}", "providers.bedrock.fips"),
            ("providers: {bedrock: {region: r, guardrail: {identifier: '', version: '1'}}}", "guardrail.identifier"),
            ("providers: {bedrock: {region: r, guardrail: {identifier: g, version: latest}}}", "guardrail.version"),
            ("providers: {vertexAi: {project: 'a/b', location: x}}", "providers.vertexAi.project"),
            ("providers: {vertexAi: {project: p, location: 'x.evil'}}", "providers.vertexAi.location"),
            (
                "providers: {vertexAi: {project: p, location: x, credentialsFile: /etc/k}}",
                "providers.vertexAi.credentialsFile",
            ),
            ("proxy: {httpsProxy: 'proxy:3128'}", "proxy.httpsProxy"),
            ("proxy: {noProxy: ['a,b']}", "proxy.noProxy[0]"),
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(error.contains(field), "{bad}\n→ {error}");
        }
    }
}
