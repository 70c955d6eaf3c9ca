//! How much a client may take and how slow it may be. None of it is a setting: the values fit every client that GitLab
//! or an IDE is, and only tests shorten the times.
//!
//! There is no limit per client address: behind GitLab all requests come from a few addresses of GitLab itself (or of an
//! ingress), so that it would only throttle the one client there is. Users are told apart by their tokens' limits.

use std::time::Duration;

/// Limits of one listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// A connection without a request for this long is closed. Longer than the 90 s after which GitLab's Workhorse
    /// closes idle connections itself: who closes first must not be the one who is about to be asked.
    pub idle: Duration,
    /// A TLS handshake is done within this time.
    pub handshake: Duration,
    /// A request's head is there this long after its first byte.
    pub head: Duration,
    /// A client that takes nothing of its answer for this long is cut off.
    pub unread: Duration,
    /// After an answer that does not wait for the rest of the request: how long the rest is thrown away, so that the
    /// client gets to read the answer instead of a reset.
    pub linger: Duration,
    /// A whole body is here within this time.
    pub body: Duration,
    /// And some of it within each of these.
    pub body_pause: Duration,
    /// An HTTP/2 client is asked this often whether it is there…
    pub ping: Duration,
    /// …and says so within this time, also in the middle of a head that does not come to its end.
    pub pong: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            idle: Duration::from_secs(120),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            unread: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            body: Duration::from_secs(60),
            body_pause: Duration::from_secs(10),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(20),
        }
    }
}

/// Largest head of a request; the token alone may have 16 KiB.
pub(super) const MAX_HEAD: usize = 32 << 10;
/// Upper limit of hyper's buffers per connection (HTTP/1) or stream (HTTP/2), instead of 400 KB.
pub(super) const BUFFER: usize = 64 << 10;
/// Requests at a time on one HTTP/2 connection.
pub(super) const STREAMS: u32 = 256;
/// What an HTTP/2 client may send before it is read: of one request, and of all on a connection.
pub(super) const WINDOWS: (u32, u32) = (256 << 10, 512 << 10);
/// Resets by the client of requests that were not begun (CVE-2023-44487), and resets that its mistakes brought about
/// (CVE-2025-8671), before the connection is ended.
pub(super) const RESETS: (usize, usize) = (20, 100);
/// Thrown away at most while lingering.
pub(super) const LINGER_BYTES: usize = 32 << 20;

impl Limits {
    /// With no more connections than there are file descriptors for: each may need a second one towards a model server,
    /// and some must be left for everything else.
    pub fn fitting(mut self, descriptors: Option<usize>) -> Self {
        if let Some(descriptors) = descriptors {
            self.connections = self.connections.min((descriptors.saturating_sub(64) / 2).max(16));
        }
        self
    }
}

/// How many files this process may have open, where the system tells.
pub fn descriptors() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    soft_limit(&text)
}

/// `Max open files            1024                 524288               files`
fn soft_limit(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_file_descriptors() {
        for (descriptors, connections) in [(None, 8192), (Some(1 << 20), 8192), (Some(1024), 480), (Some(10), 16)] {
            assert_eq!(Limits::default().fitting(descriptors).connections, connections);
        }
    }

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Limit     Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files  unlimited unlimited files"), None);
        assert_eq!(soft_limit(""), None);
    }
}
