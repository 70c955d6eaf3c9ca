//! Rules of what the gateway tells: traces, prices.

use super::{flat_file, http_url, invalid};
use crate::{ConfigError, GatewayConfig, Price, Rates};

pub(super) fn signals(config: &GatewayConfig) -> Result<(), ConfigError> {
    if let Some(tracing) = &config.tracing {
        http_url("tracing.otlpEndpoint", &tracing.otlp_endpoint)?;
        if let Some(file) = &tracing.headers_file {
            flat_file("tracing.headersFile", file)?;
        }
        if tracing.sample_per_mille.is_some_and(|share| share > 1000) {
            return invalid("tracing.samplePerMille", "is more than 1000, which keeps every trace");
        }
    }
    if let Some(currency) = &config.currency
        && !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return invalid("currency", format!("`{currency}` is not an ISO 4217 code such as USD or EUR"));
    }
    for (at, model) in config.models.iter().enumerate() {
        if let Some(price) = &model.price {
            self::price(&format!("models[{at}].price"), price)?;
        }
        for (number, fallback) in model.fallbacks.iter().enumerate() {
            if let Some(price) = &fallback.price {
                self::price(&format!("models[{at}].fallbacks[{number}].price"), price)?;
            }
        }
    }
    Ok(())
}

fn price(field: &str, price: &Price) -> Result<(), ConfigError> {
    match Rates::read(price) {
        Ok(_) => Ok(()),
        Err((part, problem)) => invalid(format!("{field}.{part}"), problem),
    }
}

#[cfg(test)]
mod tests {
    use crate::GatewayConfig;

    #[test]
    fn each_mistake_names_its_field() {
        let price = |text: &str| format!("models: [{{name: a, family: f, identifier: bedrock/x, price: {{{text}}}}}]");
        let cases = [
            ("tracing: {otlpEndpoint: otel}".to_owned(), "tracing.otlpEndpoint"),
            ("tracing: {otlpEndpoint: 'http://o', headersFile: a/b}".to_owned(), "tracing.headersFile"),
            ("tracing: {otlpEndpoint: 'http://o', samplePerMille: 1001}".to_owned(), "tracing.samplePerMille"),
            ("currency: Euro".to_owned(), "currency"),
            ("currency: usd".to_owned(), "currency"),
            (price("inputPerMillion: '-1', outputPerMillion: '1'"), "models[0].price.inputPerMillion"),
            (price("inputPerMillion: '1', outputPerMillion: 1e3"), "models[0].price.outputPerMillion"),
            (price("inputPerMillion: '1', outputPerMillion: '1', cacheReadPerMillion: ''"), "cacheReadPerMillion"),
            (price("inputPerMillion: '1', outputPerMillion: '1', cacheWritePerMillion: x"), "cacheWritePerMillion"),
            (
                "models: [{name: a, family: f, identifier: bedrock/x, fallbacks: [{identifier: bedrock/y, price: \
                 {inputPerMillion: x, outputPerMillion: '1'}}]}]"
                    .to_owned(),
                "models[0].fallbacks[0].price.inputPerMillion",
            ),
        ];
        for (text, expected) in cases {
            let error = GatewayConfig::from_yaml(&format!("gitlab: {{url: http://g}}\n{text}")).expect_err(&text);
            assert!(error.to_string().contains(expected), "{text}\n→ {error}\nshould contain {expected}");
        }
        let good = "gitlab: {url: http://g}\ncurrency: EUR\ntracing: {otlpEndpoint: 'http://o:4318', headersFile: h, \
                    samplePerMille: 0}\nmodels: [{name: a, family: f, identifier: bedrock/x, price: \
                    {inputPerMillion: '3.00', outputPerMillion: '15', cacheReadPerMillion: '0.3'}}]";
        GatewayConfig::from_yaml(good).unwrap();
    }
}
