//! As many requests as the other side manages: each connection asks again as soon as it is answered.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Client, runtime};
use crate::proc;

/// Processor time is taken in windows of this length.
const WINDOW: Duration = Duration::from_millis(150);

/// What was measured between warm-up and end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Good answers.
    pub answers: u64,
    /// All others, the warm-up's included.
    pub failures: u64,
    /// Time.
    pub elapsed: Duration,
    /// Processor time of the measured processes.
    pub cpu: Duration,
    /// Milliseconds of processor time for a thousand answers, in each window.
    windows: Vec<f64>,
}

impl Outcome {
    /// Milliseconds of processor time for a thousand answers: what a quarter of the windows stay below. Whatever else
    /// the machine does (and it empties the caches) only ever adds.
    pub fn cpu_per_thousand(&self) -> f64 {
        let mut sorted = self.windows.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 4).copied().unwrap_or_default()
    }

    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Share of a core that the measured processes used.
    pub fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// Asks `count` times, one after the other.
///
/// # Errors
/// An answer was not good.
pub fn some(address: SocketAddr, requests: &[Vec<u8>], count: u64) -> crate::Fallible<()> {
    runtime()?.block_on(async {
        let mut client = Client::new(address);
        for (number, request) in (0..count).zip(requests.iter().cycle()) {
            if !client.ask(request).await {
                return Err(format!("request {number}: status {}", client.reader.status).into());
            }
        }
        Ok(())
    })
}

/// Runs `connections` at a time; the requests (different users') go round.
///
/// # Errors
/// No runtime.
pub fn run(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    (warm_up, time): (Duration, Duration),
    pids: &[u32],
) -> std::io::Result<Outcome> {
    let requests: Rc<[Vec<u8>]> = requests.into();
    let (answers, failures) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0u64)));
    let runtime = runtime()?;
    let local = tokio::task::LocalSet::new();
    for number in 0..connections {
        let (requests, answers, failures) = (requests.clone(), answers.clone(), failures.clone());
        local.spawn_local(async move {
            let mut client = Client::new(address);
            for turn in number.. {
                match client.ask(&requests[turn % requests.len()]).await {
                    true => answers.set(answers.get() + 1),
                    false => {
                        failures.set(failures.get() + 1);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
    }
    Ok(local.block_on(&runtime, async {
        tokio::time::sleep(warm_up).await;
        let (before, cpu, began) = (answers.get(), proc::cpu(pids), Instant::now());
        let (mut windows, mut last) = (Vec::new(), (before, cpu));
        while began.elapsed() < time {
            tokio::time::sleep(WINDOW).await;
            let now = (answers.get(), proc::cpu(pids));
            if now.0 > last.0 {
                windows.push(now.1.saturating_sub(last.1).as_secs_f64() * 1e6 / (now.0 - last.0) as f64);
            }
            last = now;
        }
        Outcome {
            answers: last.0 - before,
            failures: failures.get(),
            elapsed: began.elapsed(),
            cpu: last.1.saturating_sub(cpu),
            windows,
        }
    }))
}
