//! Signals as bytes in pipes (the self-pipe trick): the handler writes one byte, the loop does the rest.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::low_level::{pipe, unregister};

use crate::SupervisorError;

/// A signal the supervisor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// TERM or INT: drain; the second time, now.
    Stop,
    /// HUP: replace all workers one by one.
    Restart,
    /// TTIN: one worker more.
    OneMore,
    /// TTOU: one worker fewer.
    OneFewer,
    /// USR1: open the log file anew, everywhere.
    ReopenLogs,
    /// QUIT: write the state of everything to the log.
    Dump,
    /// A child died. Its pidfd tells the same; as process 1 there may be children of others.
    Child,
    /// One that has no effect in this version; without a handler it would end or stop the supervisor.
    Unsupported(&'static str),
}

/// What each signal means.
const SIGNALS: [(i32, &str, Signal); 9] = [
    (SIGTERM, "SIGTERM", Signal::Stop),
    (SIGINT, "SIGINT", Signal::Stop),
    (SIGCHLD, "SIGCHLD", Signal::Child),
    (SIGHUP, "SIGHUP", Signal::Restart),
    (SIGUSR1, "SIGUSR1", Signal::ReopenLogs),
    (SIGUSR2, "SIGUSR2", Signal::Unsupported("SIGUSR2")),
    (SIGQUIT, "SIGQUIT", Signal::Dump),
    (SIGTTIN, "SIGTTIN", Signal::OneMore),
    (SIGTTOU, "SIGTTOU", Signal::OneFewer),
];

/// One pipe for each signal, so that none can be mistaken for, or swallow, another. Handlers go with the value.
#[derive(Debug)]
pub(crate) struct Signals {
    pipes: Vec<(Signal, UnixStream, SigId)>,
}

impl Signals {
    pub(crate) fn take_over() -> Result<Self, SupervisorError> {
        let mut signals = Self { pipes: Vec::with_capacity(SIGNALS.len()) };
        for (number, name, signal) in SIGNALS {
            let failed = |source| SupervisorError::Signals { name, source };
            let (read, write) = UnixStream::pair().map_err(failed)?;
            read.set_nonblocking(true).map_err(failed)?;
            let id = pipe::register(number, write).map_err(failed)?;
            signals.pipes.push((signal, read, id));
        }
        Ok(signals)
    }

    /// What to poll for reading.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|(_, read, _)| read.as_fd())
    }

    /// The signals that came since the last call, one entry for each delivery.
    pub(crate) fn received(&mut self) -> Vec<Signal> {
        let mut all = Vec::new();
        let mut bytes = [0; 64];
        for (signal, read, _) in &mut self.pipes {
            loop {
                match read.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => all.extend(std::iter::repeat_n(*signal, count)),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Empty; the handler is the only other end, so there is no other error to expect.
                    Err(_) => break,
                }
            }
        }
        all
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, _, id) in &self.pipes {
            unregister(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use signal_hook::low_level;

    use super::*;

    #[test]
    fn every_delivery_is_told_and_none_ends_the_process() {
        let mut signals = Signals::take_over().unwrap();
        for number in [SIGHUP, SIGTERM, SIGTERM, SIGTTIN] {
            low_level::raise(number).unwrap();
        }
        let expected = [Signal::Stop, Signal::Stop, Signal::Restart, Signal::OneMore];
        assert_eq!(signals.received(), expected);
        assert_eq!(signals.received(), []);
    }
}
