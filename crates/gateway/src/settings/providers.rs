//! What the environment says of model servers: the official image's variables and those of the libraries it is built
//! on (`AZURE_API_VERSION`, `VERTEXAI_*`, `GOOGLE_APPLICATION_CREDENTIALS`).

use std::path::PathBuf;

use duo_gateway_config::{Guardrail, GuardrailTrace};
use serde::Deserialize;

use super::{Env, SettingsError, refuse};
use crate::secret::Secret;

/// Settings of model servers.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    /// `AIGW_MTLS__*`.
    pub mtls: Option<Mtls>,
    /// `AIGW_BEDROCK_GUARDRAIL_CONFIG`.
    pub guardrail: Option<Guardrail>,
    /// `AZURE_API_VERSION`: only counts without a mounted configuration.
    pub azure_api_version: Option<String>,
    /// `VERTEXAI_*`: only counts where the mounted configuration has no `providers.vertexAi`.
    pub vertex: Option<Vertex>,
    /// `GCE_METADATA_HOST`: the metadata server, where it is not Google's own.
    pub gce_metadata_host: Option<String>,
}

/// A client certificate for model servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtls {
    /// `CERT_FILE`: PEM certificate, then its intermediates.
    pub certificate: PathBuf,
    /// `KEY_FILE`: its PEM key.
    pub key: PathBuf,
    /// `KEY_PASSWORD`, where the key is encrypted.
    pub password: Option<Secret>,
    /// `CA_BUNDLE`: trusted for model servers in addition.
    pub ca_bundle: Option<PathBuf>,
}

/// Google Vertex AI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// `VERTEXAI_PROJECT`; else the key file's.
    pub project: Option<String>,
    /// `VERTEXAI_LOCATION`, `us-central1` by default.
    pub location: String,
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a service account's key file; without it the metadata server.
    pub credentials: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GuardrailJson {
    guardrail_identifier: String,
    guardrail_version: Option<String>,
    trace: Option<String>,
}

pub(super) fn read<F: Fn(&str) -> Option<String>>(env: &Env<'_, F>) -> Result<Providers, SettingsError> {
    Ok(Providers {
        mtls: mtls(env)?,
        guardrail: guardrail(env)?,
        azure_api_version: env.text("AZURE_API_VERSION"),
        vertex: vertex(env),
        gce_metadata_host: env.text("GCE_METADATA_HOST"),
    })
}

fn mtls<F: Fn(&str) -> Option<String>>(env: &Env<'_, F>) -> Result<Option<Mtls>, SettingsError> {
    if !env.switch("AIGW_MTLS__ENABLED")?.unwrap_or(false) {
        return Ok(None);
    }
    if env.switch("AIGW_MTLS__VERIFY")? == Some(false) {
        // a client certificate proves who we are; to prove it to whoever answers would hand out keys and code
        return refuse(
            "AIGW_MTLS__VERIFY",
            "servers' certificates are always checked; trust the server's authority with AIGW_MTLS__CA_BUNDLE and unset it",
        );
    }
    let needed = |name: &str| match env.text(name) {
        Some(path) => Ok(PathBuf::from(path)),
        None => refuse(name, "is needed with AIGW_MTLS__ENABLED: the path of a PEM file"),
    };
    Ok(Some(Mtls {
        certificate: needed("AIGW_MTLS__CERT_FILE")?,
        key: needed("AIGW_MTLS__KEY_FILE")?,
        password: env.text("AIGW_MTLS__KEY_PASSWORD").map(Secret::new),
        ca_bundle: env.text("AIGW_MTLS__CA_BUNDLE").map(PathBuf::from),
    }))
}

fn guardrail<F: Fn(&str) -> Option<String>>(env: &Env<'_, F>) -> Result<Option<Guardrail>, SettingsError> {
    const NAME: &str = "AIGW_BEDROCK_GUARDRAIL_CONFIG";
    let Some(text) = env.text(NAME) else { return Ok(None) };
    let Ok(read) = serde_json::from_str::<GuardrailJson>(&text) else {
        return refuse(NAME, "is not {\"guardrailIdentifier\": \"…\", \"guardrailVersion\": \"…\", \"trace\": \"…\"}");
    };
    let trace = match read.trace.as_deref() {
        None => None,
        Some("disabled") => Some(GuardrailTrace::Disabled),
        Some("enabled") => Some(GuardrailTrace::Enabled),
        Some("enabled_full") => Some(GuardrailTrace::Full),
        Some(_) => return refuse(NAME, "trace is none of disabled, enabled, enabled_full"),
    };
    let version = read.guardrail_version.unwrap_or_else(|| "DRAFT".to_owned());
    Ok(Some(Guardrail { identifier: read.guardrail_identifier, version, trace, stream_processing: None }))
}

fn vertex<F: Fn(&str) -> Option<String>>(env: &Env<'_, F>) -> Option<Vertex> {
    let project = env.text("VERTEXAI_PROJECT");
    let location = env.text("VERTEXAI_LOCATION");
    let credentials = env.text("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
    if project.is_none() && credentials.is_none() {
        return None;
    }
    Some(Vertex { project, location: location.unwrap_or_else(|| "us-central1".to_owned()), credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Providers, SettingsError> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        read(&Env(&find))
    }

    #[test]
    fn a_client_certificate_needs_its_files_and_never_goes_with_unchecked_servers() {
        let files = [("AIGW_MTLS__ENABLED", "true"), ("AIGW_MTLS__CERT_FILE", "/c"), ("AIGW_MTLS__KEY_FILE", "/k")];
        let mtls = with(&files).unwrap().mtls.unwrap();
        assert_eq!((mtls.certificate, mtls.key, mtls.password), ("/c".into(), "/k".into(), None));
        assert!(with(&[("AIGW_MTLS__CERT_FILE", "/c")]).unwrap().mtls.is_none(), "not enabled");
        for (more, named) in [(&files[..2], "AIGW_MTLS__KEY_FILE"), (&files[..1], "AIGW_MTLS__CERT_FILE")] {
            assert_eq!(with(more).unwrap_err().variable, named);
        }
        let open = [files.as_slice(), &[("AIGW_MTLS__VERIFY", "false")]].concat();
        let error = with(&open).unwrap_err();
        assert!(error.variable == "AIGW_MTLS__VERIFY" && error.problem.contains("AIGW_MTLS__CA_BUNDLE"), "{error}");
    }

    #[test]
    fn the_guardrail_is_read_as_the_official_gateway_reads_it() {
        let one = |text: &str| with(&[("AIGW_BEDROCK_GUARDRAIL_CONFIG", text)]);
        let read = one(r#"{"guardrailIdentifier": "gr-1", "guardrailVersion": "3", "trace": "enabled"}"#).unwrap();
        let wanted = Guardrail {
            identifier: "gr-1".into(),
            version: "3".into(),
            trace: Some(GuardrailTrace::Enabled),
            stream_processing: None,
        };
        assert_eq!(read.guardrail, Some(wanted));
        assert_eq!(one(r#"{"guardrailIdentifier": "gr-1"}"#).unwrap().guardrail.unwrap().version, "DRAFT");
        for bad in
            ["gr-1", "{}", r#"{"guardrailIdentifier": "g", "x": 1}"#, r#"{"guardrailIdentifier":"g","trace":"y"}"#]
        {
            assert_eq!(one(bad).unwrap_err().variable, "AIGW_BEDROCK_GUARDRAIL_CONFIG", "{bad}");
        }
    }

    #[test]
    fn vertex_ai_needs_a_project_or_a_key_file_that_names_one() {
        assert!(with(&[("VERTEXAI_LOCATION", "eu")]).unwrap().vertex.is_none());
        let vertex = with(&[("VERTEXAI_PROJECT", "p")]).unwrap().vertex.unwrap();
        assert_eq!((vertex.project.as_deref(), vertex.location.as_str()), (Some("p"), "us-central1"));
    }
}
