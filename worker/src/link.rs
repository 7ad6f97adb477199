//! The process's end of the link to the supervisor.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use task_mcp_link::{Decoder, FromProcess, Received, ToProcess, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::WorkerError;
use crate::process::{Boot, Build};

/// Messages from and to the supervisor.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    decoder: Decoder<ToProcess>,
}

impl Link {
    /// Takes over the inherited socket. Within a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, WorkerError> {
        let stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_nonblocking(true).map_err(WorkerError::Link)?;
        let stream = UnixStream::from_std(stream).map_err(WorkerError::Link)?;
        Ok(Self { stream, decoder: Decoder::default() })
    }

    /// Tells the supervisor.
    pub(crate) async fn tell(&mut self, message: &FromProcess) -> Result<(), WorkerError> {
        let frame = encode(message).map_err(|error| WorkerError::Link(io::Error::other(error)))?;
        self.stream.write_all(&frame).await.map_err(WorkerError::Link)
    }

    /// Tells why the process ends before its time. Nobody may be listening; the exit code says it again.
    pub(crate) async fn tell_fatal(&mut self, error: &WorkerError) {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        let _ = self.tell(&FromProcess::Fatal { exit_code: error.exit_code(), reason }).await;
    }

    /// The next message; `None` when the supervisor is gone or speaks another language. Cancel-safe: what was read of a message
    /// stays in the decoder.
    pub(crate) async fn next(&mut self) -> Option<ToProcess> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(Received::Message(message))) => return Some(message),
                Ok(Some(Received::Unknown { name, .. })) => {
                    tracing::info!(
                        message = name,
                        "The supervisor said something this version does not know; it is left aside."
                    );
                }
                Ok(None) => {
                    let mut piece = [0; 4096];
                    match self.stream.read(&mut piece).await {
                        Ok(0) | Err(_) => return None,
                        Ok(read) => self.decoder.push(piece.get(..read).unwrap_or_default()),
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error, "The link to the supervisor cannot be understood; the process ends.");
                    return None;
                }
            }
        }
    }
}

/// The first message of a process.
pub(crate) fn hello(boot: &Boot, build: &Build) -> FromProcess {
    FromProcess::Hello {
        pid: std::process::id(),
        generation: boot.generation,
        seat: boot.seat,
        build: build.build.clone(),
    }
}

/// Where a process listens, for people.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<String> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.to_string()).collect()
}
