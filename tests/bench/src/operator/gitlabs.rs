//! Many simulated GitLabs in this process, each on a port of its own, and what was asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_sim::gitlab::{self, Action, Entry, Fault, Handle};
use futures::StreamExt as _;

use crate::Fallible;

/// Token of every instance's administrator.
pub const TOKEN: &str = "glpat-bench-administrator";

/// All instances.
pub struct GitLabs {
    all: Vec<Handle>,
}

/// Positions in the journals.
pub struct Marks(Vec<u64>);

impl GitLabs {
    /// Starts as many; each answer takes `delay`.
    ///
    /// # Errors
    /// One cannot be started.
    pub async fn start(count: usize, delay: Duration) -> Fallible<Self> {
        let keys = Arc::new(gitlab::oidc::Keys::generate()?);
        let start = |_| {
            let config = gitlab::Config {
                admin_token: Some(TOKEN.to_owned()),
                admin_seat: true,
                terms_accepted: true,
                allow_local_requests: true,
                outbound_allowlist: vec!["127.0.0.0/8".to_owned()],
                flows_ready: true,
                keys: Some(Arc::clone(&keys)),
                ..gitlab::Config::default()
            };
            async move {
                let handle = gitlab::start(config).await?;
                let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                handle.faults().add(Fault { name: "distance".to_owned(), ..Fault::new(Action::Delay { ms }) });
                // ids in an instance are its own, but two instances must not be taken for one
                Ok::<_, std::io::Error>(handle)
            }
        };
        let started: Vec<_> = futures::stream::iter(0..count).map(start).buffered(8).collect().await;
        let all = started.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (number, handle) in all.iter().enumerate() {
            handle.edit(|state| state.instance.uuid = format!("5cb5dd2a-7d4b-4a3c-8d0b-{number:012}"));
        }
        Ok(Self { all })
    }

    /// URL of one.
    pub fn url(&self, number: usize) -> String {
        self.all.get(number).map(Handle::url).unwrap_or_default()
    }

    /// One of them.
    pub fn get(&self, number: usize) -> Option<&Handle> {
        self.all.get(number)
    }

    /// Where the journals are now.
    pub fn mark(&self) -> Marks {
        Marks(self.all.iter().map(|handle| handle.journal().mark()).collect())
    }

    /// Calls since the marks, by operation.
    pub fn calls(&self, since: &Marks) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for entry in self.entries(since).into_iter().flatten() {
            *calls.entry(operation(&entry)).or_default() += 1;
        }
        calls
    }

    /// The most calls of one operation that any instance got since the marks.
    pub fn most(&self, since: &Marks, wanted: &str) -> usize {
        let count = |entries: Vec<Entry>| entries.iter().filter(|entry| operation(entry) == wanted).count();
        self.entries(since).into_iter().map(count).max().unwrap_or(0)
    }

    fn entries(&self, since: &Marks) -> Vec<Vec<Entry>> {
        // what GitLab itself asks of gateways is in its journal, too
        let incoming = |entry: &Entry| !entry.path.starts_with("http");
        let of = |(handle, mark): (&Handle, &u64)| {
            handle.journal().since(*mark).into_iter().filter(incoming).collect::<Vec<_>>()
        };
        self.all.iter().zip(&since.0).map(of).collect()
    }

    /// Waits until an instance gets a mutation that says `text`; how long after `from` that was. `None` after `limit`.
    pub async fn until_told(
        &self,
        number: usize,
        mark: u64,
        text: &str,
        from: Instant,
        limit: Duration,
    ) -> Option<f64> {
        let journal = self.all.get(number)?.journal();
        while from.elapsed() < limit {
            let told = journal.writes(mark).iter().any(|entry| entry.variables.to_string().contains(text));
            if told {
                return Some(from.elapsed().as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }
}

fn operation(entry: &Entry) -> String {
    entry.operation_name.clone().unwrap_or_else(|| format!("{} {}", entry.method, entry.path))
}
