//! `task-mcp call`: one tool, here, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use task_mcp_config::settings::Telemetry;
use task_mcp_mcp::CallResult;
use task_mcp_tools::{Call, Principal};
use task_mcp_worker::{Assembly, WorkerError};

use crate::Extensions;
use crate::cli::{CallArgs, SourceArgs};
use crate::commands::{print, print_error};
use crate::composition::memory_of_its_own;
use crate::failure::{EX_SOFTWARE, EX_USAGE, Failure};
use crate::logging;
use crate::settings::load_settings;

/// Runs the tool and prints its result as JSON; what the tool refuses is printed as JSON on standard error, exit code 1.
pub(crate) fn call(sources: &SourceArgs, arguments: &CallArgs, extensions: Extensions) -> Result<ExitCode, Failure> {
    let settings = load_settings(sources, &arguments.root)?.settings;
    // The log file is the instance's; this is a person's call.
    let telemetry = Telemetry { log_file: PathBuf::new(), ..settings.telemetry.clone() };
    logging::start(&telemetry)?;
    task_mcp_tools::panics::install_hook();

    let failed = |error: WorkerError| Failure::new(error.exit_code(), error);
    // Memory and threads of its own: it works the same whether a server runs beside it or not.
    let memory = memory_of_its_own(&extensions).map_err(failed)?;
    let parts = Assembly::alone(&settings, &extensions.additions(), &memory).map_err(failed)?;
    if !parts.executor.knows(&arguments.tool) {
        let known: Vec<&str> = parts.registry.names().collect();
        let error = anyhow::anyhow!("no tool is named `{}`; the tools are {}", arguments.tool, known.join(", "));
        return Err(Failure::new(EX_USAGE, error));
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("the runtime cannot be started").map_err(|e| Failure::new(EX_SOFTWARE, e))?;
    let call = Call::new(Principal::new(&format!("local:{}", nix::unistd::geteuid())));
    let answer = runtime.block_on(parts.executor.execute(&call, &arguments.tool, &arguments.arguments));
    Ok(match answer.outcome {
        Ok(CallResult { structured, .. }) => {
            print(&pretty(&structured.unwrap_or_default()))?;
            ExitCode::SUCCESS
        }
        Err(stop) => {
            print_error(&pretty(&stop.into_error().to_json()));
            ExitCode::FAILURE
        }
    })
}

fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    format!("{value:#}\n")
}
