//! Names of calls to a Kubernetes API: verb, resource, object.

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::Named;

/// Resources whose objects have names that differ from run to run.
const RANDOM_NAMES: [&str; 3] = ["pods", "events", "replicasets"];

/// The name of a call, as `patch selfhostedmodels/status mixtral`; `None` for what is no call for a resource
/// (discovery, health). Namespaces are left out.
pub fn name(head: &Parts, _: &Bytes) -> Option<Named> {
    let mut parts = head.uri.path().split('/').filter(|part| !part.is_empty());
    match parts.next()? {
        "api" => drop(parts.next()?),
        "apis" => {
            parts.next()?;
            parts.next()?;
        }
        _ => return None,
    }
    let mut rest: Vec<&str> = parts.collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let (resource, object, subresource) = (*rest.first()?, rest.get(1).copied(), rest.get(2).copied());
    let watch = object.is_none()
        && head.uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
    let verb = match (&head.method, object) {
        _ if watch => "watch",
        (&Method::GET, None) => "list",
        (&Method::GET, Some(_)) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, None) => "deletecollection",
        (&Method::DELETE, Some(_)) => "delete",
        _ => return None,
    };
    let mut name = format!("{verb} {resource}");
    if let Some(subresource) = subresource {
        name.push('/');
        name.push_str(subresource);
    }
    if let Some(object) = object.filter(|_| !RANDOM_NAMES.contains(&resource)) {
        name.push(' ');
        name.push_str(object);
    }
    Some(Named {
        name,
        write: head.method != Method::GET,
        list: verb == "list",
        watch: watch.then(|| resource.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_by_verb_resource_and_object() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces/n/pods?labelSelector=a%3Db", Some("list pods")),
            ("GET", "/api/v1/namespaces/n/pods?labelSelector=a%3Db&watch=true", Some("watch pods")),
            ("PATCH", "/api/v1/namespaces/n/pods/duo-7d4-x9", Some("patch pods")),
            ("GET", "/api/v1/namespaces/n/secrets/aws?", Some("get secrets aws")),
            ("GET", "/api/v1/namespaces/n", Some("get namespaces n")),
            (
                "PATCH",
                "/apis/duo.selfhosted.dev/v1alpha1/namespaces/n/selfhostedmodels/m/status?",
                Some("patch selfhostedmodels/status m"),
            ),
            ("POST", "/apis/events.k8s.io/v1/namespaces/n/events", Some("create events")),
            ("GET", "/apis/duo.selfhosted.dev/v1alpha1/aigateways?&watch=true&x=1", Some("watch aigateways")),
            ("GET", "/version", None),
            ("GET", "/apis", None),
        ] {
            let (head, ()) = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
            assert_eq!(name(&head, &Bytes::new()).map(|named| named.name).as_deref(), expected, "{method} {uri}");
        }
    }
}
