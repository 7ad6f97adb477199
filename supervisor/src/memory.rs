//! What the processes share: scoreboard and commons, and the settings snapshots.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::Signal;
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

    /// Gives back what a process held in common with others. It was reaped, and its number is nobody else's yet.
    pub(crate) fn forget(&self, pid: u32) {
        self.commons.addresses().forget(pid);
        self.commons.leases().forget(pid);
    }

    /// A process died of `signal`. If that is what somebody dies of whose map holds other bytes than were written, as when a file is
    /// truncated or overwritten, all processes go on with another file of the embedded cache: else the next would die as well.
    pub(crate) fn suspect(&self, signal: i32) {
        if [Signal::BUS, Signal::SEGV, Signal::ABORT].iter().any(|one| one.as_raw() == signal) {
            self.commons.leave_cache_generation(self.commons.cache_generation());
        }
    }

    /// The same for those who hold something and are no longer alive: whoever should have reaped them died before them.
    pub(crate) fn forget_dead(&self, is_alive: impl Fn(u32) -> bool) {
        for pid in self.commons.addresses().owners().into_iter().filter(|pid| !is_alive(*pid)) {
            self.forget(pid);
        }
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
    use task_mcp_scoreboard::{AddressKey, Leased};

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

    #[test]
    fn who_dies_of_its_memory_is_not_followed_by_others_who_die_of_the_same_file() {
        let shared = SharedMemory::create(3, crate::series(), None).unwrap();
        for (signal, generation) in [(9, 0), (15, 0), (7, 1), (11, 2), (6, 3)] {
            shared.suspect(signal);
            assert_eq!(shared.commons.cache_generation(), generation);
        }
    }

    #[test]
    fn what_the_dead_held_in_commons_that_were_left_is_given_back_and_what_the_living_hold_is_not() {
        let left = Commons::create().unwrap();
        let client = AddressKey::of("192.0.2.1".parse().unwrap());
        let mut rows = [70, 71].map(|pid| left.addresses().claim(pid).unwrap());
        let _held = rows.each_mut().map(|row| row.open(client, 9).unwrap());
        assert!([(1, 70), (2, 71)].iter().all(|(key, pid)| left.leases().take(*key, *pid, 0, 50) != Leased::Busy));
        let shared = SharedMemory::create(3, crate::series(), Some(left.try_clone_fd().unwrap())).unwrap();
        shared.forget_dead(|pid| pid == 71);
        assert_eq!((left.addresses().count(client), left.addresses().owners()), (1, vec![71]));
        assert_eq!((left.leases().held(1, 0), left.leases().held(2, 0)), (None, Some(50)));
        shared.forget(71);
        assert_eq!((left.addresses().count(client), left.leases().held(2, 0)), (0, None));
    }
}
