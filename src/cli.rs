//! Arguments and help.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use task_mcp_config::settings::LogLevel;

use crate::failure::EX_USAGE;

/// One lane for AI agents that plan and ship changes in repositories that use OpenSpec.
///
/// Without a command it serves: a supervisor runs worker processes that answer MCP on one address, replaces those that crash,
/// and lets calls in flight finish when it is told to stop.
#[derive(Debug, Parser)]
#[command(name = "task-mcp", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER_HELP: &str = "\
Settings come from, in this order: the built-in defaults, one file (--config, $TASK_MCP_CONFIG,
/etc/task-mcp/task-mcp.toml or ./task-mcp.toml), the environment (TASK_MCP_<SECTION>__<KEY>), --set.

Exit codes: 0 done; 1 `call`, `ctl` or `openspec` says no; 64 usage; 69 something needed is not available;
70 a bug; 74 the output cannot be written; 75 forced at the drain deadline; 77 `ctl` may not use the
socket; 78 bad settings.

Try it: task-mcp serve --demo";

/// Where settings come from. Accepted before and after the command.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// Settings file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, such as server.workers=4; wins over file and environment; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve MCP (this is what happens without a command)
    Serve(ServeArgs),
    /// Check the settings and tell every problem at once; exit code 78 if there is one
    Check(RootArgs),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at a running instance, or change it
    Ctl(CtlArgs),
    /// Serve MCP over standard input and output, for one IDE or agent that starts it; see docs/ide.md
    Stdio(RootArgs),
    /// Run one tool here, without a server, and print its result
    Call(CallArgs),
    /// Do what the OpenSpec CLI does: `list` and `archive`, with its arguments, output and exit codes
    #[command(disable_help_flag = true)]
    Openspec(OpenspecArgs),
    /// A worker process; started by the supervisor
    #[command(hide = true)]
    Worker(BootArgs),
    /// The admin process; started by the supervisor
    #[command(hide = true)]
    Admin(BootArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve(ServeArgs::default())
    }
}

/// Arguments of `serve`.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) root: RootArgs,
    /// Serve a fresh copy of the sample tree that ships with the program; the copy is removed at the end
    #[arg(long, conflicts_with = "root")]
    pub(crate) demo: bool,
}

/// Which tree.
#[derive(Debug, Default, Args)]
pub(crate) struct RootArgs {
    /// The directory that holds openspec/ (the setting store.root)
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// Commands of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings in force as TOML, secrets redacted
    Show(RootArgs),
}

/// Arguments of `ctl`.
#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    #[command(subcommand)]
    pub(crate) command: CtlCommand,
    /// Control socket of the instance (default: the one of the settings, supervisor.control_socket)
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for the answer, in seconds
    #[arg(long, global = true, default_value_t = 600)]
    pub(crate) timeout_s: u64,
}

/// Commands of `ctl`.
#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// Show every process: state, restarts, what it is doing, why the last one ended
    Status,
    /// Replace all workers one by one without losing a call; answers when it is done, exit code 1 if it was abandoned
    Restart,
    /// Read the settings again; answers when they are in force, exit code 1 with the reason if those before stay
    Reload,
    /// Go on with the program that was installed in the place of the running one; exit code 1 with the reason if it cannot
    Upgrade,
    /// Have this many workers; answers when it is done
    Scale {
        /// Number of workers
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        workers: u16,
    },
    /// Log from now on what is at least as severe as this, in all processes, until the settings are read again
    LogLevel {
        /// error, warn, info, debug or trace
        #[arg(value_parser = log_levels())]
        level: LogLevel,
    },
    /// Look at the shared cache of tool results, or remove what is in it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Drain and end, as SIGTERM does; answers at once
    Stop,
}

/// Commands of `ctl cache`. A pattern is matched with the key and the name of an entry: `*` stands for anything, `?` for one character.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show the tier in force, and how much is in it
    Stats,
    /// Show the entries that match, 100 at most
    Get {
        /// A key, or a pattern such as 'changes.active*'
        #[arg(value_name = "KEY_OR_PATTERN")]
        pattern: String,
    },
    /// Compute again what depends on a tag, as after a write; or remove the entries that match a pattern
    Invalidate {
        /// A tag such as change:add-login
        #[arg(required_unless_present = "pattern", conflicts_with = "pattern")]
        tag: Option<String>,
        /// A pattern such as 'changes.active*'
        #[arg(long)]
        pattern: Option<String>,
    },
    /// Remove all entries
    Flush,
}

/// The words of `telemetry.log_level`.
fn log_levels() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LogLevel::ALL.map(LogLevel::word))
        .try_map(|word| LogLevel::from_word(&word).ok_or("no such level"))
}

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) root: RootArgs,
    /// Name of the tool, such as changes.active
    pub(crate) tool: String,
    /// Its arguments, a JSON object
    #[arg(value_name = "JSON", default_value = "{}")]
    pub(crate) arguments: String,
}

/// Arguments of `openspec`, handed on as they are.
#[derive(Debug, Args)]
pub(crate) struct OpenspecArgs {
    /// list [--json] [--specs] [--sort name|recent]; archive [NAME] [--yes] [--json] [--skip-specs] [--no-validate]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

/// What the supervisor hands to a process: places on the scoreboard and numbers of inherited descriptors.
#[derive(Debug, Args)]
pub(crate) struct BootArgs {
    #[arg(long)]
    pub(crate) seat: u16,
    #[arg(long, default_value_t = 0)]
    pub(crate) slot: u16,
    #[arg(long)]
    pub(crate) generation: u64,
    #[arg(long)]
    pub(crate) link_fd: i32,
    #[arg(long)]
    pub(crate) settings_fd: i32,
    #[arg(long)]
    pub(crate) scoreboard_fd: i32,
    #[arg(long)]
    pub(crate) commons_fd: i32,
    #[arg(long)]
    pub(crate) listen_fd: Vec<i32>,
}

/// Prints what clap says: help and version are no mistakes, anything else is exit code 64.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EX_USAGE),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_accepted_before_and_after_the_command() {
        for line in [["--set", "server.workers=1", "check"], ["check", "--set", "server.workers=1"]] {
            let cli = Cli::try_parse_from(["task-mcp"].into_iter().chain(line)).unwrap();
            assert_eq!(cli.sources.set, ["server.workers=1"]);
        }
    }

    #[test]
    fn arguments_of_openspec_are_handed_on() {
        let cli = Cli::try_parse_from(["task-mcp", "openspec", "archive", "x", "-y", "--json"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Openspec(a)) if a.arguments == ["archive", "x", "-y", "--json"]));
    }
}
