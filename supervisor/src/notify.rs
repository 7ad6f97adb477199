//! What the service manager is told: the protocol of sd_notify(3), a datagram for each message.
//!
//! Each pass of the loop compares what is with what the manager was told last, and sends the difference. So a message for
//! which its socket has no room is sent by a later pass, and nothing waits for anybody. Without `NOTIFY_SOCKET` all of it does
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// The status text changes no oftener than this, in milliseconds.
const STATUS_EVERY_MS: u64 = 1_000;
/// While the instance starts, restarts its workers or drains, the manager is asked this often for more time, in milliseconds,
const EXTEND_EVERY_MS: u64 = 1_000;
/// and for so much of it, in microseconds: a supervisor that stops asking is given up on soon.
const EXTEND_BY_US: u64 = 10_000_000;
/// How often it is looked whether the manager keeps the right descriptors, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// Descriptors of one message; the kernel takes 253 (unix(7)).
const MESSAGE_FDS: usize = 128;

/// Where the instance is in its life, as the manager knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Not ready yet.
    Starting,
    /// Ready.
    Serving,
    /// Ready, and its workers are being replaced.
    Reloading,
    /// On its way out.
    Stopping,
}

/// What the manager is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) life: Life,
    /// Whether the instance does its work: a worker serves, or all are on their way out.
    pub(crate) works: bool,
    /// One line for people.
    pub(crate) status: String,
}

/// A descriptor by the file behind it: device and inode.
type File = (u64, u64);

/// The manager and what it was told.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    channel: Option<Channel>,
    life: Life,
    status: String,
    status_ms: Option<u64>,
    extended_ms: Option<u64>,
    /// Half of what the manager waits for a sign of life, in milliseconds; `None` = it does not.
    watchdog_ms: Option<u64>,
    fed_ms: Option<u64>,
    /// What it keeps, by name.
    kept: BTreeMap<String, BTreeSet<File>>,
    /// How many descriptors there were when all were found to be kept, and when that was.
    looked: Option<(usize, u64)>,
    /// The last message could not be sent.
    unheard: bool,
}

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    address: SocketAddrUnix,
}

impl ServiceManager {
    /// The manager that started this process, if one did and wants to be told. `kept` are descriptors it keeps already.
    pub(crate) fn from_environment(kept: &[(String, std::os::fd::OwnedFd)]) -> Self {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        // The variable is meant for the process it names; without the other it is for whoever has it (sd_watchdog_enabled(3)).
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog_us = number("WATCHDOG_USEC").filter(|us| ours && *us > 0);
        let mut manager = Self::new(env::var_os("NOTIFY_SOCKET").as_deref(), watchdog_us);
        for (name, fd) in kept {
            manager.kept.entry(name.clone()).or_default().extend(file(fd));
        }
        manager
    }

    fn new(address: Option<&OsStr>, watchdog_us: Option<u64>) -> Self {
        Self {
            channel: address.filter(|address| !address.is_empty()).and_then(Channel::open),
            life: Life::Starting,
            status: String::new(),
            status_ms: None,
            extended_ms: None,
            watchdog_ms: watchdog_us.map(|us| (us / 2_000).max(1)),
            fed_ms: None,
            kept: BTreeMap::new(),
            looked: None,
            unheard: false,
        }
    }

    /// Whether there is anybody to tell.
    pub(crate) fn listens(&self) -> bool {
        self.channel.is_some()
    }

    /// Whether the last message has to be sent again.
    pub(crate) fn owes(&self) -> bool {
        self.unheard
    }

    /// Has these descriptors kept, and none beside them, for the supervisor that is started after a crash of this one.
    /// In most passes nothing has changed, so the files behind them are looked at when their number changes, and once a second.
    pub(crate) fn keep<'fd>(&mut self, wanted: Vec<(String, BorrowedFd<'fd>)>, now_ms: u64) {
        let looked = self.looked.is_some_and(|(fds, at_ms)| fds == wanted.len() && now_ms < at_ms + LOOK_EVERY_MS);
        if !self.listens() || looked {
            return;
        }
        if self.give(&wanted) {
            self.looked = Some((wanted.len(), now_ms));
        }
    }

    /// Whether the manager has all of them.
    fn give<'fd>(&mut self, wanted: &[(String, BorrowedFd<'fd>)]) -> bool {
        let mut files: BTreeMap<&String, BTreeMap<File, BorrowedFd<'fd>>> = BTreeMap::new();
        for (name, fd) in wanted {
            if let Some(file) = file(fd) {
                files.entry(name).or_default().insert(file, *fd);
            }
        }
        let is_stale = |(name, kept): &(&String, &BTreeSet<File>)| {
            files.get(name).is_none_or(|wanted| kept.iter().any(|file| !wanted.contains_key(file)))
        };
        let stale: Vec<String> = self.kept.iter().filter(is_stale).map(|(name, _)| name.clone()).collect();
        for name in stale {
            // All of a name go together; those that are still wanted are given again below.
            if !self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]) {
                return false;
            }
            self.kept.remove(&name);
        }
        for (name, wanted) in &files {
            let kept = self.kept.get(*name);
            let missing: Vec<(File, BorrowedFd<'fd>)> = wanted
                .iter()
                .filter(|(file, _)| kept.is_none_or(|kept| !kept.contains(file)))
                .map(|(file, fd)| (*file, *fd))
                .collect();
            for some in missing.chunks(MESSAGE_FDS) {
                let fds: Vec<BorrowedFd<'fd>> = some.iter().map(|(_, fd)| *fd).collect();
                if !self.send(&format!("FDSTORE=1\nFDNAME={name}"), &fds) {
                    return false;
                }
                self.kept.entry((*name).clone()).or_default().extend(some.iter().map(|(file, _)| *file));
            }
        }
        true
    }

    /// Tells what is new. The loop calls it in every pass, so a loop that hangs feeds no watchdog.
    pub(crate) fn tell(&mut self, picture: &Picture, now_ms: u64) {
        if !self.listens() {
            return;
        }
        self.tell_life(picture, now_ms);
        let is_due = |last_ms: Option<u64>, every_ms| last_ms.is_none_or(|last_ms| now_ms >= last_ms + every_ms);
        if picture.status != self.status && is_due(self.status_ms, STATUS_EVERY_MS) {
            let told = self.send(&format!("STATUS={}", picture.status), &[]);
            self.status_told(told, picture, now_ms);
        }
        if picture.life != Life::Serving && is_due(self.extended_ms, EXTEND_EVERY_MS) {
            let told = self.send(&format!("EXTEND_TIMEOUT_USEC={EXTEND_BY_US}"), &[]);
            self.extended_ms = if told { Some(now_ms) } else { self.extended_ms };
        }
        if let Some(every_ms) = self.watchdog_ms
            && picture.works
            && is_due(self.fed_ms, every_ms)
        {
            let told = self.send("WATCHDOG=1", &[]);
            self.fed_ms = if told { Some(now_ms) } else { self.fed_ms };
        }
    }

    fn tell_life(&mut self, picture: &Picture, now_ms: u64) {
        let news = match (self.life, picture.life) {
            (before, now) if before == now => return,
            (_, Life::Serving) => "READY=1".to_owned(),
            // The time is the manager's proof that the message is not of an earlier restart (sd_notify(3), systemd 253).
            (_, Life::Reloading) => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()),
            (_, Life::Stopping) => "STOPPING=1".to_owned(),
            // Nothing becomes a beginner again.
            (_, Life::Starting) => return,
        };
        if self.send(&format!("{news}\nSTATUS={}", picture.status), &[]) {
            self.life = picture.life;
            self.status_told(true, picture, now_ms);
        }
    }

    fn status_told(&mut self, told: bool, picture: &Picture, now_ms: u64) {
        if told {
            self.status.clone_from(&picture.status);
            self.status_ms = Some(now_ms);
        }
    }

    /// Whether the message was sent. The first failure in a row is logged.
    fn send(&mut self, message: &str, fds: &[BorrowedFd<'_>]) -> bool {
        let Some(channel) = &self.channel else { return false };
        let sent = channel.send(message, fds);
        if let Err(errno) = sent
            && !self.unheard
        {
            warn!(error = %errno, "The service manager could not be told; it is tried again.");
        }
        self.unheard = sent.is_err();
        sent.is_ok()
    }
}

impl Channel {
    fn open(address: &OsStr) -> Option<Self> {
        let named = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            [b'/', ..] => SocketAddrUnix::new(address),
            _ => Err(rustix::io::Errno::AFNOSUPPORT),
        };
        let opened = named.map_err(std::io::Error::from).and_then(|address| {
            // Not connected: a manager that makes its socket anew is heard all the same.
            Ok(Self { socket: UnixDatagram::unbound()?, address })
        });
        match opened {
            Ok(channel) => Some(channel),
            Err(error) => {
                warn!(?address, error = %error, "NOTIFY_SOCKET cannot be used; the service manager is told nothing.");
                None
            }
        }
    }

    fn send(&self, message: &str, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MESSAGE_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(rustix::io::Errno::TOOBIG);
        }
        let text = [IoSlice::new(message.as_bytes())];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // A datagram goes as a whole or not at all.
        sendmsg_addr(&self.socket, &self.address, &text, &mut control, flags).map(drop)
    }
}

/// The file behind a descriptor, which tells two descriptors of one file from two files.
fn file(fd: &impl std::os::fd::AsFd) -> Option<File> {
    rustix::fs::fstat(fd).ok().map(|found| (found.st_dev, found.st_ino))
}

/// CLOCK_MONOTONIC in microseconds.
fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests;
