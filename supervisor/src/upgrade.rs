//! Becoming another program under the same process id (execve(2)): the program that was installed in the place of this one is
//! asked whether it can take over, then it does, with all sockets, processes and clients; then it replaces the processes
//! one by one. Until it has taken over, nothing has changed.

use std::ffi::{CString, OsString};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, raise, sigprocmask};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, pidfd_send_signal, waitpid};
use task_mcp_config::Settings;
use task_mcp_link::told;
use task_mcp_scoreboard::Fold;
use tracing::{error, info};

use crate::handover::{
    HandoverError, Saved, SavedBoard, SavedProcess, SavedProgram, SavedRevision, VARIABLE, VERSION, asks, memory, tells,
};
use crate::memory::read_sealed;
use crate::process::{Link, Running};
use crate::program::{self, Program};
use crate::run::Supervisor;
use crate::spawn::{Trial, try_program};
use crate::step::Event;

/// How much is remembered of what a program says when it cannot take over, in bytes.
const WORDS_BYTES: usize = 4096;

/// The other program, while it is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its file.
    file: OwnedFd,
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    /// Its standard error, and the end of what came.
    stream: UnixStream,
    words: Vec<u8>,
    /// How it ended, if process 1 has reaped it.
    pub(crate) status: Option<rustix::process::WaitStatus>,
    /// Where it writes its settings.
    settings: OwnedFd,
}

/// The other program, which can take over.
#[derive(Debug)]
pub(crate) struct Good {
    file: OwnedFd,
    settings: OwnedFd,
}

impl Supervisor {
    /// Asks the program that has the place of this one now.
    pub(crate) fn check_program(&mut self) {
        match self.ask_program() {
            Ok(asked) => {
                let pid = asked.pid.as_raw_nonzero().get();
                info!(path = ?self.installed.path, pid, "The installed program is asked whether it can take over.");
                self.asked = Some(asked);
            }
            Err(error) => self.refuse_program(format!("{:?}: {}", self.installed.path, told(&error))),
        }
    }

    fn ask_program(&self) -> Result<Asked, HandoverError> {
        let file = program::open(&self.installed.path).map_err(HandoverError::Start)?;
        let state = self.save(&file)?.to_memory()?;
        let settings = memory("task-mcp-settings", b"")?;
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let spawned = try_program(&Trial {
            program: &self.installed.path,
            args: &self.installed.args,
            env: &self.installed.env,
            handover: (VARIABLE, &asks(state.as_fd(), settings.as_fd())),
            inherited: &[state.as_fd(), settings.as_fd()],
            stderr: theirs.into(),
        })
        .map_err(HandoverError::Start)?;
        let asked =
            Asked { file, pid: spawned.pid, pidfd: spawned.pidfd, stream, words: Vec::new(), status: None, settings };
        // What answers has to be what is executed later.
        if program::is_at(&asked.file, &self.installed.path).unwrap_or(false) {
            return Ok(asked);
        }
        asked.end();
        Err(HandoverError::Replaced)
    }

    /// What the program that is asked says; its end is its answer.
    pub(crate) fn hear_asked(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        asked.listen();
        let status = match (asked.status.take(), waitpid(Some(asked.pid), WaitOptions::NOHANG)) {
            // Process 1 reaps it with the orphans.
            (Some(status), _) => status.exit_status(),
            (None, Ok(None) | Err(rustix::io::Errno::INTR)) => return,
            (None, Ok(Some((_, status)))) => status.exit_status(),
            (None, Err(_)) => None,
        };
        let Some(mut asked) = self.asked.take() else { return };
        asked.listen();
        let has_settings = rustix::fs::fstat(&asked.settings).is_ok_and(|found| found.st_size > 0);
        if status == Some(0) && has_settings {
            // Its settings are held to what a reload is held to.
            let settings = read_sealed(&asked.settings).ok().and_then(|bytes| Settings::from_snapshot(&bytes).ok());
            if let Some(reason) = settings.and_then(|settings| self.objection(&settings)) {
                self.refuse_program(format!("the settings that {:?} has read: {reason}", self.installed.path));
                return;
            }
            self.good = Some(Good { file: asked.file, settings: asked.settings });
            self.events.push(Event::Checked { ok: true });
        } else {
            let words = asked.words();
            let code = status.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            self.refuse_program(format!("{:?} cannot take over; it ended with {code}{words}", self.installed.path));
        }
    }

    /// It did not answer in time.
    pub(crate) fn give_check_up(&mut self) {
        let Some(mut asked) = self.asked.take() else { return };
        asked.listen();
        asked.end();
        let reason = format!("{:?} did not answer in time{}", self.installed.path, asked.words());
        error!(reason, "The installed program cannot take over.");
        self.revisions.refusal = Some(reason);
    }

    fn refuse_program(&mut self, reason: String) {
        error!(reason, "The installed program cannot take over.");
        self.revisions.refusal = Some(reason);
        self.events.push(Event::Checked { ok: false });
    }

    /// What is to be polled of the program that is asked.
    pub(crate) fn asked_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.asked.iter().map(|asked| asked.pidfd.as_fd())
    }

    /// Becomes the other program. Returns only if that failed; then everything is as it was.
    pub(crate) fn replace_program(&mut self) {
        if !self.state.is_replacing() {
            // Something else was decided in the same pass: the instance stops.
            self.good = None;
            return;
        }
        let failure = match self.good.take() {
            Some(good) => match self.execute(&good) {
                Ok(never) => match never {},
                Err(error) => told(&error),
            },
            None => "nobody was asked".to_owned(),
        };
        let reason = format!("{:?} cannot be executed: {failure}", self.installed.path);
        error!(reason, "The installed program cannot take over.");
        self.revisions.refusal = Some(reason);
        self.events.push(Event::NotReplaced);
    }

    fn execute(&mut self, good: &Good) -> Result<std::convert::Infallible, HandoverError> {
        // What was said until now is heard; what comes later waits in the links.
        self.hear_processes();
        for fold in &mut self.folds {
            let _ = fold.fold();
        }
        let this = program::open_this()?;
        let saved = self.save(&this)?;
        let state = saved.to_memory()?;
        // What answered is what is executed; by its path, as it was asked, so that a script is one all the same.
        if !program::is_at(&good.file, &self.installed.path)? {
            return Err(HandoverError::Replaced);
        }
        let path = c_string(self.installed.path.clone().into_os_string())?;
        let args = self.installed.args.iter().cloned().map(c_string).collect::<io::Result<Vec<_>>>()?;
        let own = (OsString::from(VARIABLE), OsString::from(tells(state.as_fd(), good.settings.as_fd())));
        let given: Vec<(OsString, OsString)> = self.installed.env.iter().cloned().chain([own]).collect();
        let kept = std::env::vars_os().filter(|(name, _)| given.iter().all(|(other, _)| other != name));
        let env = kept.chain(given.iter().cloned()).map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            c_string(name)
        });
        let env = env.collect::<io::Result<Vec<_>>>()?;
        info!(path = ?self.installed.path, "The instance goes on with the installed program.");
        // Handlers end with this program, so signals wait until the next one has its own.
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before)).map_err(io::Error::from)?;
        for signal in self.signals.undelivered() {
            // It was delivered and nobody has looked at it yet: it is delivered again.
            let _ = raise(signal);
        }
        let stays = || self.kept_open(&this, &state, &good.settings);
        let cleared = stays().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()));
        let failed = match cleared {
            Ok(()) => match nix::unistd::execve(&path, &args, &env) {
                Ok(never) => return Ok(never),
                Err(errno) => io::Error::from(errno),
            },
            Err(errno) => errno.into(),
        };
        for fd in stays() {
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(io::Error::from)?;
        Err(failed.into())
    }

    /// Everything as data; `this` is the program of this process.
    fn save(&self, this: &OwnedFd) -> Result<Saved, HandoverError> {
        let boards = std::iter::once(SavedBoard { fd: raw(&self.shared.scoreboard), seen: Vec::new() });
        let places: Vec<usize> = std::iter::once(0).chain(self.used_folds().map(|(place, _)| place)).collect();
        let place = |board: usize| places.iter().position(|place| *place == board).unwrap_or_default();
        let older = self.used_folds().map(|(_, fold)| SavedBoard { fd: raw(fold.old()), seen: fold.seen() });
        let mut programs = vec![raw(this)];
        let mut revisions = Vec::new();
        for (number, revision) in self.revisions.iter() {
            let program = match &revision.program {
                Program::This => SavedProgram::File(0),
                Program::File(fd) => {
                    programs.push(raw(fd));
                    SavedProgram::File(programs.len() - 1)
                }
                Program::Path(path) => SavedProgram::Path(path.clone()),
            };
            let (snapshot, board) = (raw(&revision.snapshot), place(revision.board));
            revisions.push(SavedRevision { number, snapshot, program, board });
        }
        let processes = self.processes.iter().map(|(generation, process)| SavedProcess {
            generation: *generation,
            post: process.post,
            pid: process.pid.as_raw_nonzero().get(),
            pidfd: raw(&process.pidfd),
            link: process.link.as_ref().map(Link::save),
            seat: process.seat_index,
            board: place(process.board),
            revision: process.revision,
        });
        Ok(Saved {
            version: VERSION,
            build: self.build.clone(),
            started_ms: self.own_seat.started_ms(),
            installed_at: self.installed.path.clone(),
            state: self.state.clone(),
            lock: raw(self.instance.runtime()),
            state_lock: self.instance.state().map(raw),
            control: self.control.save(),
            listeners: self.listeners.save(),
            boards: boards.chain(older).collect(),
            commons: raw(&self.shared.commons),
            revisions,
            programs,
            processes: processes.collect(),
            records: self.records.iter().map(|(post, record)| (*post, record.clone())).collect(),
            events: self.events.clone(),
        })
    }

    /// Older scoreboards that somebody counts on, or would: their places, counted from 1, as processes name them.
    fn used_folds(&self) -> impl Iterator<Item = (usize, &Fold)> {
        (1..).zip(&self.folds).filter(|(place, fold)| {
            fold.running().next().is_some()
                || self.processes.values().any(|process| process.board == *place)
                || self.revisions.iter().any(|(_, revision)| revision.board == *place)
        })
    }

    /// Every descriptor that [`Saved`] names, and what carries it.
    fn kept_open<'a>(
        &'a self,
        this: &'a OwnedFd,
        state: &'a OwnedFd,
        settings: &'a OwnedFd,
    ) -> impl Iterator<Item = BorrowedFd<'a>> {
        let shared = [self.shared.scoreboard.as_fd(), self.shared.commons.as_fd(), self.instance.runtime().as_fd()];
        let carriers = [this, state, settings].map(AsFd::as_fd);
        let snapshots = self.revisions.iter().map(|(_, revision)| revision.snapshot.as_fd());
        let programs = self.revisions.iter().filter_map(|(_, revision)| match &revision.program {
            Program::File(fd) => Some(fd.as_fd()),
            Program::This | Program::Path(_) => None,
        });
        shared
            .into_iter()
            .chain(self.instance.state().map(AsFd::as_fd))
            .chain(carriers)
            .chain(snapshots)
            .chain(programs)
            .chain(self.used_folds().map(|(_, fold)| fold.old().as_fd()))
            .chain(self.processes.values().flat_map(Running::fds))
            .chain(self.listeners.named().map(|(_, socket)| socket))
            .chain(self.control.all_fds())
    }
}

impl Asked {
    /// Ends it and what it has started: it has a process group of its own.
    fn end(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = kill_process_group(self.pid, Signal::KILL);
        // A killed process is gone in a moment.
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }

    /// Takes in what it says, and keeps the end of it.
    fn listen(&mut self) {
        let mut bytes = [0; WORDS_BYTES];
        // At most so much in one pass, however much it says.
        for _ in 0..16 {
            match self.stream.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.words.extend_from_slice(bytes.get(..count).unwrap_or_default());
                    let surplus = self.words.len().saturating_sub(WORDS_BYTES);
                    self.words.drain(..surplus);
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn words(&self) -> String {
        let words = String::from_utf8_lossy(&self.words);
        if words.trim().is_empty() { String::new() } else { format!(": {}", words.trim()) }
    }
}

fn raw(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

fn c_string(text: OsString) -> io::Result<CString> {
    // An argument with a zero byte cannot have come from execve(2).
    CString::new(OsStringExt::into_vec(text)).map_err(|_| ErrorKind::InvalidInput.into())
}
