//! `task-mcp worker` and `task-mcp admin`: the processes the supervisor starts.

use std::process::ExitCode;

use task_mcp_worker::{Boot, Exit, Logs, WorkerError, run_admin, run_worker};

use crate::Extensions;
use crate::cli::BootArgs;
use crate::composition::{build, inventory};
use crate::failure::{EX_TEMPFAIL, Failure};
use crate::logging;

/// What a process does with its log.
const LOGS: Logs = Logs {
    start: logging::start_anyway,
    apply: logging::apply,
    set_level: logging::set_level,
    reopen: logging::reopen,
};

/// Runs a worker process.
pub(crate) fn worker(boot: &BootArgs, extensions: Extensions) -> Result<ExitCode, Failure> {
    task_mcp_tools::panics::install_hook();
    finish(run_worker(&inheritance(boot), &build(), extensions.additions(), extensions.faults, LOGS))
}

/// Runs the admin process.
pub(crate) fn admin(boot: &BootArgs, extensions: &Extensions) -> Result<ExitCode, Failure> {
    task_mcp_tools::panics::install_hook();
    let inventory = inventory(extensions);
    finish(run_admin(&inheritance(boot), &build(), &inventory.names(), inventory.codes(), LOGS))
}

fn inheritance(boot: &BootArgs) -> Boot {
    Boot {
        seat: boot.seat,
        slot: boot.slot,
        generation: boot.generation,
        link_fd: boot.link_fd,
        settings_fd: boot.settings_fd,
        scoreboard_fd: boot.scoreboard_fd,
        commons_fd: boot.commons_fd,
        listen_fds: boot.listen_fd.clone(),
    }
}

fn finish(outcome: Result<Exit, WorkerError>) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(Exit::Drained) => Ok(ExitCode::SUCCESS),
        Ok(Exit::Forced) => Ok(ExitCode::from(EX_TEMPFAIL)),
        Err(error) => Err(Failure::new(error.exit_code(), error)),
    }
}
