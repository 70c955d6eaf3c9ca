//! One exchange with a server over a [`Way`](super::way::Way). Where no proxy stands between, it goes by the shortest
//! path there is, hyper's own client: reqwest clones and parses addresses and headers of each call for redirects that we
//! never follow. What a proxy passes on goes by reqwest.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::Url;
use tokio::net::TcpStream;
use tower_service::Service;

use super::way::Proxies;

/// A server that takes its leave over HTTP/2 has not looked at the request: it is made again, so often.
const AGAIN: usize = 2;
/// A connection whose server is gone is noticed by probes after this time without a word, and after this many.
const PROBES: (Duration, u32) = (Duration::from_secs(15), 3);
/// What was sent is confirmed within this time, or the server is gone.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// Makes calls. Clones share connections.
#[derive(Clone)]
pub struct Caller {
    /// For all but models.
    pub general: reqwest::Client,
    direct: Client<Connect, Full<Bytes>>,
    proxies: Arc<Proxies>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// Where a call goes, settled once.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub url: Url,
    direct: Option<Uri>,
}

/// An answer's head, and what still comes of it.
pub enum Reply {
    /// By the shortest path.
    Direct(Response<Incoming>),
    /// By the general client.
    General(Response<reqwest::Body>),
}

/// Why there is no answer.
pub enum CallError {
    /// From hyper's client.
    Direct(hyper_util::client::legacy::Error),
    /// From a body on the shortest path.
    Body(hyper::Error),
    /// From the general client.
    General(reqwest::Error),
}

impl Caller {
    /// With a general client that goes the same way. `tls` and `connect_within` are the way's; idle connections are kept
    /// for `idle`.
    pub(super) fn new(
        general: reqwest::Client,
        tls: rustls::ClientConfig,
        proxies: Proxies,
        connect_within: Duration,
        idle: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBES.0));
        tcp.set_keepalive_interval(Some(PROBES.0));
        tcp.set_keepalive_retries(Some(PROBES.1));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNCONFIRMED));
        let connect = Connect { https: HttpsConnector::from((tcp, tls)), within: connect_within };
        let direct = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle)
            .build(connect);
        Self { general, direct, proxies: Arc::new(proxies) }
    }

    /// An address, with the path to it.
    pub fn target(&self, url: Url) -> Target {
        // a name and password in it become a header, which the general client knows how to make
        let plain = url.username().is_empty() && url.password().is_none();
        let uri = Uri::try_from(url.as_str()).ok().filter(|uri| plain && !self.proxies.intercept(uri));
        Target { url, direct: uri }
    }

    /// `POST`.
    ///
    /// # Errors
    /// [`CallError`] when no answer begins.
    pub async fn post(&self, to: &Target, headers: HeaderMap, body: Vec<u8>) -> Result<Reply, CallError> {
        let Some(uri) = &to.direct else {
            let call = self.general.post(to.url.clone()).headers(headers).body(body);
            return call.send().await.map(|reply| Reply::General(reply.into())).map_err(CallError::General);
        };
        let body = Bytes::from(body);
        for _ in 0..AGAIN {
            match self.direct.request(made(uri, headers.clone(), body.clone())).await {
                Err(error) if took_leave(&error) => {}
                done => return done.map(Reply::Direct).map_err(CallError::Direct),
            }
        }
        self.direct.request(made(uri, headers, body)).await.map(Reply::Direct).map_err(CallError::Direct)
    }
}

fn made(uri: &Uri, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

fn took_leave(error: &hyper_util::client::legacy::Error) -> bool {
    chain(error).filter_map(|error| error.downcast_ref::<h2::Error>()).any(|error| {
        let leaves = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refuses = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (leaves || refuses)
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

impl Reply {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Direct(response) => response.status(),
            Self::General(response) => response.status(),
        }
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        match self {
            Self::Direct(response) => response.headers(),
            Self::General(response) => response.headers(),
        }
    }

    /// The length of its body, where the server says so.
    pub fn content_length(&self) -> Option<u64> {
        match self {
            Self::Direct(response) => response.body().size_hint().exact(),
            Self::General(response) => response.body().size_hint().exact(),
        }
    }

    /// The next piece of its body; `None` at its end.
    ///
    /// # Errors
    /// [`CallError`] when the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The same for those who poll. Trailers are nobody's.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            let data = match self {
                Self::Direct(response) => match ready!(Pin::new(response.body_mut()).poll_frame(cx)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Err(error)) => return Poll::Ready(Err(CallError::Body(error))),
                    Some(Ok(frame)) => frame.into_data(),
                },
                Self::General(response) => match ready!(Pin::new(response.body_mut()).poll_frame(cx)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Err(error)) => return Poll::Ready(Err(CallError::General(error))),
                    Some(Ok(frame)) => frame.into_data(),
                },
            };
            if let Ok(data) = data {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }
}

impl CallError {
    /// Nobody was asked: the address cannot be called.
    pub fn is_builder(&self) -> bool {
        matches!(self, Self::General(error) if error.is_builder())
    }

    /// There was no connection.
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Direct(error) => error.is_connect(),
            Self::Body(_) => false,
            Self::General(error) => error.is_connect(),
        }
    }

    /// Time was up.
    pub fn is_timeout(&self) -> bool {
        let timed_out = |error: &(dyn Error + 'static)| {
            chain(error).any(|error| {
                let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                io == Some(std::io::ErrorKind::TimedOut)
                    || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
            })
        };
        match self {
            Self::Direct(error) => timed_out(error),
            Self::Body(error) => timed_out(error),
            Self::General(error) => error.is_timeout(),
        }
    }

    /// The innermost cause in a few words, without the URL (which may hold credentials).
    pub fn cause(&self) -> String {
        match self {
            _ if self.is_timeout() => "no answer in time".to_owned(),
            Self::Direct(error) => super::innermost(error),
            Self::Body(error) => super::innermost(error),
            Self::General(error) => super::innermost(error),
        }
    }
}

/// Connects within a time, the TLS handshake included.
#[derive(Clone)]
struct Connect {
    https: HttpsConnector<HttpConnector>,
    within: Duration,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Connect {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.within, self.https.call(to));
        Box::pin(async move {
            connected.await.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::trust::Trust;
    use crate::upstream::way::{ProxyChoice, Way};

    #[test]
    fn only_what_no_proxy_passes_on_goes_by_the_shortest_path() {
        let proxy = || Secret::new("http://proxy.example.com:3128");
        let rules = |https: bool, http: bool, except: &str| ProxyChoice::Rules {
            https: https.then(proxy),
            http: http.then(proxy),
            except: except.to_owned(),
        };
        for (choice, url, direct) in [
            (ProxyChoice::None, "http://vllm:8000/v1", true),
            (ProxyChoice::None, "https://models.example.com/v1", true),
            (ProxyChoice::None, "http://user:password@vllm:8000/v1", false),
            (ProxyChoice::One(proxy()), "http://vllm:8000/v1", false),
            (ProxyChoice::One(proxy()), "https://10.1.2.3/v1", false),
            (rules(true, false, ""), "https://models.example.com/v1", false),
            (rules(true, false, ""), "http://vllm:8000/v1", true),
            (rules(false, true, ""), "http://vllm:8000/v1", false),
            (rules(false, true, ""), "https://models.example.com/v1", true),
            (rules(true, true, "example.com, 10.0.0.0/8"), "https://models.example.com/v1", true),
            (rules(true, true, "example.com, 10.0.0.0/8"), "http://10.1.2.3/v1", true),
            (rules(true, true, "example.com, 10.0.0.0/8"), "http://11.1.2.3/v1", false),
            // of addresses "*" says nothing, to this client as to reqwest
            (rules(true, true, "*"), "http://vllm:8000/v1", true),
            (rules(true, true, "*"), "http://11.1.2.3/v1", false),
        ] {
            let name = format!("{choice:?} {url}");
            let way = Way { trust: Trust::gather(&[]).unwrap(), proxy: choice, certificate: None };
            let target = way.caller().unwrap().target(Url::parse(url).unwrap());
            assert_eq!(target.direct.is_some(), direct, "{name}");
        }
    }
}
