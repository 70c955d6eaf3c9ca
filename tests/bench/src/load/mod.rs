//! Load. `closed` keeps connections busy, `streams` opens streams and reads them to their ends, `open` asks at fixed
//! times, whatever became of the request before.

pub mod closed;
pub mod open;
pub mod streams;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http1::Reader;

/// One kept connection.
struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    reader: Reader,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, reader: Reader::default(), buffer: Vec::with_capacity(64 << 10) }
    }

    /// Asks and reads the answer; `true` when it was 200 and whole. A failed connection is given up.
    async fn ask(&mut self, request: &[u8]) -> bool {
        let good = self.exchange(request).await.unwrap_or(false);
        if !good {
            self.stream = None;
        }
        good
    }

    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<bool> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request).await?;
        self.reader.reset();
        while !self.reader.done() {
            self.buffer.clear();
            if stream.read_buf(&mut self.buffer).await? == 0 || self.reader.broken() {
                return Ok(false);
            }
            self.reader.push(&self.buffer);
        }
        Ok(self.reader.status == 200)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The body of one answer, for a look at what comes.
///
/// # Errors
/// No 200.
pub fn probe(address: SocketAddr, request: &[u8]) -> crate::Fallible<Vec<u8>> {
    runtime()?.block_on(async {
        let mut client = Client::new(address);
        client.reader = Reader::keeping();
        let good = client.ask(request).await;
        let body = client.reader.kept.take().unwrap_or_default();
        if good {
            return Ok(body);
        }
        Err(format!("status {}: {}", client.reader.status, String::from_utf8_lossy(&body)).into())
    })
}

/// `GET`: status and body.
///
/// # Errors
/// No answer.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut reader = Reader::keeping();
    let mut buffer = vec![0; 64 << 10];
    while !reader.done() {
        let read = stream.read(&mut buffer)?;
        if read == 0 || reader.broken() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        reader.push(&buffer[..read]);
    }
    Ok((reader.status, String::from_utf8_lossy(&reader.kept.unwrap_or_default()).into_owned()))
}
