//! What a supervisor hands to the program that takes its place under the same process id: as JSON in a memfd, with the
//! numbers of the descriptors that stay open over execve(2).
//!
//! The program is told by one environment variable, [`VARIABLE`]: `check:STATE:SETTINGS` asks whether it could take over,
//! `take:STATE:SETTINGS` to do it. Both are descriptors; a check writes the settings it has read to the second one, so that what
//! was checked is what is taken.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::control::SavedServer;
use crate::listen::SavedListeners;
use crate::run::Record;
use crate::spawn::take_over;
use crate::step::{Event, Post, State};

/// The environment variable that tells a program of a handover.
pub(crate) const VARIABLE: &str = "TASK_MCP_HANDOVER";
/// Raised with every change of what is handed over. A program takes over from its own version and refuses others.
pub(crate) const VERSION: u32 = 3;
/// Largest handover and largest settings, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Why a handover cannot be read, or made.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The variable is not of the known form.
    #[error("{VARIABLE} is for the supervisor alone and holds {found:?}; unset it")]
    Variable {
        /// What it holds.
        found: String,
    },
    /// A descriptor is not there or cannot be read.
    #[error("what the running instance handed over cannot be read or written")]
    Io(#[from] io::Error),
    /// The other program cannot be started.
    #[error("it cannot be started")]
    Start(#[source] io::Error),
    /// Its file was replaced meanwhile.
    #[error("it was replaced after it was asked; try again")]
    Replaced,
    /// It is larger than any.
    #[error("what the running instance handed over is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Another version made it.
    #[error(
        "the running instance hands over version {found} and this program takes over version {known}; stop the instance and \
         start it again to change the program"
    )]
    Version {
        /// What was found.
        found: u64,
        /// What is known.
        known: u32,
    },
    /// It is not what its version says.
    #[error("what the running instance handed over cannot be understood")]
    Json(#[from] serde_json::Error),
}

/// What this program was started for, if a running instance started it.
#[derive(Debug)]
pub enum Handover {
    /// To say whether it could take over.
    Check(Check),
    /// To take over.
    Take(Box<Taken>),
}

/// A question, to be answered with settings.
#[derive(Debug)]
pub struct Check {
    settings: File,
}

/// An instance that was taken over.
#[derive(Debug)]
pub struct Taken {
    pub(crate) saved: Saved,
    /// The settings of the check.
    settings: Vec<u8>,
}

impl Handover {
    /// Reads what the running instance handed over; `None` if nobody did. Once, early, from the main thread.
    ///
    /// # Errors
    /// It is of another version, or cannot be read.
    pub fn receive() -> Result<Option<Self>, HandoverError> {
        let Some(told) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let told = told.to_string_lossy().into_owned();
        let parsed = parse(&told).ok_or(HandoverError::Variable { found: told })?;
        let (kind, state, settings) = parsed;
        let mut state = File::from(take_over(state)?);
        let mut settings = File::from(take_over(settings)?);
        let saved = Saved::read(&read_all(&mut state)?)?;
        Ok(Some(match kind {
            Kind::Check => Self::Check(Check { settings }),
            Kind::Take => Self::Take(Box::new(Taken { saved, settings: read_all(&mut settings)? })),
        }))
    }
}

impl Check {
    /// Says that this program can take over, with these settings.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn pass(mut self, snapshot: &[u8]) -> Result<(), HandoverError> {
        self.settings.rewind()?;
        self.settings.set_len(0)?;
        Ok(self.settings.write_all(snapshot)?)
    }
}

impl Taken {
    /// The settings this program answered the check with.
    pub fn settings(&self) -> &[u8] {
        &self.settings
    }
}

enum Kind {
    Check,
    Take,
}

fn parse(told: &str) -> Option<(Kind, RawFd, RawFd)> {
    let mut parts = told.split(':');
    let kind = match parts.next()? {
        "check" => Kind::Check,
        "take" => Kind::Take,
        _ => return None,
    };
    let numbers = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((kind, numbers.0, numbers.1))
}

/// The variable's value for a check.
pub(crate) fn asks(state: BorrowedFd<'_>, settings: BorrowedFd<'_>) -> String {
    format!("check:{}:{}", state.as_raw_fd(), settings.as_raw_fd())
}

/// The variable's value for taking over.
pub(crate) fn tells(state: BorrowedFd<'_>, settings: BorrowedFd<'_>) -> String {
    format!("take:{}:{}", state.as_raw_fd(), settings.as_raw_fd())
}

/// Everything an instance consists of. Descriptors are numbers: they stay open.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) version: u32,
    /// Version of the program that handed over.
    pub(crate) build: String,
    /// When the instance was started, on the monotonic clock.
    pub(crate) started_ms: u64,
    /// Where the program is installed.
    pub(crate) installed_at: std::path::PathBuf,
    pub(crate) state: State,
    /// Of the runtime directory.
    pub(crate) lock: RawFd,
    /// Of the state directory, if it is used.
    pub(crate) state_lock: Option<RawFd>,
    pub(crate) control: SavedServer,
    pub(crate) listeners: SavedListeners,
    /// The scoreboard in use, then older ones.
    pub(crate) boards: Vec<SavedBoard>,
    pub(crate) commons: RawFd,
    pub(crate) revisions: Vec<SavedRevision>,
    /// Files of programs that revisions name.
    pub(crate) programs: Vec<RawFd>,
    pub(crate) processes: Vec<SavedProcess>,
    pub(crate) records: Vec<(Post, Record)>,
    /// What happened and is not decided about.
    pub(crate) events: Vec<Event>,
}

/// A scoreboard, and how much of it was carried over to the one in use.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedBoard {
    pub(crate) fd: RawFd,
    pub(crate) seen: Vec<(usize, u64)>,
}

/// What processes of one revision are started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedRevision {
    pub(crate) number: u64,
    pub(crate) snapshot: RawFd,
    pub(crate) program: SavedProgram,
    /// Which scoreboard its processes count on.
    pub(crate) board: usize,
}

/// A program as it was when its revision began, whatever has its place now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SavedProgram {
    /// Its place in the list of programs.
    File(usize),
    Path(std::path::PathBuf),
}

/// One process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedProcess {
    pub(crate) generation: u64,
    pub(crate) post: Post,
    pub(crate) pid: i32,
    pub(crate) pidfd: RawFd,
    pub(crate) link: Option<SavedLink>,
    pub(crate) seat: u16,
    /// Which scoreboard its seat is on.
    pub(crate) board: usize,
    pub(crate) revision: u64,
}

/// The link to a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedLink {
    pub(crate) stream: RawFd,
    /// What was read of an unfinished message.
    pub(crate) read: Vec<u8>,
    /// What is to be written before anything else.
    pub(crate) unwritten: Vec<u8>,
}

impl Saved {
    /// Writes it where the other program reads it.
    pub(crate) fn to_memory(&self) -> Result<OwnedFd, HandoverError> {
        let json = serde_json::to_vec(self)?;
        if json.len() as u64 > BYTES_MAX {
            return Err(HandoverError::TooLarge { limit_bytes: BYTES_MAX });
        }
        Ok(memory("task-mcp-handover", &json)?)
    }

    fn read(json: &[u8]) -> Result<Self, HandoverError> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        let found = serde_json::from_slice::<Head>(json)?.version;
        if found != u64::from(VERSION) {
            return Err(HandoverError::Version { found, known: VERSION });
        }
        Ok(serde_json::from_slice(json)?)
    }
}

/// A memfd with these bytes, close-on-exec.
pub(crate) fn memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

fn read_all(file: &mut File) -> Result<Vec<u8>, HandoverError> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(HandoverError::TooLarge { limit_bytes: BYTES_MAX });
    }
    Ok(bytes)
}
