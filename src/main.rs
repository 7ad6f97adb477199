//! `task-mcp`: the server with its built-in tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    task_mcp::run(task_mcp::Extensions::default())
}
