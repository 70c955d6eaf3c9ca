//! Log lines as JSON on stderr.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts logging; `RUST_LOG` decides what is logged, else `default` does (`info`, `duo_operator=debug,info`).
///
/// Calling it twice has no effect: tests start several programs in one process.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let _already_started = lines(filter, std::io::stderr).try_init();
}

fn lines<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .with_filter(filter_fn(repeats_no_answer));
    tracing_subscriber::registry().with(filter).with(lines)
}

/// kube's client logs an answer that it cannot read word for word, and what is read may be a Secret. The error that it
/// returns says the rest, whatever `RUST_LOG` asks for.
fn repeats_no_answer(metadata: &Metadata<'_>) -> bool {
    metadata.target() != "kube_client::client" || *metadata.level() <= Level::ERROR
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, Config};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_is_repeated_neither_in_the_log_nor_in_the_error() {
        let written = Written::default();
        let writer = written.clone();
        let _logs =
            tracing::subscriber::set_default(lines(EnvFilter::new("trace,hyper=off,h2=off"), move || writer.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let cut = r#"{"kind": "Secret", "apiVersion": "v1", "data": "U0VDUkVU"}"#;
        let server =
            tokio::spawn(
                async move { axum::serve(listener, Router::new().fallback(move || async move { cut })).await },
            );
        let api: Api<Secret> = Api::namespaced(crate::client::connect_with(Config::new(url)).unwrap(), "n");
        let error = crate::call("get Secret n/s", api.get("s")).await.unwrap_err();
        server.abort();
        tracing::info!("after it");
        let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("after it"), "{log}");
        assert!(!log.contains("U0VDUkVU"), "{log}");
        assert_eq!(error.to_string(), "get Secret n/s: the Kubernetes API's answer cannot be read (line 1 column 57)");
    }
}
