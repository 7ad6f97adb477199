//! What [`load`](crate::load) looks at, and which settings file counts.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::environment::lookup;
use crate::problem::{ConfigError, Flaw, Origin};

/// Everything that decides the settings. Nothing else is read, neither the process environment nor the system clock.
#[derive(Clone)]
pub struct Sources {
    /// The file named by `--config`; it must exist.
    pub config: Option<PathBuf>,
    /// Files to use if none is named, in this order: the first that exists.
    pub search: Vec<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Values of `--set`, each `section.key=value`.
    pub set: Vec<String>,
    /// The directory given with `--root`; it wins over `store.root` everywhere else.
    pub root: Option<PathBuf>,
    /// The directory that relative paths are relative to.
    pub cwd: PathBuf,
    /// The user id that names the private temporary directory.
    pub uid: u32,
}

impl Sources {
    /// The sources of this process: its environment, working directory and user, and the standard search path. Values
    /// that are not UTF-8 are taken with replacement characters, which no check accepts where it matters.
    pub fn from_process() -> Result<Self, ConfigError> {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Ok(Self {
            config: None,
            search: vec!["/etc/task-mcp/task-mcp.toml".into(), "task-mcp.toml".into()],
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            set: Vec::new(),
            root: None,
            cwd: std::env::current_dir().map_err(ConfigError::WorkingDirectory)?,
            uid: nix::unistd::geteuid().as_raw(),
        })
    }

    /// The settings file that counts, with its text.
    pub(crate) fn file(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let named = match (&self.config, lookup(&self.env, "TASK_MCP_CONFIG")) {
            (Some(path), _) => Some((path.clone(), "named by --config")),
            (None, Some(path)) => Some((path.into(), "named by TASK_MCP_CONFIG")),
            (None, None) => None,
        };
        if let Some((path, named_by)) = named {
            return self.read(&path, named_by).map(|text| Some((path, text)));
        }
        for path in &self.search {
            match self.read(path, "found by search") {
                Ok(text) => return Ok(Some((path.clone(), text))),
                Err(ConfigError::Read { source, .. }) if is_absent(&source) => {}
                // A file that is there but not readable must not be passed over: it may hold the tokens.
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn read(&self, path: &Path, named_by: &'static str) -> Result<String, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), named_by, source };
        let mut bytes = Vec::new();
        let file = open(&self.cwd.join(path)).map_err(failed)?;
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let flaw = if bytes.len() as u64 > FILE_BYTES {
            Flaw::new("the file is too large", "name the right file")
                .limit(format!("at most {FILE_BYTES} bytes are read"))
        } else {
            match String::from_utf8(bytes) {
                Ok(text) => return Ok(text),
                Err(_) => Flaw::new("the file is not UTF-8 text", "save it as UTF-8"),
            }
        };
        Err(ConfigError::Invalid(vec![flaw.at("", Origin::File { path: path.to_owned(), line: 1 })]))
    }
}

/// `Debug` names the variables but shows no values, and of `--set` only how many: tokens come that way.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sources")
            .field("config", &self.config)
            .field("search", &self.search)
            .field("env", &names)
            .field("set", &self.set.len())
            .field("root", &self.root)
            .field("cwd", &self.cwd)
            .field("uid", &self.uid)
            .finish()
    }
}

/// Opens a regular file, also through symbolic links. Opening a FIFO would wait for somebody to write, without an end.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    let what = match kind {
        kind if kind.is_file() => return Ok(file),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        _ => "a device",
    };
    Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
}

/// Far more than 1,024 tokens of 256 bytes.
const FILE_BYTES: u64 = 1 << 20;

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
