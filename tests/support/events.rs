//! A stream of server-sent events that is read as it comes.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;
use task_mcp_bench::Request;

use super::server::{REQUEST_LIMIT, Server};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What a client comes back with.
    pub id: Option<String>,
    /// When it is to come back, in milliseconds.
    pub retry: Option<u64>,
    /// What is said.
    pub data: String,
}

/// A response whose body is read piece by piece.
pub struct Events {
    socket: TcpStream,
    raw: Vec<u8>,
    text: Vec<u8>,
    head: String,
    ended: bool,
    comments: usize,
}

impl Events {
    /// Sends a request over a connection of its own and reads the head of the answer.
    pub fn open(server: &Server, request: &Request) -> Self {
        Self::try_open(server, request).expect("an answer")
    }

    /// The same; `None` if the server does not answer.
    pub fn try_open(server: &Server, request: &Request) -> Option<Self> {
        let mut socket = TcpStream::connect(server.address()).ok()?;
        socket.write_all(&request.to_bytes(&server.address().to_string(), true)).ok()?;
        let (raw, text, head) = (Vec::new(), Vec::new(), String::new());
        let mut events = Self { socket, raw, text, head, ended: false, comments: 0 };
        let deadline = Instant::now() + REQUEST_LIMIT;
        let end = loop {
            if let Some(at) = events.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !events.fill(deadline)? {
                return None;
            }
        };
        events.head = String::from_utf8_lossy(&events.raw[..end]).to_ascii_lowercase();
        events.raw.drain(..end + 4);
        Some(events)
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// The head, in lower case.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Comments so far.
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// The next event; `None` once the stream has ended. Nothing for too long fails the test.
    pub fn next(&mut self) -> Option<Event> {
        self.next_within(REQUEST_LIMIT).unwrap_or_else(|| panic!("nothing came within {REQUEST_LIMIT:?}"))
    }

    /// The next event, or the end, if it comes within this time.
    pub fn next_within(&mut self, limit: Duration) -> Option<Option<Event>> {
        let deadline = Instant::now() + limit;
        loop {
            self.unchunk();
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block = String::from_utf8(self.text.drain(..end + 2).collect()).expect("UTF-8");
                match parse(&block) {
                    Some(event) => return Some(Some(event)),
                    None => self.comments += 1,
                }
            }
            if self.ended {
                return Some(None);
            }
            match self.fill(deadline) {
                Some(true) => {}
                Some(false) => self.ended = true,
                None => return None,
            }
        }
    }

    /// The next message; the end of the stream fails the test.
    pub fn message(&mut self) -> Value {
        loop {
            let event = self.next().expect("a message, but the stream ended");
            if !event.data.is_empty() {
                return serde_json::from_str(&event.data).expect("a message is JSON");
            }
        }
    }

    /// The messages up to the end of the stream.
    pub fn rest(&mut self) -> Vec<Value> {
        let events = std::iter::from_fn(|| self.next());
        let events = events.filter(|event| !event.data.is_empty());
        events.map(|event| serde_json::from_str(&event.data).expect("a message is JSON")).collect()
    }

    /// Reads some bytes of the body; how many, 0 at its end. For bodies that are no events.
    pub fn read_some(&mut self) -> usize {
        let deadline = Instant::now() + REQUEST_LIMIT;
        loop {
            self.unchunk();
            if !self.text.is_empty() {
                return std::mem::take(&mut self.text).len();
            }
            if self.ended {
                return 0;
            }
            match self.fill(deadline) {
                Some(more) => self.ended |= !more,
                None => panic!("nothing came within {REQUEST_LIMIT:?}"),
            }
        }
    }

    /// Moves whole chunks from what was read to the text (RFC 9112, section 7.1).
    fn unchunk(&mut self) {
        if !self.head.contains("transfer-encoding: chunked") {
            self.text.append(&mut self.raw);
            return;
        }
        while let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..line]).expect("a size");
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 2 + size + 2);
            if size == 0 {
                self.ended = true;
                return;
            }
        }
    }

    /// Reads what is there; whether it was anything, `None` if nothing came in time.
    fn fill(&mut self, deadline: Instant) -> Option<bool> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left)).expect("a socket");
        let mut piece = [0; 65_536];
        match self.socket.read(&mut piece) {
            Ok(read) => {
                self.raw.extend_from_slice(&piece[..read]);
                Some(read > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(false),
        }
    }
}

/// An event; `None` for a comment.
fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut is_event = false;
    for line in block.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            "data" => event.data.push_str(value),
            _ => {}
        }
        is_event |= !name.is_empty();
    }
    is_event.then_some(event)
}
