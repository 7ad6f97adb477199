//! `task-mcp ctl`: a running instance, through its control socket.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use task_mcp_supervisor::{ControlError, Request, Response, Status, control};

use crate::cli::{CtlArgs, CtlCommand, SourceArgs};
use crate::commands::{cache, print, print_error};
use crate::failure::{EX_NOPERM, EX_SOFTWARE, EX_UNAVAILABLE, Failure};
use crate::settings::find_socket;

/// Asks the instance and tells what it answered. Exit code 0: done; 1: it was not done, with the reason; 69: nobody
/// answers; 77: this user may not ask.
pub(crate) fn ctl(sources: &SourceArgs, arguments: &CtlArgs) -> Result<ExitCode, Failure> {
    let request = match &arguments.command {
        CtlCommand::Status => Request::Status,
        CtlCommand::Restart => Request::Restart,
        CtlCommand::Reload => Request::Reload,
        CtlCommand::Upgrade => Request::Upgrade,
        CtlCommand::Scale { workers } => Request::Scale { workers: *workers },
        CtlCommand::LogLevel { level } => Request::LogLevel { level: *level },
        CtlCommand::Cache(command) => Request::Ask {
            question: serde_json::to_value(cache::question(command))
                .map_err(|error| Failure::new(EX_SOFTWARE, error))?,
        },
        CtlCommand::Stop => Request::Drain,
    };
    let socket = socket(sources, arguments)?;
    let timeout = Duration::from_secs(arguments.timeout_s);
    let response = control(&socket, &request, timeout).map_err(refused)?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&response).unwrap_or_default();
        print(&format!("{text}\n"))?;
    }
    let told = |text: &str| if arguments.json { Ok(()) } else { print(text) };
    match &response {
        Response::Done { message } => told(&format!("{message}\n"))?,
        Response::Status(status) => told(&table(status))?,
        Response::Answer { answer } => match cache::told(answer) {
            Ok(text) => told(&text)?,
            Err(_) if arguments.json && cache::is_failure(answer) => return Ok(ExitCode::FAILURE),
            Err(reason) => {
                print_error(&format!("task-mcp: {reason}\n"));
                return Ok(ExitCode::FAILURE);
            }
        },
        Response::Failed { reason } | Response::Refused { reason } => {
            if !arguments.json {
                print_error(&format!("task-mcp: {reason}\n"));
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(error: ControlError) -> Failure {
    let code = match error {
        ControlError::Denied { .. } => EX_NOPERM,
        _ => EX_UNAVAILABLE,
    };
    Failure::new(code, error)
}

/// The socket that is named, else the one of the settings, whatever else is wrong with them.
fn socket(sources: &SourceArgs, arguments: &CtlArgs) -> Result<PathBuf, Failure> {
    match &arguments.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(find_socket(sources)?),
    }
}

/// The status for people.
fn table(status: &Status) -> String {
    let phase = match (status.draining, status.restarting) {
        (true, _) => "draining",
        (false, true) => "restarting its workers",
        (false, false) => "serving",
    };
    let endpoints: Vec<String> = status.endpoints.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "Task MCP {} is {phase} on {}; process {}, up {} s, {} workers wanted\n\n",
        status.build,
        endpoints.join(", "),
        status.pid,
        status.uptime_ms / 1_000,
        status.workers,
    );
    let columns = ["SLOT", "STATE", "PID", "GENERATION", "RESTARTS", "WAITING", "IN FLIGHT", "STREAMS", "LAST EXIT"];
    let mut rows = vec![columns.map(str::to_owned)];
    for slot in &status.slots {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        rows.push([
            slot.name.clone(),
            slot.second.as_ref().map_or(slot.state.clone(), |second| format!("{} +{}", slot.state, second.state)),
            number(slot.pid.map(u64::from)),
            number(slot.generation),
            slot.restarts.to_string(),
            slot.waiting.to_string(),
            slot.in_flight.to_string(),
            slot.open_streams.to_string(),
            slot.last_exit.clone().unwrap_or("-".to_owned()),
        ]);
    }
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
