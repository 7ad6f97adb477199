//! Errors as exit codes and words for people.

use std::io::Write;
use std::process::ExitCode;

use task_mcp_config::ConfigError;
use task_mcp_supervisor::{HandoverError, SupervisorError};

use crate::logging::LogFileError;

/// Wrong arguments (sysexits.h, as all below).
pub(crate) const EX_USAGE: u8 = 64;
/// Something needed is not available.
pub(crate) const EX_UNAVAILABLE: u8 = 69;
/// A bug.
pub(crate) const EX_SOFTWARE: u8 = 70;
/// What was to be written is lost.
pub(crate) const EX_IOERR: u8 = 74;
/// Forced at the drain deadline.
pub(crate) const EX_TEMPFAIL: u8 = 75;
/// This user may not.
pub(crate) const EX_NOPERM: u8 = 77;
/// Bad settings.
pub(crate) const EX_CONFIG: u8 = 78;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    /// Prints the error with its causes on standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // Nobody may be reading; the code still tells.
        let _ = writeln!(std::io::stderr(), "task-mcp: {:#}", self.error);
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match &error {
            ConfigError::Read { .. } | ConfigError::Invalid(_) | ConfigError::WorkingDirectory(_) => EX_CONFIG,
            ConfigError::Defaults(_) | ConfigError::Snapshot(_) => EX_SOFTWARE,
        };
        Self::new(code, error)
    }
}

impl From<LogFileError> for Failure {
    fn from(error: LogFileError) -> Self {
        Self::new(EX_CONFIG, error)
    }
}

impl From<SupervisorError> for Failure {
    fn from(error: SupervisorError) -> Self {
        Self::new(error.exit_code(), error)
    }
}

impl From<HandoverError> for Failure {
    fn from(error: HandoverError) -> Self {
        Self::new(EX_UNAVAILABLE, error)
    }
}
