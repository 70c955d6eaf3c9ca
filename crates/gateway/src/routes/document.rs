//! `GET /openapi.json` and `GET /docs`: what this gateway serves, from the description that its conformance suite runs.

use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::{Early, early};
use crate::answer::{self, Answer};

/// The description as it is maintained.
const SOURCE: &str = include_str!("../../openapi/gateway.yaml");

/// Translated at the first request, not at the start: hardly anybody asks.
static DOCUMENT: LazyLock<Option<Value>> = LazyLock::new(|| {
    let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(SOURCE).ok()?;
    yaml.apply_merge().ok()?;
    serde_json::to_value(yaml).ok()
});
static JSON: LazyLock<Bytes> =
    LazyLock::new(|| DOCUMENT.as_ref().map(|document| Bytes::from(document.to_string())).unwrap_or_default());
static PAGE: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.as_ref().map(page).unwrap_or_default().into());

pub(super) fn openapi() -> Result<Answer, Early> {
    there(&JSON, "application/json")
}

pub(super) fn docs() -> Result<Answer, Early> {
    there(&PAGE, "text/html; charset=utf-8")
}

/// That the file can be read is proved by a test.
fn there(bytes: &Bytes, kind: &'static str) -> Result<Answer, Early> {
    if bytes.is_empty() {
        return Err(early(StatusCode::NOT_FOUND, "Not Found"));
    }
    Ok(answer::with_type(StatusCode::OK, kind, bytes.clone()))
}

/// A table of the operations. No viewer from elsewhere: this gateway runs in networks without one.
fn page(document: &Value) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut rows = String::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            rows.push_str(&format!(
                "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>\n",
                method.to_uppercase(),
                escaped(path),
                escaped(summary)
            ));
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>AI gateway</title><h1>AI gateway</h1>\n\
         <p>Machine-readable: <a href=\"openapi.json\">openapi.json</a></p>\n<table>\n{rows}</table></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_can_be_read_and_listed() {
        let document: Value = serde_json::from_slice(&JSON).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let page = String::from_utf8(PAGE.to_vec()).unwrap();
        assert!(page.contains("<code>/v2/code/completions</code>"), "{page}");
    }
}
