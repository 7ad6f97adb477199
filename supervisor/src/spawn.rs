//! Fork and exec of this program as one of its processes; descriptors by number, given and taken.
//!
//! The descriptors a process inherits keep their numbers, which go to it as arguments: moving them to fixed numbers could
//! overwrite the pipe by which the standard library learns that exec failed.
#![allow(unsafe_code)] // The only file of the crate that needs it: code between fork and exec, and descriptors that survive exec.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::SigSet;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
    setpgid, waitpid,
};

use crate::step::Post;

/// The program's name as processes see it in their arguments.
const NAME: &str = "task-mcp";

/// Variables that speak to the supervisor alone (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3); the last one is ours).
const PRIVATE_VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    crate::handover::VARIABLE,
];

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
    pub(crate) commons: BorrowedFd<'a>,
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
    start(command, inherited)
}

/// A program that is asked whether it can take over.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) program: &'a Path,
    /// Its arguments, the name it is called by first.
    pub(crate) args: &'a [OsString],
    pub(crate) env: &'a [(OsString, OsString)],
    /// The variable that asks it.
    pub(crate) handover: (&'static str, &'a str),
    pub(crate) inherited: &'a [BorrowedFd<'a>],
    pub(crate) stderr: OwnedFd,
}

/// Starts a program that is asked, as [`spawn`] starts a process.
pub(crate) fn try_program(trial: &Trial<'_>) -> io::Result<Spawned> {
    let mut command = Command::new(trial.program);
    if let Some((name, args)) = trial.args.split_first() {
        command.arg0(name).args(args);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(trial.stderr.try_clone()?);
    for variable in PRIVATE_VARIABLES {
        command.env_remove(variable);
    }
    command.envs(trial.env.iter().map(|(name, value)| (name, value))).env(trial.handover.0, trial.handover.1);
    start(command, trial.inherited.iter().map(AsRawFd::as_raw_fd).collect())
}

/// An owner for a descriptor that was open when this program began, close-on-exec: one that the program before this one handed
/// over, or one of the service manager's (sd_listen_fds(3)). Call it once for each number.
pub(crate) fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: whoever named the number opened the descriptor for this program before exec, so the kernel gave the number to
    // no code of this program since, and its owner is made here once. Should the number not be open, the next call says so and
    // the owner is forgotten without closing anything.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl_setfd(&owned, FdFlags::CLOEXEC) {
        Ok(()) => Ok(owned),
        Err(errno) => {
            std::mem::forget(owned);
            Err(errno.into())
        }
    }
}

fn start(mut command: Command, inherited: Vec<RawFd>) -> io::Result<Spawned> {
    let supervisor = getpid();
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed and no
    // lock may be taken. It makes system calls on memory that was prepared before the fork, allocates nothing and drops
    // nothing. The child owns a copy of the descriptor table, so clearing flags does not change the supervisor's. The numbers
    // are those of descriptors that the callers borrow until this function returns.
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
        // SAFETY: the number was taken from a descriptor that is borrowed for the whole call of `start`, and fork
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
        ("--commons-fd", order.commons),
    ]
    .into_iter()
    .chain(order.listeners.iter().map(|fd| ("--listen-fd", *fd)))
}

fn pid_of(id: u32) -> io::Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
