//! The supervisor: owns the listening sockets, the shared memory and the processes of an instance, replaces processes that
//! die, and drains all of them when it is told to stop.
//!
//! One thread, one poll loop. Every decision is made by a pure function, `step(state, event, now) -> actions`; the rest of
//! the crate finds out what happened and does what was decided.
//!
//! Layout of this crate:
//! - `launch.rs`     what an instance is started with, and how it ends
//! - `run.rs`        the loop and its verbs; `carry_out.rs` does what was decided
//! - `step/`         decisions: restart policy, hung and worn processes, restarts, reloads, more or fewer slots, drain
//! - `process.rs`    one process as the supervisor holds it: pid, pidfd, link, seat
//! - `spawn.rs`      fork and exec, descriptors by number; the only file with `unsafe`
//! - `watch.rs`      heartbeats, queues and wear; `starved.rs` tells silence from want of a processor
//! - `outgoing.rs`   what waits to be written to a process; `relay.rs` events from one process to all others
//! - `control/`      the control socket: server and client; `questions.rs` what it asks the admin process
//! - `logs.rs`       the logs of all processes: level, file; the state of everything as log lines
//! - `signals.rs`    signals as bytes in pipes
//! - `listen.rs`     listening sockets, one for each slot and address
//! - `queue.rs`     how many connections wait in a socket
//! - `steering.rs`   which slot gets a new connection
//! - `upgrade.rs`   becoming another program in place; `handover.rs` what that one is given, `take_over.rs` how it goes on,
//!   `program.rs` where programs are
//! - `notify.rs`     what the service manager is told; `picture.rs` is what it is told of
//! - `inherited.rs`  what it kept of an earlier supervisor
//! - `instance.rs`   the runtime directory, the state directory and their locks
//! - `descriptors.rs` how many descriptors a process may have
//! - `memory.rs`     what the processes share: scoreboard, commons, settings snapshot
//! - `revision.rs`   settings with what belongs to them, and reading them again
//! - `tally.rs`      the supervisor's own metrics, those of each slot in `tally/`
//! - `processors.rs` how many processors this process may use
//! - `error.rs`      what can fail at start
//!
//! # Invariants
//!
//! - Decisions know no file descriptor and no clock; the shell decides nothing.
//! - A process is named by its generation, which is never used again; signals go through its pidfd. So nothing is ever
//!   sent to, or concluded about, a stranger that got the same process id.
//! - A seat on the scoreboard belongs to one process until that process was reaped and its seat retired.
//! - Listening sockets live as long as their slot, and only the highest slot is ever closed: what waits in the queue of a dead
//!   worker waits for the next one, or is accepted by a sibling, which gets duplicates and closes them.
//! - Every descriptor is close-on-exec here; a child clears the flag on the few it is meant to have.
//! - The crate knows nothing of HTTP, tokio or Redis, and reads of the settings only what concerns processes.

mod carry_out;
mod control;
mod descriptors;
mod error;
mod handover;
mod inherited;
mod instance;
mod launch;
mod listen;
mod logs;
mod memory;
mod notify;
mod outgoing;
mod picture;
mod process;
mod processors;
mod program;
mod questions;
mod queue;
mod relay;
mod revision;
mod run;
mod signals;
mod spawn;
mod starved;
mod steering;
mod step;
mod take_over;
mod tally;
mod upgrade;
mod watch;

pub use control::{ControlError, Request, Response, SecondStatus, SlotStatus, Status, control};
pub use error::SupervisorError;
pub use handover::{Check, Handover, HandoverError, Taken};
pub use inherited::Passed;
pub use launch::{Configured, Exit, Launch, Logs, OnReady, ReadSettings, Ready};
pub use processors::available_processors;
pub use program::Installed;
pub use run::{run, run_program};
pub use tally::series;
