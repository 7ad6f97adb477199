//! What the system may send to a process.

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::WorkerError;

/// Blocks the signals that stop a process of the background: server processes are in process groups of their own, so a terminal
/// with `stty tostop` would stop them at their next log line. To be called before there is a second thread: all inherit it.
/// They must not be caught, for the kernel would interrupt the line again each time it is written (termios(3), TOSTOP).
///
/// # Errors
/// The system refuses it; not known to happen.
pub(crate) fn defy_terminal() -> Result<(), WorkerError> {
    let stopping: SigSet = [Number::SIGTTIN, Number::SIGTTOU, Number::SIGTSTP].into_iter().collect();
    stopping.thread_block().map_err(|errno| WorkerError::Signals(errno.into()))
}

/// The signals of a server process. TERM asks it to drain: it comes when the supervisor died (`PR_SET_PDEATHSIG`) or from a
/// person. Those that are the supervisor's business are caught so that their default, to end the process, does not happen.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    _left_to_the_supervisor: Vec<Signal>,
}

impl Signals {
    /// Installs the handlers. Within a tokio runtime.
    pub(crate) fn install() -> Result<Self, WorkerError> {
        let caught = |kind| signal(kind).map_err(WorkerError::Signals);
        let supervisors = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        Ok(Self {
            terminate: caught(SignalKind::terminate())?,
            _left_to_the_supervisor: supervisors.into_iter().map(caught).collect::<Result<_, _>>()?,
        })
    }

    /// Waits for TERM. Cancel-safe.
    pub(crate) async fn terminated(&mut self) {
        self.terminate.recv().await;
    }
}
