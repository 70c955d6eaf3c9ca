//! CEL rules that several fields share, with messages that name the field.

use kube::core::Rule;

/// An http:// or https:// URL with a host. `example` completes the sentence; empty: none.
pub(crate) fn http_url(field: &str, example: &str) -> Rule {
    let example = if example.is_empty() { String::new() } else { format!(", for example {example}") };
    Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message(format!("{field} must be an http:// or https:// URL with a host{example}").as_str())
}

/// A proxy's URL. It stands in a ConfigMap, so it may hold no password. `or_empty`: `""` means none.
pub(crate) fn proxy_url(field: &str, or_empty: bool) -> Rule {
    let empty = if or_empty { "self == '' || " } else { "" };
    Rule::new(format!(
        "{empty}(isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != '' && !self.contains('@'))"
    ))
    .message(format!(
        "{field} must be an http:// or https:// URL with a host and without user and password, for example http://proxy.example.com:3128"
    ).as_str())
}

/// A duration within bounds, as Kubernetes writes them.
pub(crate) fn duration(field: &str, least: &str, most: &str) -> Rule {
    Rule::new(format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"))
        .message(format!("{field} must be between {least} and {most}").as_str())
}
