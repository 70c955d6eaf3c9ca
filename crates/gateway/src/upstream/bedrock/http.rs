//! The AWS SDK on our own HTTP client, so that trust, proxies and client certificates are decided in one place
//! ([`crate::upstream::way`]) and connections are shared with it. The SDK's own client knows no client certificates.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::bounds::Bounded;

/// The client as the SDK wants it.
pub(super) fn http_client(client: reqwest::Client) -> SharedHttpClient {
    SharedHttpClient::new(Client(client))
}

#[derive(Clone, Debug)]
struct Client(reqwest::Client);

/// Connecting has the client's own time; where the SDK wants an answer sooner (instance metadata: within a second)
/// both of its times together bound the call until the answer's head.
#[derive(Clone, Debug)]
struct Connector {
    client: reqwest::Client,
    head_within: Option<Duration>,
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let head_within = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or_default());
        SharedHttpConnector::new(Connector { client: self.0.clone(), head_within })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, head_within } = self.clone();
        HttpConnectorFuture::new(async move {
            let call = send(client, request);
            match head_within {
                None => call.await,
                Some(time) => tokio::time::timeout(time, call)
                    .await
                    .unwrap_or_else(|elapsed| Err(ConnectorError::timeout(elapsed.into()))),
            }
        })
    }
}

async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let user = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
    let request = request.try_into_http1x().map_err(|error| user(error.into()))?;
    let (parts, body) = request.into_parts();
    // requests of this program are made in memory
    let body = body.bytes().map(Bytes::copy_from_slice).ok_or_else(|| user("a request body that streams".into()))?;
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body)).map_err(|e| user(e.into()))?;
    let response = client.execute(request).await.map_err(|error| {
        if error.is_timeout() {
            ConnectorError::timeout(error.without_url().into())
        } else {
            ConnectorError::io(error.without_url().into())
        }
    })?;
    let response: http::Response<reqwest::Body> = response.into();
    let (head, body) = response.into_parts();
    let body = Bounded::new(body);
    HttpResponse::try_from(http::Response::from_parts(head, SdkBody::from_body_1_x(body)))
        .map_err(|error| user(error.into()))
}
