//! What a request to the Kubernetes API is about, by its path.

/// Which object or list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub group: String,
    pub plural: String,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// Empty for a list or a create.
    pub name: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
}

impl Target {
    /// `None` for a path that is no resource's, such as `/version`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => {
                parts.next()?;
                ""
            }
            "apis" => {
                let group = parts.next()?;
                parts.next()?;
                group
            }
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Some(Self {
            group: group.to_owned(),
            plural: rest.next()?,
            namespace: namespace.to_owned(),
            name: rest.next().unwrap_or_default(),
            subresource: rest.next().unwrap_or_default(),
        })
    }

    /// One of our own kinds.
    pub(super) fn is_ours(&self) -> bool {
        self.group == duo_api::GROUP
    }

    /// The object itself.
    pub(super) fn object(&self) -> Self {
        Self { subresource: String::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_kubernetes_api() {
        let cases = [
            ("/api/v1/namespaces/n/secrets/s", Some(("", "secrets", "n", "s", ""))),
            ("/api/v1/namespaces/n/pods", Some(("", "pods", "n", "", ""))),
            ("/api/v1/namespaces/n", Some(("", "namespaces", "", "n", ""))),
            ("/apis/apps/v1/namespaces/n/deployments/d/status", Some(("apps", "deployments", "n", "d", "status"))),
            ("/apis/duo.selfhosted.dev/v1alpha1/aigateways", Some(("duo.selfhosted.dev", "aigateways", "", "", ""))),
            ("/version", None),
            ("/apis", None),
            ("/", None),
        ];
        for (path, expected) in cases {
            let found = Target::parse(path);
            let found = found.as_ref().map(|t| {
                (t.group.as_str(), t.plural.as_str(), t.namespace.as_str(), t.name.as_str(), t.subresource.as_str())
            });
            assert_eq!(found, expected, "{path}");
        }
    }
}
