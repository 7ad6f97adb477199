//! `task-mcp serve`: the supervisor of an instance.

use std::process::ExitCode;

use anyhow::Context;
use task_mcp_supervisor::{Launch, Logs, available_processors};

use crate::Extensions;
use crate::banner::banner;
use crate::cli::{ServeArgs, SourceArgs};
use crate::commands::print;
use crate::composition::{build, inventory, series};
use crate::failure::{EX_UNAVAILABLE, Failure};
use crate::settings::{load_settings, load_with_root};
use crate::{demo, logging};

/// Serves until it is told to stop.
pub(crate) fn serve(sources: &SourceArgs, arguments: &ServeArgs, extensions: &Extensions) -> Result<ExitCode, Failure> {
    let sample = if arguments.demo {
        let sample = demo::lay().context("the sample tree cannot be laid into the temporary folder");
        Some(sample.map_err(|error| Failure::new(EX_UNAVAILABLE, error))?)
    } else {
        None
    };
    let loaded = match &sample {
        Some(sample) => load_with_root(sources, Some(sample.path()))?,
        None => load_settings(sources, &arguments.root)?,
    };
    let mut settings = loaded.settings;
    logging::start(&settings.telemetry)?;
    for warning in &loaded.warnings {
        tracing::warn!(setting = warning.key, "{warning}");
    }
    // The processes divide threads and connections by this number, so it is settled before they start.
    if settings.server.workers == 0 {
        settings.server.workers = available_processors();
    }
    if settings.tools.threads == 0 {
        settings.tools.threads = available_processors();
    }
    let build = build();
    let shown = settings.clone();
    let version = build.version.clone();
    let exit = task_mcp_supervisor::run(Launch {
        settings_snapshot: settings.snapshot()?,
        workers: settings.server.workers,
        settings,
        series: series(&inventory(extensions)),
        on_ready: Box::new(move |ready| {
            // It serves whether anybody reads this or not.
            if let Err(lost) = print(&banner(&shown, ready, &version)) {
                lost.report();
            }
        }),
        build: build.build,
        extra_args: Vec::new(),
        logs: Logs { apply: logging::apply, set_level: logging::set_level, reopen: logging::reopen },
    })?;
    Ok(ExitCode::from(exit.code()))
}
