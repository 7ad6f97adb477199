//! What the processes share: scoreboard and commons, and the settings snapshots.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags};
use task_mcp_scoreboard::{Commons, Plan, Scoreboard, Series};
use tracing::warn;

use crate::SupervisorError;
use crate::tally::with_slots;

/// Shared memory of an instance; the supervisor keeps all of it for its life.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    pub(crate) scoreboard: Scoreboard,
    pub(crate) commons: Commons,
}

impl SharedMemory {
    /// `commons` are those an earlier supervisor left: its workers may live and go on to write, and ours have to see it.
    pub(crate) fn create(seats: u16, series: Vec<Series>, commons: Option<OwnedFd>) -> Result<Self, SupervisorError> {
        let scoreboard = Scoreboard::create(&Plan { seats, series })?;
        let commons = match commons.map(Commons::open) {
            Some(Ok(commons)) => commons,
            Some(Err(error)) => {
                warn!(error = %error, "The commons that an earlier supervisor left cannot be used; new ones are made.");
                Commons::create()?
            }
            None => Commons::create()?,
        };
        Ok(Self { scoreboard, commons })
    }
}

/// The series of an instance that may have so many slots: those given, those of the slots, and what is missing of the
/// supervisor's own. In an order that depends on nothing else, so that two programs with the same series agree.
pub(crate) fn planned(series: Vec<Series>, slots: u16) -> Vec<Series> {
    let mut series = with_slots(series, slots);
    for own in crate::series() {
        if !series.iter().any(|one| one.name == own.name && one.labels == own.labels) {
            series.push(own);
        }
    }
    series
}

/// The settings as processes inherit them: sealed against any change, so that all that are started with them read the same.
/// They inherit one open file description and with it one offset: a process reads with pread(2) from 0.
pub(crate) fn sealed(bytes: &[u8]) -> Result<OwnedFd, SupervisorError> {
    seal(bytes).map_err(|source| SupervisorError::Snapshot { bytes: bytes.len(), source })
}

/// Reads such a snapshot, without moving the offset that all holders share.
pub(crate) fn read_sealed(snapshot: &OwnedFd) -> std::io::Result<Vec<u8>> {
    let file = File::from(snapshot.try_clone()?);
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn seal(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("task-mcp-settings", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_snapshot_cannot_be_changed_and_reads_from_the_start() {
        let shared = SharedMemory::create(3, crate::series(), None).unwrap();
        let snapshot = sealed(b"{\"a\":1}").unwrap();
        assert_eq!(read_sealed(&snapshot).unwrap(), b"{\"a\":1}");
        let file = File::from(snapshot);
        assert!(file.write_all_at(b"x", 0).is_err() && file.set_len(1).is_err());
        assert_eq!(shared.scoreboard.series().len(), crate::series().len());
    }

    #[test]
    fn commons_that_were_left_are_used_and_other_memory_is_not() {
        let shared = |commons| SharedMemory::create(3, crate::series(), Some(commons)).unwrap();
        let left = Commons::create().unwrap();
        let used = shared(left.try_clone_fd().unwrap());
        left.epochs().bump("change:x");
        assert_eq!((used.commons.incarnation(), used.commons.epochs().current("change:x")), (left.incarnation(), 1));
        let other = shared(File::open("/dev/null").unwrap().into());
        assert_ne!(other.commons.incarnation(), left.incarnation());
    }
}
