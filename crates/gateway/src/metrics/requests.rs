//! Requests as such, and the files that code suggestions are asked for.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::series::{Labels, group};
use super::{OFFICIAL_BUCKETS, OTHER};

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    /// Route template.
    pub handler: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Status class, `2xx`.
    pub status: &'static str,
}

impl Labels for HttpLabels {
    fn coarser(&self) -> Option<Self> {
        None
    }
}

group! {
    /// A request.
    HttpGroup {
        seconds: Histogram = Histogram::new(OFFICIAL_BUCKETS),
            Histogram("http_request_duration_seconds", "Time to the start of the answer in seconds");
    }
}

/// Labels of the gateway's own share.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OverheadLabels {
    /// Route template.
    pub handler: &'static str,
}

/// The file whose code is to be completed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LanguageLabels {
    /// Our name of the language.
    pub lang: &'static str,
    /// Extension of the file's name.
    pub extension: &'static str,
    /// What the editor calls the language.
    pub editor_lang: &'static str,
}

impl Labels for LanguageLabels {
    fn coarser(&self) -> Option<Self> {
        (self.extension != OTHER || self.editor_lang != OTHER).then_some(Self {
            lang: self.lang,
            extension: OTHER,
            editor_lang: OTHER,
        })
    }
}

group! {
    /// Files.
    LanguageGroup {
        files: Counter = Counter::default(),
            Counter("code_suggestions_prompt_language", "Code suggestions by the file's language");
    }
}

pub(super) fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

pub(super) fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
