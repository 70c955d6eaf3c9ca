//! The least that a reverse proxy in Rust can be: hyper's server in front of hyper's pooled client, no checks, no logs.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::Fallible;

type Pool = Client<HttpConnector, Incoming>;

/// Serves until killed.
///
/// # Errors
/// No port.
pub fn run(upstream: SocketAddr) -> Fallible<()> {
    // the same runtime as the gateway's
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(upstream))
}

async fn serve(upstream: SocketAddr) -> Fallible<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let authority: Authority = upstream.to_string().parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (pool, authority) = (pool.clone(), authority.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| forward(pool.clone(), authority.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(
    pool: Pool,
    authority: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
    *request.uri_mut() = target.unwrap_or_default();
    Ok(match pool.request(request).await {
        Ok(answer) => answer.map(BodyExt::boxed),
        Err(_) => {
            let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    })
}
