//! The classes a request can end in.

use std::{fmt, io, time::Instant};

/// What became of one request. The order is that of [`Outcome::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A complete 2xx answer with the expected text, if one was expected.
    Ok,
    /// A complete answer with another status.
    HttpError,
    /// A complete 2xx answer without the expected text.
    Unexpected,
    /// No connection: nobody listens (`ECONNREFUSED`).
    Refused,
    /// The peer reset the connection, at the handshake, under the request or under the answer.
    Reset,
    /// The peer closed before the first byte of the answer.
    Eof,
    /// The peer closed inside the answer.
    Partial,
    /// No complete answer within the time limit.
    Timeout,
    /// Bytes that are not an HTTP/1.1 answer, or more of them than the limit.
    Malformed,
    /// This machine could not open a connection (descriptors, ports); it says nothing about the server.
    Local,
}

impl Outcome {
    /// All classes, in the order in which reports list them.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::HttpError,
        Self::Unexpected,
        Self::Refused,
        Self::Reset,
        Self::Eof,
        Self::Partial,
        Self::Timeout,
        Self::Malformed,
        Self::Local,
    ];

    /// The class's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::HttpError => "http-error",
            Self::Unexpected => "unexpected",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Partial => "partial",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Local => "local",
        }
    }

    /// Whether a complete answer arrived, good or bad.
    pub fn is_answered(self) -> bool {
        matches!(self, Self::Ok | Self::HttpError | Self::Unexpected)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the connection had carried a request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// The first request of its connection.
    Fresh,
    /// A later request of a kept-alive connection.
    Reused,
}

/// A request that did not end well, for whoever wants to know what else happened at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mishap {
    /// The class; never [`Outcome::Ok`].
    pub outcome: Outcome,
    /// Whether its connection had carried a request before.
    pub freshness: Freshness,
    /// The connection's port at this end; `None` if there was no connection.
    pub local_port: Option<u16>,
    /// When the kernel had the whole request; `None` if it never had.
    pub sent: Option<Instant>,
    /// When the outcome was known.
    pub ended: Instant,
}

/// A request without a complete answer.
#[derive(Debug, thiserror::Error)]
#[error("{outcome}: {detail}")]
pub struct Failure {
    /// The class; never one for which [`Outcome::is_answered`] holds.
    pub outcome: Outcome,
    /// What was seen, for people.
    pub detail: String,
}

impl Failure {
    /// A failure of this class.
    pub(crate) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }

    /// A failed `connect(2)` or `socket(2)`.
    pub(crate) fn connecting(error: &io::Error) -> Self {
        let outcome = match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Outcome::Reset,
            io::ErrorKind::TimedOut => Outcome::Timeout,
            _ => Outcome::Local,
        };
        Self::new(outcome, format!("connect: {error}"))
    }

    /// A failed read or write on an established connection: however the kernel names it, the peer cut it.
    pub(crate) fn talking(step: &str, error: &io::Error) -> Self {
        let outcome = if error.kind() == io::ErrorKind::TimedOut { Outcome::Timeout } else { Outcome::Reset };
        Self::new(outcome, format!("{step}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_charged_to_the_server() {
        // errno(3) as Linux numbers it: EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL (out of ports), EADDRINUSE, EPERM.
        for errno in [24, 23, 105, 99, 98, 1] {
            let failure = Failure::connecting(&io::Error::from_raw_os_error(errno));
            assert_eq!(failure.outcome, Outcome::Local, "{failure}");
        }
        for (errno, outcome) in [(111, Outcome::Refused), (104, Outcome::Reset), (110, Outcome::Timeout)] {
            assert_eq!(Failure::connecting(&io::Error::from_raw_os_error(errno)).outcome, outcome);
        }
        // EPIPE and ECONNRESET under a request are the same event, seen at a different moment.
        for errno in [32, 104] {
            assert_eq!(Failure::talking("write", &io::Error::from_raw_os_error(errno)).outcome, Outcome::Reset);
        }
    }
}
