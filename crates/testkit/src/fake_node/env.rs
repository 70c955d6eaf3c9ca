//! The environment and arguments of a container, with paths of its mounts replaced by where they really are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::sources::{Data, Sources, field};

/// Where the container's mount paths really are.
#[derive(Debug, Default)]
pub(super) struct Mounts(pub Vec<(String, PathBuf)>);

impl Mounts {
    /// `value`, or what follows `=` in it, with a mount path at its beginning replaced. The longest path wins, as in
    /// nested mounts.
    pub fn rewrite(&self, value: &str) -> String {
        if let Some((flag, path)) = value.split_once('=')
            && flag.starts_with('-')
        {
            return format!("{flag}={}", self.rewrite(path));
        }
        let inside = |path: &str| {
            let rest = value.strip_prefix(path.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        let best = self.0.iter().filter(|(path, _)| inside(path).is_some()).max_by_key(|(path, _)| path.len());
        match best {
            Some((path, real)) => format!("{}{}", real.display(), inside(path).unwrap_or_default()),
            None => value.to_owned(),
        }
    }
}

/// The variables of a container, `envFrom` first, later ones stronger, `$(NAME)` expanded.
pub(super) async fn resolve(
    pod: &Pod,
    container: &Container,
    address: &str,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let data = if let Some(source) = &from.secret_ref {
            sources.secret(&source.name, source.optional.unwrap_or(false)).await?
        } else if let Some(source) = &from.config_map_ref {
            sources.config_map(&source.name, source.optional.unwrap_or(false)).await?
        } else {
            None
        };
        for (key, value) in data.unwrap_or_default() {
            variables.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, variable, address, sources, &variables).await? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

async fn value_of(
    pod: &Pod,
    variable: &EnvVar,
    address: &str,
    sources: &Sources,
    before: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before)));
    };
    if let Some(selector) = &from.field_ref {
        return field(pod, address, selector).map(Some);
    }
    if let Some(source) = &from.secret_key_ref {
        let optional = source.optional.unwrap_or(false);
        let data = sources.secret(&source.name, optional).await?;
        return key_of(data, &source.key, optional, || {
            format!("couldn't find key {} in Secret {}", source.key, source.name)
        });
    }
    if let Some(source) = &from.config_map_key_ref {
        let optional = source.optional.unwrap_or(false);
        let data = sources.config_map(&source.name, optional).await?;
        return key_of(data, &source.key, optional, || {
            format!("couldn't find key {} in ConfigMap {}", source.key, source.name)
        });
    }
    Err(format!("the source of variable {} is not one that a fake node knows", variable.name))
}

fn key_of(
    data: Option<Data>,
    key: &str,
    optional: bool,
    missing: impl FnOnce() -> String,
) -> Result<Option<String>, String> {
    let value = data.and_then(|mut data| data.remove(key));
    if value.is_none() && !optional {
        return Err(missing());
    }
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// `$(NAME)` becomes the value of a variable defined before, `$$` is a dollar; unknown names stay as they are.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            && let Some(value) = variables.get(name)
        {
            result.push_str(value);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_paths_are_replaced_only_at_the_start_and_at_a_slash() {
        let mounts = Mounts(vec![
            ("/etc/duo-gateway".into(), "/x/config".into()),
            ("/etc".into(), "/x/etc".into()),
            ("/tmp/".into(), "/x/tmp".into()),
        ]);
        for (value, expected) in [
            ("/etc/duo-gateway/config.yaml", "/x/config/config.yaml"),
            ("/etc/duo-gateway", "/x/config"),
            ("/etc/duo-gateway-other", "/x/etc/duo-gateway-other"),
            ("--config=/etc/duo-gateway/config.yaml", "--config=/x/config/config.yaml"),
            ("https://gitlab/etc/duo-gateway", "https://gitlab/etc/duo-gateway"),
            ("/tmp", "/x/tmp"),
            ("/usr/etc", "/usr/etc"),
            ("a=/etc", "a=/etc"),
            ("", ""),
        ] {
            assert_eq!(mounts.rewrite(value), expected, "{value}");
        }
    }

    #[test]
    fn references_to_variables_are_expanded_as_kubernetes_does() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A)-$(A)", "1-1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("price: 5$", "price: 5$"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}
