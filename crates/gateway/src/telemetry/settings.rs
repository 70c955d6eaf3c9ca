//! Where traces go: the mounted configuration's `tracing`, else OpenTelemetry's own environment variables.

use std::time::Duration;

use duo_gateway_config::Tracing;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::settings::SettingsError;

/// Path of the collector below its base URL.
const PATH: &str = "/v1/traces";
/// Time for one delivery, as the specification says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest value of a trace id's random part.
const ALL: u64 = 1 << 63;

/// Which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// A caller's decision counts.
    pub parent_based: bool,
    /// Of those begun here, the share that is kept, of 2⁶³.
    pub share: u64,
}

impl Sampler {
    /// Keeps so many of a thousand, and what callers keep.
    pub fn per_mille(share: u32) -> Self {
        Self {
            parent_based: true,
            share: u64::from(share.min(1000)) * (ALL / 1000) + u64::from(share >= 1000) * (ALL % 1000),
        }
    }

    /// Whether a trace is kept. Decided by the trace id's last eight bytes, so that all who see the trace decide alike.
    pub fn keeps(&self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        if let Some(parent) = parent.filter(|_| self.parent_based) {
            return parent;
        }
        let mut last = [0; 8];
        last.copy_from_slice(&trace_id[8..]);
        u64::from_be_bytes(last) >> 1 < self.share
    }
}

/// Where spans are sent and as what.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whole URL.
    pub url: String,
    /// Headers of each delivery; their values are marked sensitive.
    pub headers: HeaderMap,
    /// Time for one delivery.
    pub timeout: Duration,
    /// Which traces.
    pub sampler: Sampler,
    /// Who sends: `service.name` and more.
    pub resource: Vec<(String, String)>,
}

/// The URL and the headers may hold credentials.
impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// OpenTelemetry's environment variables.
#[derive(Clone)]
pub struct OtelEnvironment {
    /// `OTEL_SDK_DISABLED`: no traces, whatever else is set.
    pub disabled: bool,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/traces` behind it.
    pub url: Option<String>,
    /// `OTEL_EXPORTER_OTLP_HEADERS` and `…_TRACES_HEADERS`.
    pub headers: HeaderMap,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT` or `…_TRACES_TIMEOUT`, in milliseconds.
    pub timeout: Duration,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
}

/// The URL and the headers may hold credentials.
impl std::fmt::Debug for OtelEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtelEnvironment").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

impl OtelEnvironment {
    /// Reads them; empty values count as unset.
    ///
    /// # Errors
    /// [`SettingsError`] for the first variable whose value cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let text = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let disabled = text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || text("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
            if !disabled && text(name).is_some_and(|value| value != "http/protobuf") {
                return refuse(name, "only http/protobuf is spoken: set it so, with the collector's HTTP port (4318)");
            }
        }
        let mut headers = HeaderMap::new();
        for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
            let given = text(name).unwrap_or_default();
            let Some(given) = pairs(&given).and_then(|pairs| header_map(pairs.into_iter())) else {
                return refuse(name, "is not a list of name=value, separated by commas, that HTTP allows");
            };
            headers.extend(given);
        }
        let mut timeout = TIMEOUT;
        for name in ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] {
            match text(name).map(|value| value.parse::<u32>()) {
                None => {}
                Some(Ok(millis)) if millis > 0 => timeout = Duration::from_millis(millis.into()),
                Some(_) => return refuse(name, "is not a number of milliseconds above 0"),
            }
        }
        Ok(Self {
            disabled,
            url: url(&text, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")?.or(url(
                &text,
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                PATH,
            )?),
            headers,
            timeout,
            sampler: sampler(&text)?,
            resource: resource(&text)?,
        })
    }
}

impl Default for OtelEnvironment {
    fn default() -> Self {
        Self {
            disabled: false,
            url: None,
            headers: HeaderMap::new(),
            timeout: TIMEOUT,
            sampler: Sampler::per_mille(1000),
            resource: vec![("service.name".to_owned(), "duo-gateway".to_owned())],
        }
    }
}

/// The two joined: what is mounted says where and how many, the environment says as whom. `headers`: what
/// `headersFile` holds.
///
/// # Errors
/// The file is no JSON object of headers.
pub fn destination(
    environment: &OtelEnvironment,
    mounted: Option<(&Tracing, Option<&str>)>,
) -> Result<Option<Destination>, &'static str> {
    if environment.disabled {
        return Ok(None);
    }
    let (url, headers, sampler) = match mounted {
        None => match &environment.url {
            None => return Ok(None),
            Some(url) => (url.clone(), environment.headers.clone(), environment.sampler),
        },
        Some((tracing, file)) => {
            let headers = match file {
                None => HeaderMap::new(),
                Some(text) => serde_json::from_str::<std::collections::BTreeMap<String, String>>(text)
                    .ok()
                    .and_then(|map| header_map(map.into_iter()))
                    .ok_or("is not a JSON object of header names and values that HTTP allows")?,
            };
            let url = format!("{}{PATH}", tracing.otlp_endpoint.trim_end_matches('/'));
            (url, headers, Sampler::per_mille(tracing.sample_per_mille.unwrap_or(1000)))
        }
    };
    Ok(Some(Destination {
        url,
        headers,
        sampler,
        timeout: environment.timeout,
        resource: environment.resource.clone(),
    }))
}

fn url(text: &impl Fn(&str) -> Option<String>, name: &str, path: &str) -> Result<Option<String>, SettingsError> {
    let Some(value) = text(name) else { return Ok(None) };
    match url::Url::parse(&value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(Some(if path.is_empty() { value } else { format!("{}{path}", value.trim_end_matches('/')) }))
        }
        // the value is not repeated: people put credentials into URLs
        _ => refuse(name, "is not an http:// or https:// URL; give for example http://otel-collector:4318"),
    }
}

fn sampler(text: &impl Fn(&str) -> Option<String>) -> Result<Sampler, SettingsError> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let ratio = || -> Result<u64, SettingsError> {
        let Some(value) = text("OTEL_TRACES_SAMPLER_ARG") else { return Ok(ALL) };
        match value.parse::<f64>() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share from 0 to 1 of 2⁶³"
            )]
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * ALL as f64) as u64),
            _ => refuse("OTEL_TRACES_SAMPLER_ARG", "is not a number from 0 to 1"),
        }
    };
    let (parent_based, share) = match text(NAME).as_deref() {
        None | Some("parentbased_always_on") => (true, ALL),
        Some("parentbased_always_off") => (true, 0),
        Some("parentbased_traceidratio") => (true, ratio()?),
        Some("always_on") => (false, ALL),
        Some("always_off") => (false, 0),
        Some("traceidratio") => (false, ratio()?),
        Some(_) => {
            return refuse(
                NAME,
                "is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                 parentbased_traceidratio",
            );
        }
    };
    Ok(Sampler { parent_based, share })
}

fn resource(text: &impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, SettingsError> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(mut given) = pairs(&text(NAME).unwrap_or_default()) else {
        return refuse(NAME, "is not a list of name=value, separated by commas");
    };
    let named = given.iter().position(|(name, _)| name == "service.name").map(|at| given.remove(at).1);
    let name = text("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| "duo-gateway".to_owned());
    let mut resource = vec![("service.name".to_owned(), name)];
    if !given.iter().any(|(name, _)| name == "service.version") {
        resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    }
    resource.extend(given);
    Ok(resource)
}

/// `a=b,c=d`, the values percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let listed = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    listed
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = decoded(value.trim())?;
            (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value))
        })
        .collect()
}

fn decoded(value: &str) -> Option<String> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let digits = rest.get(..2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = rest.get(2..)?;
    }
    String::from_utf8(out).ok()
}

fn header_map(pairs: impl Iterator<Item = (String, String)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).ok()?, value);
    }
    Some(headers)
}

fn refuse<T>(variable: &str, problem: &str) -> Result<T, SettingsError> {
    Err(SettingsError { variable: variable.to_owned(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests;
