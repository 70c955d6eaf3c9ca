//! Where lines go: into a bounded buffer that a thread of its own writes out, so that no request ever waits for a slow
//! disk or a full pipe. Lines that find the buffer full are counted and left out; when there is room again, a line
//! says how many.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::line::{Fields, Head, with_line};
use crate::settings::Logging;

/// Lines that wait to be written, in bytes.
const MOST_WAITING: usize = 4 << 20;
/// So many bytes are written at once without waiting for more.
const ENOUGH: usize = 64 << 10;
/// Lines are gathered for this long: one write for all of them.
const GATHER: Duration = Duration::from_millis(5);

/// Where lines go. Clones share it; what waits is written when the last one is dropped.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
    json: bool,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread.
    wake: Condvar,
    /// The thread has written.
    written: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines taken so far, and how many of them are written.
    taken: u64,
    done: u64,
    /// Lines left out since the last one that was written.
    lost: u64,
    hurry: bool,
    closing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the thread with the last sink.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.state().closing = true;
        self.0.wake.notify_one();
    }
}

impl Sink {
    /// Lines into `out`; as JSON or as plain text.
    pub fn new(out: impl Write + Send + 'static, json: bool) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            dropped: Counter::default(),
        });
        let thread = shared.clone();
        let started = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_out(&thread, out, json));
        if started.is_err() {
            // nobody would ever write: every line counts as left out
            shared.state().closing = true;
        }
        Self { _owner: Arc::new(Owner(shared.clone())), shared, json }
    }

    /// As the settings say: a file, or standard error.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(settings: &Logging) -> std::io::Result<Self> {
        Ok(match &settings.to_file {
            Some(path) => Self::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?, settings.json),
            None => Self::new(std::io::stderr(), settings.json),
        })
    }

    /// Fields for lines of this sink.
    pub fn fields(&self, capacity: usize) -> Fields {
        Fields::new(self.json, capacity)
    }

    /// Takes one line. Never waits for its writing.
    pub fn write(&self, head: Head<'_>, message: std::fmt::Arguments<'_>, parts: &[&Fields]) {
        with_line(self.json, head, message, parts, |line| self.take(line, head.level == tracing::Level::ERROR));
    }

    /// Lines that were left out.
    pub fn dropped(&self) -> Counter {
        self.shared.dropped.clone()
    }

    /// Waits until all lines taken so far are written, for at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let mut state = self.shared.state();
        let goal = state.taken;
        state.hurry = true;
        self.shared.wake.notify_one();
        let waited = self.shared.written.wait_timeout_while(state, patience, |state| state.done < goal);
        drop(waited);
    }

    fn take(&self, line: &[u8], hurry: bool) {
        let mut state = self.shared.state();
        if state.closing || state.waiting.len() + line.len() > MOST_WAITING {
            state.lost += 1;
            self.shared.dropped.inc();
            return;
        }
        let before = state.waiting.len();
        state.waiting.extend_from_slice(line);
        state.taken += 1;
        let hurries = hurry && !state.hurry;
        state.hurry |= hurry;
        // the thread sleeps, or gathers: it is woken only where that makes a difference
        let wake = before == 0 || hurries || (before < ENOUGH && state.waiting.len() >= ENOUGH);
        drop(state);
        if wake {
            self.shared.wake.notify_one();
        }
    }
}

fn write_out(shared: &Shared, mut out: impl Write, json: bool) {
    let mut writing = Vec::new();
    let mut state = shared.state();
    loop {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closing;
        state = shared.wake.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let more = |state: &mut State| !state.hurry && !state.closing && state.waiting.len() < ENOUGH;
        state = shared.wake.wait_timeout_while(state, GATHER, more).unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.waiting, &mut writing);
        let (goal, lost, closing) = (state.taken, std::mem::take(&mut state.lost), state.closing);
        state.hurry = false;
        drop(state);
        // a log that cannot be written has nowhere to say so
        let _ = out.write_all(&writing);
        if lost > 0 {
            let head = Head { level: tracing::Level::WARN, logger: "duo_gateway::logging", kind: "mlops" };
            let message = format_args!("{lost} log lines were left out: they came faster than they could be written");
            with_line(json, head, message, &[], |line| drop(out.write_all(line)));
        }
        let _ = out.flush();
        writing.clear();
        writing.shrink_to(ENOUGH);
        state = shared.state();
        state.done = goal;
        shared.written.notify_all();
        if closing && state.waiting.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const HEAD: Head<'static> = Head { level: tracing::Level::INFO, logger: "l", kind: "mlops" };

    /// Writes only when it is let.
    struct Slow {
        let_go: mpsc::Receiver<()>,
        out: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.let_go.recv();
            self.out.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_hangs_holds_up_nobody_and_what_is_left_out_is_counted_and_said() {
        let (let_go, gate) = mpsc::channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::new(Slow { let_go: gate, out: out.clone() }, true);
        let text = "x".repeat(1 << 20);
        for _ in 0..16 {
            sink.write(HEAD, format_args!("{text}"), &[]);
        }
        let dropped = sink.dropped().get();
        assert!(dropped >= 8, "{dropped}");
        drop(let_go);
        sink.flush(Duration::from_secs(60));
        sink.write(HEAD, format_args!("after"), &[]);
        sink.flush(Duration::from_secs(60));
        let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert!(text.contains(&format!("{dropped} log lines were left out")), "…");
        assert!(text.lines().last().unwrap().contains("after"), "…");
        assert_eq!(u64::try_from(text.lines().count()).unwrap(), 16 - dropped + 2);
    }

    #[test]
    fn the_last_sink_writes_what_waits() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let (let_go, gate) = mpsc::channel();
        drop(let_go);
        let sink = Sink::new(Slow { let_go: gate, out: out.clone() }, true);
        sink.write(HEAD, format_args!("last words"), &[]);
        drop(sink);
        while !String::from_utf8_lossy(&out.lock().unwrap()).contains("last words") {
            std::thread::yield_now();
        }
    }
}
