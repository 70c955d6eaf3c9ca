//! Many streams at a time, each read to its end.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{Client, runtime};
use crate::proc::{self, Memory};

/// What was measured from the first stream's begin to the last one's end.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Streams that did not end as they should.
    pub failures: u64,
    /// Processor time of the measured processes.
    pub cpu: Duration,
    /// Most memory of the measured processes at a time.
    pub peak: Memory,
}

/// Opens `count` streams, one each `gap`, and reads them all.
///
/// # Errors
/// No runtime.
pub fn run(
    address: SocketAddr,
    requests: &[Vec<u8>],
    count: usize,
    gap: Duration,
    pids: &[u32],
) -> std::io::Result<Outcome> {
    let requests: Rc<[Vec<u8>]> = requests.into();
    let failures = Rc::new(Cell::new(0u64));
    let peak = Rc::new(Cell::new(Memory::default()));
    let runtime = runtime()?;
    let local = tokio::task::LocalSet::new();
    let cpu = proc::cpu(pids);
    local.block_on(&runtime, async {
        let (watched, most) = (pids.to_vec(), peak.clone());
        let watch = tokio::task::spawn_local(async move {
            loop {
                let now = proc::memory(&watched);
                let peak = most.get();
                most.set(Memory { rss: peak.rss.max(now.rss), pss: peak.pss.max(now.pss) });
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        let mut streams = Vec::with_capacity(count);
        for number in 0..count {
            let (requests, failures) = (requests.clone(), failures.clone());
            streams.push(tokio::task::spawn_local(async move {
                let mut client = Client::new(address);
                // 64 KiB a stream would be this process's memory, not the measured one's
                client.buffer = Vec::with_capacity(4 << 10);
                if !client.ask(&requests[number % requests.len()]).await {
                    failures.set(failures.get() + 1);
                }
            }));
            if gap > Duration::ZERO {
                tokio::time::sleep(gap).await;
            }
        }
        for stream in streams {
            let _ = stream.await;
        }
        watch.abort();
    });
    let peak = peak.get();
    Ok(Outcome { failures: failures.get(), cpu: proc::cpu(pids).saturating_sub(cpu), peak })
}
