//! `task-mcp stdio`: MCP over standard input and output, for one client that starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use task_mcp_config::settings::Telemetry;
use task_mcp_tools::Principal;
use task_mcp_worker::{Exit, WorkerError, run_stdio};

use crate::Extensions;
use crate::cli::{RootArgs, SourceArgs};
use crate::composition::{build, memory_of_its_own};
use crate::failure::{EX_TEMPFAIL, Failure};
use crate::logging;
use crate::settings::load_settings;

/// Serves the client that has started the process. Memory and threads are its own: it works the same whether a server runs beside it
/// or not. Logs go to standard error alone.
pub(crate) fn stdio(sources: &SourceArgs, arguments: &RootArgs, extensions: &Extensions) -> Result<ExitCode, Failure> {
    let settings = load_settings(sources, arguments)?.settings;
    // The log file is the instance's; this process is its client's.
    let telemetry = Telemetry { log_file: PathBuf::new(), ..settings.telemetry.clone() };
    logging::start(&telemetry)?;
    task_mcp_tools::panics::install_hook();

    let failed = |error: WorkerError| Failure::new(error.exit_code(), error);
    let memory = memory_of_its_own(extensions).map_err(failed)?;
    let principal = Principal::new(&format!("local:{}", nix::unistd::geteuid()));
    match run_stdio(&settings, &build(), &extensions.additions(), &memory, principal).map_err(failed)? {
        Exit::Drained => Ok(ExitCode::SUCCESS),
        Exit::Forced => Ok(ExitCode::from(EX_TEMPFAIL)),
    }
}
