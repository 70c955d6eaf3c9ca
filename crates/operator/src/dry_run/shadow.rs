//! The cluster as the controllers see it in a dry run: reads are the cluster's, writes are judged by the API server with
//! `dryRun=All` and remembered here.
//!
//! What was written is what is read from then on, so that one controller sees what another one would have done. Our own
//! kinds live here alone: the API server judged them before, as they stand in the files. No request leaves this module that
//! could change anything.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode, Uri};
use kube::client::Body;
use serde_json::{Value, json};

use super::merge::{assume_available, merge, unjudged};
use super::target::Target;

/// An object of before the dry run and as it would be.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// `None`: the cluster has none.
    pub before: Option<Value>,
    /// `None`: it would be gone.
    pub now: Option<Value>,
}

/// A Warning event that a controller would publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub reason: String,
    pub message: String,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Target, Seen>,
    warnings: Vec<Warning>,
    unjudged: BTreeSet<String>,
    writes: u64,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Shadow {
    real: kube::Client,
    state: Arc<Mutex<State>>,
}

impl Shadow {
    pub(super) fn new(real: kube::Client) -> Self {
        Self { real, state: Arc::default() }
    }

    /// A client for the controllers.
    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), self.real.default_namespace())
    }

    /// Takes in an object: `before` is the cluster's, `now` stands in for it.
    pub(super) fn put(&self, target: Target, before: Option<Value>, now: Option<Value>) {
        self.lock().objects.insert(target, Seen { before, now });
    }

    /// Changes an object that was taken in.
    pub(super) fn edit(&self, target: &Target, now: Option<Value>) {
        self.lock().objects.entry(target.clone()).or_default().now = now;
    }

    /// An object as it would be.
    pub(super) fn now(&self, target: &Target) -> Option<Value> {
        self.lock().objects.get(target).and_then(|seen| seen.now.clone())
    }

    /// Everything that was read or written, with what the cluster had before.
    pub(super) fn seen(&self) -> BTreeMap<Target, Seen> {
        self.lock().objects.clone()
    }

    /// How often something was written so far.
    pub(super) fn writes(&self) -> u64 {
        self.lock().writes
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.lock().warnings.clone()
    }

    /// What the API server was not allowed to judge, as `patch deployments.apps`.
    pub(super) fn unjudged(&self) -> BTreeSet<String> {
        self.lock().unjudged.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let Some(target) = Target::parse(request.uri().path()) else {
            return match *request.method() {
                Method::GET => self.real.send(request).await,
                _ => Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "a dry run sends no such request")),
            };
        };
        match request.method().clone() {
            Method::GET if target.name.is_empty() => self.list(&target, request).await,
            Method::GET => self.get(&target, request).await,
            Method::POST if target.plural == "events" => self.event(request).await,
            Method::PATCH if target.is_ours() => self.patch_ours(&target, request).await,
            Method::PATCH | Method::PUT | Method::POST => self.write(&target, request).await,
            Method::DELETE if !target.name.is_empty() && !target.is_ours() => self.delete(&target, request).await,
            _ => Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "a dry run sends no such request")),
        }
    }

    async fn get(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let metadata = wants_metadata(&request);
        let known = self.lock().objects.get(&target.object()).map(|seen| seen.now.clone());
        let now = match known {
            Some(now) => now,
            None if target.is_ours() => None,
            None => {
                if metadata || !target.subresource.is_empty() {
                    return self.real.send(request).await;
                }
                let response = self.real.send(request).await?;
                let status = response.status();
                if status != StatusCode::OK && status != StatusCode::NOT_FOUND {
                    return Ok(response);
                }
                let body = response.into_body().collect_bytes().await?;
                let found = if status == StatusCode::OK { serde_json::from_slice(&body).ok() } else { None };
                self.put(target.object(), found.clone(), found.clone());
                found
            }
        };
        Ok(match now {
            None => refusal(StatusCode::NOT_FOUND, &format!("{} {:?} not found", target.plural, target.name)),
            Some(object) if metadata => answer(&json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
            })),
            Some(object) => answer(&object),
        })
    }

    /// Lists are the cluster's, without what would be gone.
    async fn list(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        if request.uri().query().is_some_and(|query| query.contains("watch=")) {
            return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "a dry run watches nothing"));
        }
        let response = self.real.send(request).await?;
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let body = response.into_body().collect_bytes().await?;
        let Ok(mut list) = serde_json::from_slice::<Value>(&body) else { return Ok(reply(StatusCode::OK, body)) };
        if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
            let state = self.lock();
            items.retain(|item| {
                let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
                let key = Target { name: text("name"), namespace: text("namespace"), ..target.object() };
                state.objects.get(&key).is_none_or(|seen| seen.now.is_some())
            });
        }
        Ok(answer(&list))
    }

    /// Events are for people; a dry run shows the warnings among them itself.
    async fn event(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let body = request.into_body().collect_bytes().await?;
        let event: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("/type") == "Warning" {
            let warning = Warning {
                kind: text("/regarding/kind"),
                namespace: text("/regarding/namespace"),
                name: text("/regarding/name"),
                reason: text("/reason"),
                message: text("/note"),
            };
            let mut state = self.lock();
            if !state.warnings.contains(&warning) {
                state.warnings.push(warning);
            }
        }
        Ok(reply(StatusCode::CREATED, body))
    }

    /// Finalizers, annotations and statuses of our own kinds: merge patches, nothing else.
    async fn patch_ours(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        if content_type(&request) != "application/merge-patch+json" {
            return Ok(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a dry run takes merge patches of this kind"));
        }
        let body = request.into_body().collect_bytes().await?;
        let mut patch: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = self.lock();
        let seen = state.objects.get(&target.object()).cloned().unwrap_or_default();
        let Some(mut object) = seen.now else {
            return Ok(refusal(StatusCode::NOT_FOUND, &format!("{} {:?} not found", target.plural, target.name)));
        };
        // The version is the cluster's, and nobody else writes here.
        if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let of_status = target.subresource == "status";
        if let Some(fields) = patch.as_object_mut() {
            fields.retain(|name, _| (name == "status") == of_status);
        }
        let before = object.clone();
        merge(&mut object, &patch);
        if object != before {
            state.writes += 1;
        }
        let leaving = object["metadata"]["deletionTimestamp"].is_string();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        let now = (held || !leaving).then(|| object.clone());
        state.objects.insert(target.object(), Seen { before: seen.before, now });
        Ok(answer(&object))
    }

    /// The API server says what would become of it.
    async fn write(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let method = request.method().clone();
        let applies = content_type(&request) == "application/apply-patch+yaml";
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let declared: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = if target.name.is_empty() { name_of(&declared) } else { target.name.clone() };
        let key = Target { name, ..target.object() };
        let before = self.cluster(&key, &parts.uri).await?;
        let mut request = Request::from_parts(parts, Body::from(body.clone()));
        *request.uri_mut() = dry(request.uri());
        let response = self.real.send(request).await?;
        let status = response.status();
        let answered = response.into_body().collect_bytes().await?;
        let may_not = status == StatusCode::FORBIDDEN && String::from_utf8_lossy(&answered).contains("cannot ");
        let judged: Option<Value> = match status {
            status if status.is_success() => serde_json::from_slice(&answered).ok(),
            // Read-only rights do for what is only compared; the rest of the plan is worth having.
            _ if may_not && applies => {
                let group = if key.group.is_empty() { String::new() } else { format!(".{}", key.group) };
                self.lock().unjudged.insert(format!("{} {}{group}", verb(&method, before.is_some()), key.plural));
                Some(unjudged(before.as_ref(), &declared))
            }
            _ => None,
        };
        let Some(mut object) = judged else { return Ok(reply(status, answered)) };
        if key.plural == "deployments" {
            assume_available(before.as_ref(), &mut object);
        }
        let mut state = self.lock();
        let seen = state.objects.entry(key).or_default();
        let changed = seen.now.as_ref() != Some(&object);
        seen.before = before;
        seen.now = Some(object.clone());
        state.writes += u64::from(changed);
        Ok(answer(&object))
    }

    async fn delete(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let before = self.cluster(&target.object(), &parts.uri).await?;
        let mut request = Request::from_parts(parts, Body::from(body));
        *request.uri_mut() = dry(request.uri());
        let response = self.real.send(request).await?;
        if response.status().is_success() {
            let mut state = self.lock();
            state.objects.insert(target.object(), Seen { before, now: None });
            state.writes += 1;
        }
        Ok(response)
    }

    /// What the cluster has of an object now.
    async fn cluster(&self, key: &Target, uri: &Uri) -> Result<Option<Value>, kube::Error> {
        if let Some(seen) = self.lock().objects.get(key) {
            return Ok(seen.before.clone());
        }
        let path = uri.path().trim_end_matches('/');
        let path =
            if path.ends_with(&format!("/{}", key.name)) { path.to_owned() } else { format!("{path}/{}", key.name) };
        let request = Request::get(path).body(Body::empty()).map_err(kube::Error::HttpError)?;
        let response = self.real.send(request).await?;
        if response.status() != StatusCode::OK {
            return Ok(None);
        }
        let body = response.into_body().collect_bytes().await?;
        Ok(serde_json::from_slice(&body).ok())
    }
}

impl tower_service::Service<Request<Body>> for Shadow {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shadow = self.clone();
        Box::pin(async move { shadow.answer(request).await })
    }
}

fn reply(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn answer(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value.to_string().into_bytes())
}

/// An answer in the API server's own form of a refusal.
fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let reason = if status == StatusCode::NOT_FOUND { "NotFound" } else { "MethodNotAllowed" };
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": status.as_u16(), "reason": reason, "message": message,
    });
    reply(status, body.to_string().into_bytes())
}

fn wants_metadata(request: &Request<Body>) -> bool {
    let accept = request.headers().get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("PartialObjectMetadata")
}

fn content_type(request: &Request<Body>) -> String {
    let header = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn verb(method: &Method, exists: bool) -> &'static str {
    if *method == Method::POST || !exists { "create" } else { "patch" }
}

/// The same request as a dry run. Asked twice it is one, too.
pub(super) fn dry(uri: &Uri) -> Uri {
    let query = uri.query().unwrap_or_default();
    let query = if query.is_empty() { "dryRun=All".to_owned() } else { format!("{query}&dryRun=All") };
    let text = format!("{}?{query}", uri.path());
    // Path and query of a request that was valid stay valid; without the mark nothing may be sent at all.
    text.parse().unwrap_or_else(|_| Uri::from_static("/dry-run-impossible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_marked_as_a_dry_run() {
        for (uri, expected) in [
            ("/a/b", "/a/b?dryRun=All"),
            ("/a/b?", "/a/b?dryRun=All"),
            ("/a/b?force=true&fieldManager=x", "/a/b?force=true&fieldManager=x&dryRun=All"),
        ] {
            assert_eq!(dry(&uri.parse().unwrap()).to_string(), expected);
        }
    }
}
