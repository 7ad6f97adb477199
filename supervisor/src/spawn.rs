//! Fork and exec of this program as one of its processes; descriptors by number, given and taken.
//!
//! The descriptors a process inherits keep their numbers, which go to it as arguments: moving them to fixed numbers could
//! overwrite the pipe by which the standard library learns that exec failed.
#![allow(unsafe_code)] // The only file of the crate that needs it: code between fork and exec, and numbers of descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::SigSet;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
    setpgid, waitpid,
};

use crate::step::Post;

/// The program's name as processes see it in their arguments.
const NAME: &str = "task-mcp";

/// Variables that speak to the supervisor alone (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)).
const PRIVATE_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// A process to be started.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) program: &'a Path,
    pub(crate) post: Post,
    pub(crate) generation: u64,
    pub(crate) seat: u16,
    pub(crate) link: BorrowedFd<'a>,
    pub(crate) settings: BorrowedFd<'a>,
    pub(crate) scoreboard: BorrowedFd<'a>,
    pub(crate) epochs: BorrowedFd<'a>,
    pub(crate) listeners: &'a [BorrowedFd<'a>],
    pub(crate) extra_args: &'a [String],
}

/// A process that was started. It must be reaped by its pid.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Starts a process. It gets its own process group, so that Ctrl-C in a terminal reaches the supervisor alone, and SIGTERM
/// when the thread that called this ends: call it from the main thread.
pub(crate) fn spawn(order: &Order<'_>) -> io::Result<Spawned> {
    let mut command = Command::new(order.program);
    command.arg0(NAME).args(arguments(order)).stdin(Stdio::null());
    for variable in PRIVATE_VARIABLES {
        command.env_remove(variable);
    }
    let inherited: Vec<RawFd> = descriptors(order).map(|(_, fd)| fd.as_raw_fd()).collect();
    let supervisor = getpid();
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed and no
    // lock may be taken. It makes system calls on memory that was prepared before the fork, allocates nothing and drops
    // nothing. The child owns a copy of the descriptor table, so clearing flags does not change the supervisor's.
    unsafe { command.pre_exec(move || prepare(&inherited, supervisor)) };
    // The handle is dropped: it would wait by process id behind our back. `pid` stays ours until it is reaped.
    let pid = pid_of(command.spawn()?.id())?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Spawned { pid, pidfd }),
        Err(errno) => {
            // Without a pidfd nobody would notice its death. It is ours and not reaped, so the pid is right.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            Err(errno.into())
        }
    }
}

/// Runs in the child.
fn prepare(inherited: &[RawFd], supervisor: Pid) -> io::Result<()> {
    for fd in inherited {
        // SAFETY: the number was taken from a descriptor that `Order` borrows for the whole call of `spawn`, and fork
        // copied the table; nothing in the child closes it before exec.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    setpgid(None, None)?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The signal is not sent for a death before it was asked for.
    if getppid() != Some(supervisor) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    SigSet::empty().thread_set_mask().map_err(io::Error::from)
}

fn arguments(order: &Order<'_>) -> Vec<String> {
    let (role, slot) = match order.post {
        Post::Worker(slot) => ("worker", Some(slot)),
        Post::Admin => ("admin", None),
    };
    let mut arguments: Vec<String> = vec![role.into(), "--seat".into(), order.seat.to_string()];
    if let Some(slot) = slot {
        arguments.extend(["--slot".into(), slot.to_string()]);
    }
    arguments.extend(["--generation".into(), order.generation.to_string()]);
    for (name, fd) in descriptors(order) {
        arguments.extend([name.into(), fd.as_raw_fd().to_string()]);
    }
    arguments.extend(order.extra_args.iter().cloned());
    arguments
}

/// What the process inherits, by the name of its argument.
fn descriptors<'a>(order: &Order<'a>) -> impl Iterator<Item = (&'static str, BorrowedFd<'a>)> + use<'a> {
    [
        ("--link-fd", order.link),
        ("--settings-fd", order.settings),
        ("--scoreboard-fd", order.scoreboard),
        ("--epochs-fd", order.epochs),
    ]
    .into_iter()
    .chain(order.listeners.iter().map(|fd| ("--listen-fd", *fd)))
}

/// Takes ownership of a descriptor that the service manager passed by number (sd_listen_fds(3)), and makes it close-on-exec.
/// Call it once for each number, and only for those that `LISTEN_FDS` names while `LISTEN_PID` is this process.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the manager opened the descriptor for this process before exec, so no code of this process got the number
    // from the kernel since, and its owner is made here once. Should the number not be open, the next call says so and the
    // owner is forgotten without closing anything.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl_getfd(&owned).and_then(|flags| fcntl_setfd(&owned, flags | FdFlags::CLOEXEC)) {
        Ok(()) => Ok(owned),
        Err(errno) => {
            std::mem::forget(owned);
            Err(errno.into())
        }
    }
}

fn pid_of(id: u32) -> io::Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
