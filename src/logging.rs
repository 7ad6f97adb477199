//! Log lines on standard error or in a file, as text for people or JSON for programs. Level, form and place can be changed while
//! the process runs.
//!
//! All processes of an instance write to one file. Each line is one write(2) to a descriptor with O_APPEND, so lines of several
//! processes never mix (open(2)).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use task_mcp_config::settings::{LogFormat, LogLevel, Telemetry};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// The log file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "telemetry.log_file {path:?} cannot be opened; name a file in a directory this user may write, or leave it empty for standard error"
)]
pub(crate) struct LogFileError {
    path: PathBuf,
    source: io::Error,
}

/// The log of this process; set once.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: reload::Handle<Targets, Registry>,
    output: Arc<ArcSwap<Output>>,
}

/// Where lines go, and in which form.
struct Output {
    format: LogFormat,
    /// The setting, also when the file could not be opened; empty for standard error.
    path: PathBuf,
    /// `None` is standard error.
    file: Option<Arc<LogFile>>,
}

/// A log file that this process appends to.
struct LogFile {
    file: File,
    /// Whether the last line could not be written in full: the disk was full. The next begins with a new line.
    is_torn: AtomicBool,
}

/// Starts the log. A further call changes it, as [`apply`] does.
///
/// # Errors
/// The log file cannot be opened; nothing was started then.
pub(crate) fn start(telemetry: &Telemetry) -> Result<(), LogFileError> {
    let file = open(&telemetry.log_file)?;
    install(telemetry, file);
    Ok(())
}

/// Starts the log of a process of an instance: it serves even if its log file cannot be opened, and logs to standard error.
pub(crate) fn start_anyway(telemetry: &Telemetry) {
    if let Err(error) = start(telemetry) {
        install(telemetry, None);
        warn_of(&error, "The log goes to standard error.");
    }
}

/// Takes over changed settings. A file that cannot be opened is told, and the log goes on where it was.
pub(crate) fn apply(telemetry: &Telemetry) {
    let Some(log) = LOG.get() else { return };
    set_level(telemetry.log_level);
    let now = log.output.load_full();
    let file = if now.path == telemetry.log_file {
        Ok(now.file.clone())
    } else {
        open(&telemetry.log_file).map(|file| file.map(LogFile::new))
    };
    let (path, file, failed) = match file {
        Ok(file) => (telemetry.log_file.clone(), file, None),
        Err(error) => (now.path.clone(), now.file.clone(), Some(error)),
    };
    log.output.store(Arc::new(Output { format: telemetry.log_format, path, file }));
    if let Some(error) = failed {
        warn_of(&error, "The log goes on where it was.");
    }
}

/// Logs from now on what is at least as severe as this.
pub(crate) fn set_level(level: LogLevel) {
    // It fails only when there is no subscriber any more.
    let _ = LOG.get().map(|log| log.filter.reload(targets(level)));
}

/// Opens the log file anew, after it was moved away. If that fails, the log goes on in the old one.
pub(crate) fn reopen() {
    let Some(log) = LOG.get() else { return };
    let now = log.output.load_full();
    if now.path.as_os_str().is_empty() {
        return;
    }
    match open(&now.path) {
        Ok(file) => {
            let (path, file) = (now.path.clone(), file.map(LogFile::new));
            log.output.store(Arc::new(Output { format: now.format, path, file }));
            tracing::info!("The log file was opened anew.");
        }
        Err(error) => warn_of(&error, "The log goes on where it was."),
    }
}

fn warn_of(error: &LogFileError, consequence: &str) {
    tracing::warn!(path = ?error.path, error = %error.source, "The log file cannot be opened. {consequence}");
}

/// Opens a log file to append to it; `None` for the empty path.
fn open(path: &Path) -> Result<Option<File>, LogFileError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |source| LogFileError { path: path.to_owned(), source };
    // A pipe would wait for a reader, and a terminal become the one that controls this process.
    let flags = O_NONBLOCK | O_NOCTTY;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
    let file = file.map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    Ok(Some(file))
}

fn install(telemetry: &Telemetry, file: Option<File>) {
    if LOG.get().is_some() {
        return apply(telemetry);
    }
    let output =
        Output { format: telemetry.log_format, path: telemetry.log_file.clone(), file: file.map(LogFile::new) };
    let output = Arc::new(ArcSwap::from_pointee(output));
    let (filter, handle) = reload::Layer::new(targets(telemetry.log_level));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(true)
        .event_format(Lines::new(Arc::clone(&output)))
        .with_writer(Writers(Arc::clone(&output)));
    // A second subscriber is refused; the first goes on.
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_ok() {
        let _ = LOG.set(Log { filter: handle, output });
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What the framework says of its own life is said by our processes in their words; its troubles are told.
    // Its HTTP parser calls every garbled request an error, which any stranger could fill a disk with.
    let garbled = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    Targets::new()
        .with_default(level)
        .with_target("actix_server", LevelFilter::WARN.min(level))
        .with_target("actix_http", garbled)
}

/// Writes each line in the form that is wanted at that moment.
struct Lines {
    output: Arc<ArcSwap<Output>>,
    plain: Format<Full>,
    coloured: Format<Full>,
    json: Format<Json>,
}

impl Lines {
    fn new(output: Arc<ArcSwap<Output>>) -> Self {
        let text = || tracing_subscriber::fmt::format().with_target(false);
        Self {
            output,
            plain: text().with_ansi(false),
            coloured: text().with_ansi(true),
            json: tracing_subscriber::fmt::format()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_ansi(false),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let output = self.output.load();
        match output.format {
            LogFormat::Json => self.json.format_event(context, writer, event),
            LogFormat::Text if output.file.is_none() && io::stderr().is_terminal() => {
                self.coloured.format_event(context, writer, event)
            }
            LogFormat::Text => self.plain.format_event(context, writer, event),
        }
    }
}

impl LogFile {
    fn new(file: File) -> Arc<Self> {
        Arc::new(Self { file, is_torn: AtomicBool::new(false) })
    }

    /// Appends a whole line, or as much of it as there is room for: half a line is never taken for the beginning of the next.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        let written = if self.is_torn.load(Ordering::Relaxed) {
            file.write_all(&[b"\n", line].concat())
        } else {
            file.write_all(line)
        };
        self.is_torn.store(written.is_err(), Ordering::Relaxed);
        written
    }
}

/// Hands out a writer for each line.
struct Writers(Arc<ArcSwap<Output>>);

impl<'a> MakeWriter<'a> for Writers {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(self.0.load().file.clone())
    }
}

/// Takes one whole line in one call.
struct LineWriter(Option<Arc<LogFile>>);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(file) => file.append(bytes).map(|()| bytes.len()),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_line_after_one_that_was_cut_begins_on_a_line_of_its_own() {
        use std::io::Read;
        use std::os::unix::net::UnixStream;

        // A socket takes part of a line when it is nearly full, as a disk does.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let file = LogFile::new(File::from(std::os::fd::OwnedFd::from(ours)));
        let mut writer = LineWriter(Some(file));
        let mut long = vec![b'x'; 4 << 20];
        long.push(b'\n');
        assert!(writer.write_all(&long).is_err());
        assert!(writer.write_all(b"lost\n").is_err());
        theirs.set_nonblocking(true).unwrap();
        let mut half = Vec::new();
        assert_eq!(theirs.read_to_end(&mut half).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!half.is_empty() && half.iter().all(|byte| *byte == b'x'), "half a line was written");
        writer.write_all(b"one\n").unwrap();
        writer.write_all(b"two\n").unwrap();
        drop(writer);
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\none\ntwo\n");
    }

    /// The log is one for the process, and each test is a process of its own (cargo nextest), or this is the only one here.
    #[test]
    fn level_form_and_file_change_while_the_process_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let mut telemetry =
            Telemetry { log_format: LogFormat::Text, log_level: LogLevel::Info, log_file: path.clone() };

        telemetry.log_file = dir.path().join("missing/a.log");
        let error = start(&telemetry).unwrap_err().to_string();
        assert!(error.contains("telemetry.log_file") && error.contains("missing/a.log"), "{error}");
        telemetry.log_file = dir.path().into();
        assert!(start(&telemetry).is_err(), "a directory");

        telemetry.log_file = path.clone();
        start(&telemetry).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o137, 0, "0640 and no more");
        tracing::info!("one");
        tracing::debug!("quiet");
        set_level(LogLevel::Debug);
        tracing::debug!(x = 1, "two");
        set_level(LogLevel::Error);
        tracing::warn!("quiet");
        let text = read(&path);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("one") && text.contains("two x=1") && !text.contains('\u{1b}'), "{text}");

        telemetry.log_format = LogFormat::Json;
        apply(&telemetry);
        let moved = dir.path().join("a.log.1");
        std::fs::rename(&path, &moved).unwrap();
        tracing::info!("three");
        reopen();
        tracing::info!(y = "z", "four");
        assert!(read(&moved).lines().last().unwrap().contains(r#""message":"three""#), "{}", read(&moved));
        let text = read(&path);
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((line["message"].as_str(), line["y"].as_str()), (Some("four"), Some("z")));

        telemetry.log_file = dir.path().join("missing/b.log");
        apply(&telemetry);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        reopen();
        tracing::info!("five");
        std::fs::remove_dir(&path).unwrap();
        reopen();
        tracing::info!("six");
        assert!(read(&path).contains("six") && !read(&path).contains("five"));
    }
}
