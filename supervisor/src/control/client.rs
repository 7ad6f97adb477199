//! One request to a running instance.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lines::Lines;
use super::message::{Request, Response};

/// Longest answer, in bytes; the status of the most slots there can be takes a tenth of it.
const ANSWER_BYTES: usize = 1 << 20;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no instance listens at supervisor.control_socket {path:?}; is it running, with the same settings, for this user?"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket, or a directory above it, is closed to this user.
    #[error("not allowed to use supervisor.control_socket {path:?}; be the user the instance runs as, or root")]
    Denied {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The request could not be sent or the answer not received.
    #[error("the connection to the instance broke")]
    Io(#[from] io::Error),
    /// The answer did not come in time. What was asked for goes on.
    #[error("the instance has not answered within {timeout_ms} ms; what was asked for goes on")]
    Timeout {
        /// How long was waited, in milliseconds.
        timeout_ms: u128,
    },
    /// The connection ended before the answer.
    #[error("the instance closed the connection without an answer; it may have ended")]
    Closed,
    /// The answer is not one of this version.
    #[error("the answer of the instance cannot be understood; it may be of another version")]
    Answer(#[source] serde_json::Error),
    /// The answer is longer than any of this version.
    #[error("the answer of the instance is longer than {limit_bytes} bytes; it may be of another version")]
    TooLong {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// Sends one request to the instance that listens at `socket` and waits for its answer.
///
/// # Errors
/// No instance, no answer within `timeout`, or one that cannot be understood. A request that was refused or failed is an answer.
pub fn control(socket: &Path, request: &Request, timeout: Duration) -> Result<Response, ControlError> {
    let deadline = Instant::now() + timeout;
    let mut stream = UnixStream::connect(socket).map_err(|source| unreachable(socket, source))?;
    let timed_out = || ControlError::Timeout { timeout_ms: timeout.as_millis() };
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(timed_out()) } else { Ok(left) }
    };
    let mut line = serde_json::to_vec(request).map_err(ControlError::Answer)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(left()?))?;
    // A refusal may come, and the connection be closed, before the request was read: the answer says more than the error.
    let sent = stream.write_all(&line);
    let mut lines = Lines::new(ANSWER_BYTES);
    let mut bytes = [0; 16 << 10];
    loop {
        if let Some(line) = lines.next_line() {
            return serde_json::from_slice(&line).map_err(ControlError::Answer);
        }
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut bytes) {
            Ok(0) => return Err(sent.err().map_or(ControlError::Closed, ControlError::Io)),
            Ok(count) => lines
                .push(bytes.get(..count).unwrap_or_default())
                .map_err(|error| ControlError::TooLong { limit_bytes: error.limit_bytes })?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(timed_out());
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ControlError::Closed),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Why there is no connection, told apart: an instance of another user runs all the same.
pub(super) fn unreachable(socket: &Path, source: io::Error) -> ControlError {
    let path = socket.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => ControlError::Denied { path, source },
        _ => ControlError::Connect { path, source },
    }
}
