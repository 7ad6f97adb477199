//! The connections a process holds, asked of the kernel: what it was serving, what it had accepted and not read.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd};

use rustix::{
    io::ioctl_fionread,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use socket2::SockRef;

use super::process::Process;

/// The TCP connections of a process: the client's port, and the bytes the process has not read.
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    unread_bytes: BTreeMap<u16, u64>,
}

/// The connections of a process; it should be stopped, so that they hold still. Its descriptors are borrowed for a moment
/// (pidfd_getfd(2)), which takes the right to trace it: a child of a child of ours may be traced by us.
pub fn sockets_of(process: Process) -> Sockets {
    let pid = Pid::from_raw(process.pid).expect("a pid");
    let mut sockets = Sockets::default();
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return sockets };
    let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return sockets };
    for number in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let borrowed: OwnedFd = match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => fd,
            // Closed since it was listed, or the process has ended.
            Err(rustix::io::Errno::BADF | rustix::io::Errno::SRCH) => continue,
            Err(errno) => panic!("descriptor {number} of a worker cannot be looked at: {errno}"),
        };
        // A listening socket and a socket of another family have no such peer.
        if let Ok(Some(peer)) = SockRef::from(&borrowed).peer_addr().map(|peer| peer.as_socket()) {
            sockets.unread_bytes.insert(peer.port(), ioctl_fionread(&borrowed).unwrap_or(0));
        }
    }
    sockets
}

impl Sockets {
    /// Whether the process holds the connection of the client with this port.
    pub fn has(&self, client_port: Option<u16>) -> bool {
        client_port.is_some_and(|port| self.unread_bytes.contains_key(&port))
    }

    /// Connections.
    pub fn len(&self) -> usize {
        self.unread_bytes.len()
    }

    /// Connections on which something waits to be read.
    pub fn unread(&self) -> usize {
        self.unread_bytes.values().filter(|bytes| **bytes > 0).count()
    }

    /// Adds those of another look.
    pub fn add(&mut self, other: &Self) {
        self.unread_bytes.extend(&other.unread_bytes);
    }
}
