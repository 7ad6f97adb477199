//! An answer that is read as it comes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use task_mcp_bench::Request;

/// Until what a test waits for has come; far above what any promise allows.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that was sent, and as much of its answer as was asked for.
pub struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    ended: bool,
}

impl Stream {
    /// Sends a request over a connection of its own.
    pub fn open(address: SocketAddr, request: &Request) -> Self {
        let mut socket = TcpStream::connect(address).expect("the server takes connections");
        socket.write_all(&request.to_bytes(&address.to_string(), false)).expect("the server reads");
        Self { socket, raw: Vec::new(), ended: false }
    }

    /// Waits for the head of the answer: its status line and headers, names in lower case.
    pub fn head(&mut self) -> String {
        self.wait("the head of an answer", |stream| stream.parts().map(|(head, _)| head))
    }

    /// What has come of the body, chunks joined.
    pub fn text(&self) -> String {
        self.parts().map(|(_, body)| body).unwrap_or_default()
    }

    /// Reads until the body holds `wanted` this many times.
    pub fn read_until(&mut self, wanted: &str, times: usize) {
        let what = format!("{times} x {wanted:?}");
        self.wait(&what, |stream| (stream.text().matches(wanted).count() >= times).then_some(()));
    }

    /// Reads until this many JSON-RPC messages have come, and returns them all.
    pub fn messages(&mut self, count: usize) -> Vec<Value> {
        self.wait(&format!("{count} messages"), |stream| {
            Some(messages(&stream.text())).filter(|messages| messages.len() >= count)
        })
    }

    /// Reads to the end of the answer: all its messages.
    pub fn rest(mut self) -> Vec<Value> {
        self.wait("the end of an answer", |stream| stream.ended.then_some(()));
        messages(&self.text())
    }

    /// Reads until `found` finds something.
    fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(!self.ended, "the answer ended before {what}: {}", String::from_utf8_lossy(&self.raw));
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} has not come: {}", String::from_utf8_lossy(&self.raw));
            self.socket.set_read_timeout(Some(left)).expect("a time limit");
            let mut piece = [0; 16 * 1024];
            match self.socket.read(&mut piece) {
                Ok(0) => self.ended = true,
                Ok(read) => self.raw.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{what}: {error}: {}", String::from_utf8_lossy(&self.raw)),
            }
        }
    }

    /// Head and body, once the head is whole.
    fn parts(&self) -> Option<(String, String)> {
        let end = self.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.raw[..end]).to_lowercase();
        let body = &self.raw[end + 4..];
        let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_vec() };
        Some((head, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// The chunks that have come as a whole, and the beginning of the next.
fn joined(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunked.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = std::str::from_utf8(&chunked[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.unwrap_or_else(|| panic!("no size of a chunk: {}", String::from_utf8_lossy(chunked)));
        chunked = &chunked[end + 2..];
        body.extend_from_slice(&chunked[..size.min(chunked.len())]);
        chunked = chunked.get(size + 2..).unwrap_or_default();
    }
    body
}

/// The JSON-RPC messages of a body: those of its complete events, or the one it is.
fn messages(body: &str) -> Vec<Value> {
    if let Ok(message) = serde_json::from_str(body) {
        return vec![message];
    }
    let (whole, _) = body.rsplit_once("\n\n").unwrap_or_default();
    let data = whole.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    // An event that primes a client for a later request has none.
    let data = data.filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}
