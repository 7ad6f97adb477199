//! Signals as bytes in pipes (the self-pipe trick): the handler writes one byte, the loop does the rest.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::SigSet;
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::low_level::{pipe, unregister};

use crate::SupervisorError;

/// A signal the supervisor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// TERM or INT: drain; the second time, now.
    Stop,
    /// HUP: read the settings again.
    Reload,
    /// USR2: go on with the installed program.
    Upgrade,
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
}

/// What each signal means.
const SIGNALS: [(i32, &str, Signal); 9] = [
    (SIGTERM, "SIGTERM", Signal::Stop),
    (SIGINT, "SIGINT", Signal::Stop),
    (SIGCHLD, "SIGCHLD", Signal::Child),
    (SIGHUP, "SIGHUP", Signal::Reload),
    (SIGUSR1, "SIGUSR1", Signal::ReopenLogs),
    (SIGUSR2, "SIGUSR2", Signal::Upgrade),
    (SIGQUIT, "SIGQUIT", Signal::Dump),
    (SIGTTIN, "SIGTTIN", Signal::OneMore),
    (SIGTTOU, "SIGTTOU", Signal::OneFewer),
];

/// One pipe for each signal, so that none can be mistaken for, or swallow, another. Handlers go with the value.
#[derive(Debug)]
pub(crate) struct Signals {
    pipes: Vec<(i32, Signal, UnixStream, SigId)>,
}

impl Signals {
    pub(crate) fn take_over() -> Result<Self, SupervisorError> {
        let mut signals = Self { pipes: Vec::with_capacity(SIGNALS.len()) };
        for (number, name, signal) in SIGNALS {
            let failed = |source| SupervisorError::Signals { name, source };
            let (read, write) = UnixStream::pair().map_err(failed)?;
            read.set_nonblocking(true).map_err(failed)?;
            let id = pipe::register(number, write).map_err(failed)?;
            signals.pipes.push((number, signal, read, id));
        }
        // The program before this one may have held them back for it, and whoever started us may have blocked some.
        let unblocked = SigSet::empty().thread_set_mask();
        unblocked.map_err(|errno| SupervisorError::Signals { name: "mask", source: errno.into() })?;
        Ok(signals)
    }

    /// What to poll for reading.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|(_, _, read, _)| read.as_fd())
    }

    /// The signals that came since the last call, one entry for each delivery.
    pub(crate) fn received(&mut self) -> Vec<Signal> {
        self.deliveries().map(|(_, signal)| signal).collect()
    }

    /// The same, for another program that is to receive them.
    pub(crate) fn undelivered(&mut self) -> Vec<nix::sys::signal::Signal> {
        self.deliveries().filter_map(|(number, _)| nix::sys::signal::Signal::try_from(number).ok()).collect()
    }

    fn deliveries(&mut self) -> impl Iterator<Item = (i32, Signal)> + '_ {
        self.pipes.iter_mut().flat_map(|(number, signal, read, _)| {
            let (mut bytes, mut all) = ([0; 64], 0);
            loop {
                match read.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => all += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Empty; the handler is the only other end, so there is no other error to expect.
                    Err(_) => break,
                }
            }
            std::iter::repeat_n((*number, *signal), all)
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, _, _, id) in &self.pipes {
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
        let expected = [Signal::Stop, Signal::Stop, Signal::Reload, Signal::OneMore];
        assert_eq!(signals.received(), expected);
        assert_eq!(signals.received(), []);
    }
}
