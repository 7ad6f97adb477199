//! `task-mcp serve`: the supervisor of an instance.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use task_mcp_config::{ConfigError, Loaded, Settings};
use task_mcp_supervisor::{Configured, Handover, Installed, Launch, Logs, Passed, available_processors};

use crate::Extensions;
use crate::banner::banner;
use crate::cli::{ServeArgs, SourceArgs};
use crate::commands::print;
use crate::composition::{build, inventory, series};
use crate::demo::Sample;
use crate::failure::{EX_UNAVAILABLE, Failure};
use crate::logging;
use crate::settings::load_with_root;

/// Serves until it is told to stop. A running instance may have started this program to ask whether it can go on with the
/// instance, or to do it.
pub(crate) fn serve(sources: &SourceArgs, arguments: &ServeArgs, extensions: &Extensions) -> Result<ExitCode, Failure> {
    let handover = Handover::receive()?;
    // Before anything is opened: the numbers of these descriptors are the service manager's word.
    let passed = if handover.is_none() { Passed::take() } else { Passed::default() };
    let sample = if arguments.demo {
        let sample = Sample::lay_or_find(handover.is_some());
        let sample = sample.context("the sample tree cannot be laid into the temporary folder");
        Some(sample.map_err(|error| Failure::new(EX_UNAVAILABLE, error))?)
    } else {
        None
    };
    let root = sample.as_ref().map(Sample::path).or(arguments.root.root.as_deref()).map(Path::to_owned);
    let (configured, taken) = match handover {
        Some(Handover::Take(taken)) => {
            let settings = Settings::from_snapshot(taken.settings())?;
            // There is no way back: what the check has tried may fail now, and is no reason to end the instance.
            logging::start_anyway(&settings.telemetry);
            (Configured { snapshot: taken.settings().to_vec(), settings }, Some(taken))
        }
        Some(Handover::Check(check)) => {
            let configured = configured(load_with_root(sources, root.as_deref())?)?;
            logging::start(&configured.settings.telemetry)?;
            check.pass(&configured.snapshot)?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {
            let loaded = load_with_root(sources, root.as_deref())?;
            logging::start(&loaded.settings.telemetry)?;
            warn(&loaded);
            (configured(loaded)?, None)
        }
    };
    let mut installed = Installed::of_this_process();
    installed.env.extend(sample.as_ref().map(Sample::variable));
    let build = build();
    let shown = configured.settings.clone();
    let version = build.version.clone();
    let sources = sources.clone();
    let ended = task_mcp_supervisor::run(Launch {
        configured,
        read_settings: Box::new(move || read_again(&sources, root.as_deref())),
        installed,
        taken,
        passed,
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
    });
    if let Some(sample) = sample {
        sample.remove();
    }
    Ok(ExitCode::from(ended?.code()))
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
