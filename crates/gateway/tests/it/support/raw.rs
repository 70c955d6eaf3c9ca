//! A model server made of bytes: it says exactly what the test wants, however wrong that is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it does after a request, one after the other; then it closes.
#[derive(Clone)]
pub enum Step {
    /// Says these bytes at once.
    Say(Bytes),
    /// The same, with a pause in front, so that they come for themselves.
    Later(Bytes),
    /// Says these bytes again and again for as long as they are taken.
    Endless(Bytes),
    /// The same, without haste.
    Drip(Bytes),
    /// Says these bytes once the test says so.
    When(watch::Receiver<bool>, Bytes),
    /// Says nothing more, and stays.
    Hang,
    /// Ends the connection with a reset.
    Reset,
}

struct Shared {
    steps: Mutex<Vec<Step>>,
    calls: watch::Sender<usize>,
    gone: watch::Sender<usize>,
}

pub struct Raw {
    /// Without a path.
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Raw {
    pub async fn start() -> Self {
        let shared =
            Arc::new(Shared { steps: Mutex::default(), calls: watch::Sender::new(0), gone: watch::Sender::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Self { url, shared, task }
    }

    pub fn script(&self, steps: Vec<Step>) {
        *self.shared.steps.lock().unwrap() = steps;
    }

    pub fn calls(&self) -> usize {
        *self.shared.calls.borrow()
    }

    /// Waits until so many calls have come.
    pub async fn called(&self, count: usize) {
        self.shared.calls.subscribe().wait_for(|calls| *calls >= count).await.unwrap();
    }

    /// Waits until so many callers have gone before they were answered.
    pub async fn gone(&self, count: usize) {
        self.shared.gone.subscribe().wait_for(|gone| *gone >= count).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    if request(&mut stream).await.is_none() {
        return;
    }
    let steps = shared.steps.lock().unwrap().clone();
    shared.calls.send_modify(|calls| *calls += 1);
    for step in steps {
        let said = match step {
            Step::Say(bytes) => stream.write_all(&bytes).await,
            Step::Later(bytes) => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                stream.write_all(&bytes).await
            }
            Step::Endless(bytes) => loop {
                if let Err(error) = stream.write_all(&bytes).await {
                    break Err(error);
                }
            },
            Step::Drip(bytes) => loop {
                if let Err(error) = stream.write_all(&bytes).await {
                    break Err(error);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            },
            Step::When(mut told, bytes) => {
                told.wait_for(|told| *told).await.unwrap();
                stream.write_all(&bytes).await
            }
            Step::Hang => {
                let mut byte = [0];
                let _ = stream.read(&mut byte).await;
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            Step::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        };
        if said.is_err() {
            shared.gone.send_modify(|gone| *gone += 1);
            return;
        }
    }
}

/// Reads a request with a body of a declared length.
async fn request(stream: &mut TcpStream) -> Option<()> {
    let mut all = Vec::new();
    loop {
        if stream.read_buf(&mut all).await.ok()? == 0 {
            return None;
        }
        let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if all.len() >= end + 4 + length.parse::<usize>().unwrap() {
            return Some(());
        }
    }
}

/// A 200 with a body of a declared length.
pub fn whole(kind: &str, body: &[u8]) -> Step {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Step::Say([head.as_bytes(), body].concat().into())
}

/// The head of a 200 whose body comes in chunks.
pub fn begin(kind: &str) -> Step {
    Step::Say(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n").into())
}

/// A chunk of the body.
pub fn chunk(bytes: &[u8]) -> Bytes {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat().into()
}

/// The proper end of a chunked body.
pub fn end() -> Step {
    Step::Later("0\r\n\r\n".into())
}
