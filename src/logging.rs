//! Log lines on standard error, as text for people or JSON for programs.

use std::io::IsTerminal;

use task_mcp_config::settings::{LogFormat, LogLevel, Telemetry};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Installs the subscriber of this process. The first call counts.
pub(crate) fn start(telemetry: &Telemetry) {
    let level = match telemetry.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What the framework says of its own life is said by our processes in their words; its troubles are told.
    // Its HTTP parser calls every garbled request an error, which any stranger could fill a disk with.
    let garbled = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let filter = Targets::new()
        .with_default(level)
        .with_target("actix_server", LevelFilter::WARN.min(level))
        .with_target("actix_http", garbled);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match telemetry.log_format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // A second subscriber is refused; the first goes on.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
