//! Writers of one machine, tools and command, one after another.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Tree;

/// How long a writer waits for those before it. An archive takes milliseconds; who holds the turn longer is stopped or
/// stuck, and a thread of the pool must not wait for that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(10);

/// The right to write, until it is dropped.
pub(crate) type Turn = Flock<File>;

impl Tree {
    /// Waits for the writers before: `flock` (flock(2)) on `openspec/` itself, so that no file is created and a killed
    /// process lets go. `WouldBlock` if they are not done after `patience`.
    pub(crate) fn turn(&self, patience: Duration) -> io::Result<Turn> {
        let began = Instant::now();
        let mut dir = File::open(self.openspec())?;
        loop {
            match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
                Ok(turn) => return Ok(turn),
                Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) if began.elapsed() < patience => dir = again,
                Err((_, errno)) => return Err(errno.into()),
            }
            thread::sleep(PAUSE);
        }
    }
}
