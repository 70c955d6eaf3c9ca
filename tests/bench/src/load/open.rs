//! Latency at a fixed rate. Requests are due at fixed times; one that had to wait for its predecessor counts from the
//! time it was due, so that a slow answer is not hidden by what it kept from being asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http1::Reader;

/// Requests take turns on these many connections.
const LANES: usize = 4;
/// An answer that takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(5);

/// What ends the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The body's first byte.
    FirstByte,
    /// The body's last byte.
    LastByte,
}

/// Kept connections to one address.
pub struct Lanes {
    address: SocketAddr,
    lanes: Vec<Option<TcpStream>>,
    /// Times, unsorted.
    pub times: Vec<Duration>,
    /// Requests without a good answer.
    pub failures: u64,
}

impl Lanes {
    /// Not connected yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, lanes: (0..LANES).map(|_| None).collect(), times: Vec::new(), failures: 0 }
    }

    /// Asks `count` times, one each `gap`, and adds the times.
    pub fn run(&mut self, requests: &[Vec<u8>], count: usize, gap: Duration, until: Until) {
        let (address, start) = (self.address, Instant::now() + Duration::from_millis(5));
        let results: Vec<Vec<Option<Duration>>> = std::thread::scope(|scope| {
            let lanes: Vec<_> = self
                .lanes
                .iter_mut()
                .enumerate()
                .map(|(lane, stream)| {
                    scope.spawn(move || {
                        (lane..count)
                            .step_by(LANES)
                            .map(|turn| {
                                let due = start + gap * u32::try_from(turn).unwrap_or(u32::MAX);
                                one(stream, address, &requests[turn % requests.len()], due, until)
                            })
                            .collect()
                    })
                })
                .collect();
            lanes.into_iter().map(|lane| lane.join().unwrap_or_default()).collect()
        });
        for result in results.into_iter().flatten() {
            match result {
                Some(time) => self.times.push(time),
                None => self.failures += 1,
            }
        }
    }
}

fn one(
    kept: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
    due: Instant,
    until: Until,
) -> Option<Duration> {
    let now = Instant::now();
    let began = if now < due {
        std::thread::sleep(due - now);
        // the clock's own lateness is nobody's latency
        Instant::now()
    } else {
        due
    };
    let result = exchange(kept, address, request, began, until);
    if result.is_none() {
        *kept = None;
    }
    result
}

fn exchange(
    kept: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
    began: Instant,
    until: Until,
) -> Option<Duration> {
    let stream = match kept {
        Some(stream) => stream,
        none => {
            let stream = TcpStream::connect(address).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            none.insert(stream)
        }
    };
    stream.write_all(request).ok()?;
    let (mut reader, mut buffer, mut time) = (Reader::default(), [0; 16 << 10], None);
    while !reader.done() {
        let read = stream.read(&mut buffer).ok()?;
        if read == 0 || reader.broken() {
            return None;
        }
        reader.push(&buffer[..read]);
        if time.is_none() && until == Until::FirstByte && reader.body > 0 {
            time = Some(began.elapsed());
        }
    }
    (reader.status == 200).then(|| time.unwrap_or_else(|| began.elapsed()))
}

/// The value below which the share of the times lies.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1).min(last);
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        for (share, expected) in [(0.5, 100), (0.9, 180), (0.99, 198), (1.0, 200), (0.0, 1)] {
            assert_eq!(percentile(&times, share), Duration::from_millis(expected), "{share}");
        }
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
