//! A trace collector: takes OTLP over HTTP and reads it with OpenTelemetry's own decoder.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// A delivery.
#[derive(Clone)]
pub struct Delivery {
    pub path: String,
    pub headers: HeaderMap,
    pub request: ExportTraceServiceRequest,
}

struct Shared {
    deliveries: Mutex<Vec<Delivery>>,
    /// Answers that come before the first 200.
    refusals: Mutex<Vec<(StatusCode, Option<&'static str>)>>,
}

/// A listening collector.
pub struct Collector {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        Self::refusing(Vec::new()).await
    }

    /// One that gives these answers first.
    pub async fn refusing(refusals: Vec<(StatusCode, Option<&'static str>)>) -> Self {
        let shared = Arc::new(Shared { deliveries: Mutex::default(), refusals: Mutex::new(refusals) });
        let app = axum::Router::new().fallback(take).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let groups = self.deliveries().into_iter().flat_map(|delivery| delivery.request.resource_spans);
        groups.flat_map(|group| group.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

async fn take(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("what is sent is an export request");
    // nothing was left out by the decoder: it writes the same bytes again
    assert_eq!(request.encoded_len(), body.len());
    let mut answer = HeaderMap::new();
    let refusal = {
        let mut refusals = shared.refusals.lock().unwrap();
        (!refusals.is_empty()).then(|| refusals.remove(0))
    };
    if let Some((status, retry_after)) = refusal {
        if let Some(seconds) = retry_after {
            answer.insert("retry-after", seconds.parse().unwrap());
        }
        return (status, answer);
    }
    shared.deliveries.lock().unwrap().push(Delivery { path: uri.path().into(), headers, request });
    (StatusCode::OK, answer)
}

/// An attribute as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    fn text(value: &AnyValue) -> String {
        match value.value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => text.clone(),
            any_value::Value::IntValue(number) => number.to_string(),
            any_value::Value::DoubleValue(number) => number.to_string(),
            any_value::Value::BoolValue(switch) => switch.to_string(),
            any_value::Value::ArrayValue(list) => list.values.iter().map(text).collect::<Vec<_>>().join(","),
            other => panic!("{other:?}"),
        }
    }
    attributes.iter().find(|pair| pair.key == name).map(|pair| text(pair.value.as_ref().unwrap()))
}
