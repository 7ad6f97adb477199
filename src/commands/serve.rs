//! `task-mcp serve`: the supervisor of an instance.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use task_mcp_config::{ConfigError, Loaded};
use task_mcp_supervisor::{Configured, Launch, available_processors};

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
    logging::start(&loaded.settings.telemetry);
    warn(&loaded);
    let build = build();
    let configured = configured(loaded)?;
    let shown = configured.settings.clone();
    let version = build.version.clone();
    let root = sample.as_ref().map(|sample| sample.path().to_owned()).or_else(|| arguments.root.root.clone());
    let sources = sources.clone();
    let exit = task_mcp_supervisor::run(Launch {
        configured,
        read_settings: Box::new(move || read_again(&sources, root.as_deref())),
        series: series(&inventory(extensions)),
        on_ready: Box::new(move |ready| {
            // It serves whether anybody reads this or not.
            if let Err(lost) = print(&banner(&shown, ready, &version)) {
                lost.report();
            }
        }),
        build: build.build,
        extra_args: Vec::new(),
    })?;
    Ok(ExitCode::from(exit.code()))
}

/// The settings as they are now, from where they came from at the start.
fn read_again(sources: &SourceArgs, root: Option<&Path>) -> Result<Configured, String> {
    let read = load_with_root(sources, root).and_then(|loaded| {
        warn(&loaded);
        configured(loaded)
    });
    read.map_err(|error| error.to_string())
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!(setting = warning.key, "{warning}");
    }
}

/// The processes divide threads and connections by these numbers, so they are settled before any process starts.
fn configured(loaded: Loaded) -> Result<Configured, ConfigError> {
    let mut settings = loaded.settings;
    if settings.server.workers == 0 {
        settings.server.workers = available_processors();
    }
    if settings.tools.threads == 0 {
        settings.tools.threads = available_processors();
    }
    Ok(Configured { snapshot: settings.snapshot()?, settings })
}
