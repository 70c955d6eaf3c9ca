//! URLs as GitLab and the operator compare them.

use url::Url;

/// Port on which the gateway serves GitLab.
pub const GATEWAY_PORT: u16 = 5052;

/// As GitLab stores it: surrounding blanks and a trailing slash cut, blank is nothing.
pub fn normalize(url: &str) -> Option<String> {
    let cut = url.trim().trim_end_matches('/');
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// Two URLs that GitLab would store as the same.
pub fn same(a: Option<&str>, b: Option<&str>) -> bool {
    a.and_then(normalize) == b.and_then(normalize)
}

/// Identity of a GitLab instance: scheme, lower-case host, explicit port, path without trailing slash.
pub fn instance_key(url: &str) -> String {
    match Url::parse(url.trim()) {
        Ok(parsed) => format!(
            "{}://{}:{}{}",
            parsed.scheme(),
            parsed.host_str().unwrap_or_default().trim_end_matches('.'),
            parsed.port_or_known_default().unwrap_or_default(),
            parsed.path().trim_end_matches('/')
        ),
        Err(_) => url.trim().trim_end_matches('/').to_lowercase(),
    }
}

/// URL under which GitLab calls the gateway when the resource names none: the Service's DNS name.
pub fn service_url(name: &str, namespace: &str) -> String {
    format!("http://{name}.{namespace}.svc:{GATEWAY_PORT}")
}

/// GitLab's REST API when the resource names none.
pub fn api_url(gitlab_url: &str) -> String {
    format!("{}/api/v4/", gitlab_url.trim().trim_end_matches('/'))
}

/// Seconds of a duration in the form `1m30s`, as the CRD's pattern admits.
pub fn seconds(text: &str) -> Option<u32> {
    let (minutes, rest) = match text.split_once('m') {
        Some((minutes, rest)) => (minutes.parse::<u32>().ok()?, rest),
        None => (0, text),
    };
    let seconds = if rest.is_empty() { 0 } else { rest.strip_suffix('s')?.parse::<u32>().ok()? };
    minutes.checked_mul(60)?.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlab_cuts_a_trailing_slash_from_the_gateway_url() {
        assert!(same(Some("http://duo.svc:5052/"), Some("http://duo.svc:5052")));
        assert!(same(Some("  "), None));
        assert!(!same(Some("http://a"), Some("http://b")));
    }

    #[test]
    fn one_instance_has_one_key() {
        assert_eq!(instance_key("https://GitLab.example.com/"), instance_key("https://gitlab.example.com:443"));
        assert_eq!(instance_key("https://gitlab.example.com./"), instance_key("https://gitlab.example.com"));
        assert_ne!(instance_key("https://example.com/gitlab"), instance_key("https://example.com"));
        assert_ne!(instance_key("http://example.com"), instance_key("https://example.com"));
    }

    #[test]
    fn durations_in_minutes_and_seconds() {
        for (text, expected) in
            [("60s", Some(60)), ("1m30s", Some(90)), ("10m", Some(600)), ("x", None), ("99999999999s", None)]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
