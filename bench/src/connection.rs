//! One TCP connection: opening, the check before reuse, one exchange.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, Interest},
    net::TcpStream,
    time::timeout,
};

use crate::{
    answer::{Answer, Framing, Head, parse_head},
    outcome::{Failure, Freshness, Outcome},
};

/// Bytes one answer may have, head included: far above any answer of a test, far below the machine's memory.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// A connection to the server under load, with the buffers of its last answer.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Raw bytes since the last request was sent.
    input: Vec<u8>,
    /// The body of the last answer, chunks joined.
    body: Vec<u8>,
    answers: u64,
    closes: bool,
    local_port: u16,
    sent: Option<Instant>,
}

impl Connection {
    /// Connects within the time limit; `TCP_NODELAY` is set, so that a small request leaves at once.
    pub async fn open(address: SocketAddr, limit: Duration) -> Result<Self, Failure> {
        let stream = match timeout(limit, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|error| Failure::connecting(&error))?,
            Err(_) => {
                return Err(Failure::new(Outcome::Timeout, format!("connect: nothing within {limit:?}")));
            }
        };
        stream.set_nodelay(true).map_err(|error| Failure::connecting(&error))?;
        let local_port = stream.local_addr().map_err(|error| Failure::connecting(&error))?.port();
        Ok(Self { stream, input: Vec::new(), body: Vec::new(), answers: 0, closes: false, local_port, sent: None })
    }

    /// Whether this connection has carried an answer already.
    pub fn freshness(&self) -> Freshness {
        if self.answers == 0 { Freshness::Fresh } else { Freshness::Reused }
    }

    /// The port of this end, by which the server's end can be found.
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// When the last request had been handed to the kernel as a whole; `None` if it was not.
    pub fn sent(&self) -> Option<Instant> {
        self.sent
    }

    /// Whether another request may be written: the server announced no close and sent no FIN.
    ///
    /// The socket itself is asked, because the runtime learns of a FIN only when it polls.
    pub fn is_reusable(&self) -> bool {
        if self.closes {
            return false;
        }
        let mut byte = [MaybeUninit::uninit(); 1];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Ok(_) => false, // FIN, or bytes nobody asked for
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Sends one request and reads its whole answer within the time limit.
    ///
    /// After a failure the connection is of no further use.
    pub async fn exchange(&mut self, request: &[u8], limit: Duration) -> Result<Answer<'_>, Failure> {
        let head = match timeout(limit, self.talk(request)).await {
            Ok(head) => head?,
            Err(_) => {
                let seen = self.input.len();
                return Err(Failure::new(Outcome::Timeout, format!("{seen} bytes of an answer within {limit:?}")));
            }
        };
        self.answers += 1;
        self.closes = head.closes;
        let raw_head = self.input.get(..head.length).unwrap_or_default();
        Ok(Answer { status: head.status, closes: head.closes, body: &self.body, head: raw_head })
    }

    async fn talk(&mut self, request: &[u8]) -> Result<Head, Failure> {
        self.input.clear();
        self.body.clear();
        self.sent = None;
        // A server may answer before it has read the whole request (413), and close or stop reading. Then the
        // answer counts, not the write.
        let sent = self.send(request).await;
        self.sent = matches!(sent, Ok(Sent::Whole)).then(Instant::now);
        match (self.read_answer().await, sent) {
            (Ok(head), Ok(Sent::Whole)) => Ok(head),
            (Ok(head), _) => Ok(Head { closes: true, ..head }),
            (Err(_), Err(error)) => Err(Failure::talking("write", &error)),
            (Err(failure), Ok(_)) => Err(failure),
        }
    }

    async fn send(&mut self, mut request: &[u8]) -> io::Result<Sent> {
        while !request.is_empty() {
            match self.stream.try_write(request) {
                Ok(written) => request = request.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = self.stream.ready(Interest::READABLE | Interest::WRITABLE).await?;
                    if ready.is_readable() && self.has_input() {
                        return Ok(Sent::Part);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::Whole)
    }

    /// Whether bytes, an end or an error wait to be read. Clears a readiness that has become stale.
    fn has_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        let peek = || SockRef::from(&self.stream).peek(&mut byte);
        !matches!(self.stream.try_io(Interest::READABLE, peek), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn read_answer(&mut self) -> Result<Head, Failure> {
        let head = loop {
            match parse_head(&self.input)? {
                // 1xx answers announce the real one.
                Some(head) if head.status < 200 => drop(self.input.drain(..head.length)),
                Some(head) => break head,
                None => self.fill().await?,
            }
        };
        match head.framing {
            Framing::Length(length) => {
                let end = head.length.saturating_add(length);
                self.fill_to(end).await?;
                self.body.extend_from_slice(self.input.get(head.length..end).unwrap_or_default());
            }
            Framing::Chunked => self.read_chunks(head.length).await?,
            Framing::UntilClose => {
                while self.read_some().await? > 0 {}
                self.body.extend_from_slice(self.input.get(head.length..).unwrap_or_default());
            }
        }
        Ok(head)
    }

    async fn read_chunks(&mut self, mut at: usize) -> Result<(), Failure> {
        loop {
            let rest = self.input.get(at..).unwrap_or_default();
            let (used, size) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((used, size))) => (used, usize::try_from(size).unwrap_or(usize::MAX)),
                Ok(httparse::Status::Partial) => {
                    self.fill().await?;
                    continue;
                }
                Err(_) => return Err(Failure::new(Outcome::Malformed, format!("chunk size at byte {at}"))),
            };
            let start = at + used;
            let end = start.saturating_add(size);
            // The line end after the data; the last chunk is followed by an empty line (no server here sends trailers).
            self.fill_to(end.saturating_add(2)).await?;
            self.body.extend_from_slice(self.input.get(start..end).unwrap_or_default());
            if self.input.get(end..end + 2) != Some(b"\r\n") {
                return Err(Failure::new(Outcome::Malformed, format!("chunk without its line end at byte {end}")));
            }
            if size == 0 {
                return Ok(());
            }
            at = end + 2;
        }
    }

    async fn fill_to(&mut self, length: usize) -> Result<(), Failure> {
        if length > ANSWER_MAX_BYTES {
            return Err(too_large());
        }
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    /// Reads some more bytes; the end of the stream is a failure here.
    async fn fill(&mut self) -> Result<(), Failure> {
        if self.read_some().await? > 0 {
            return Ok(());
        }
        Err(if self.input.is_empty() {
            Failure::new(Outcome::Eof, "closed before an answer")
        } else {
            Failure::new(Outcome::Partial, format!("closed after {} bytes of an answer", self.input.len()))
        })
    }

    async fn read_some(&mut self) -> Result<usize, Failure> {
        if self.input.len() > ANSWER_MAX_BYTES {
            return Err(too_large());
        }
        self.stream.read_buf(&mut self.input).await.map_err(|error| Failure::talking("read", &error))
    }
}

/// How much of a request left before its answer began.
enum Sent {
    Whole,
    Part,
}

fn too_large() -> Failure {
    Failure::new(Outcome::Malformed, format!("answer larger than {ANSWER_MAX_BYTES} bytes"))
}
