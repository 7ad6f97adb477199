//! The command line and the composition root: where settings, processes, tools and dialects are joined.
//!
//! # Layout
//! - `cli`: arguments and help
//! - `commands`: one file for each command
//! - `settings`: where settings come from, for every command alike
//! - `composition`: which tools an instance has, and what the supervisor must know of them
//! - `banner`: what `serve` prints when it serves; `demo`: the sample tree of `serve --demo`
//! - `logging`: log lines; `failure`: errors as exit codes
//!
//! # Invariants
//! - Only this package turns errors into exit codes and prints for people.
//! - Nothing binds, creates or changes anything before the settings are valid.
//! - Every process of an instance is this same program with the same [`Extensions`].

mod banner;
mod cli;
mod commands;
mod composition;
mod demo;
mod failure;
mod logging;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use task_mcp_tools::{Additions, Completer, Prompt, Resources, Tool};
pub use task_mcp_worker::Faults;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// What a program adds to the server: it is linked in, so that all processes of an instance have it.
#[derive(Default)]
pub struct Extensions {
    /// Tools beside the built-in ones.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Prompts beside the built-in ones.
    pub prompts: Vec<Arc<dyn Prompt>>,
    /// Resources beside the built-in ones.
    pub resources: Vec<Arc<dyn Resources>>,
    /// What completes arguments beside what is built in.
    pub completions: Vec<Arc<dyn Completer>>,
    /// What its workers do wrong on purpose: for tests, and nothing else.
    pub faults: Faults,
}

impl Extensions {
    /// All but the faults.
    fn additions(&self) -> Additions {
        Additions {
            tools: self.tools.clone(),
            prompts: self.prompts.clone(),
            resources: self.resources.clone(),
            completions: self.completions.clone(),
        }
    }
}

/// The whole program: reads the arguments, runs one command, and says how it went.
///
/// Exit codes (sysexits.h): 0; 1 when `openspec`, `ctl` or `call` says no; 64 usage; 69 something needed is not
/// available; 70 a bug; 74 the output cannot be written; 75 forced at the drain deadline; 77 `ctl` may not use the
/// socket; 78 bad settings.
pub fn run(extensions: Extensions) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match dispatch(cli, extensions) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli, extensions: Extensions) -> Result<ExitCode, Failure> {
    let sources = &cli.sources;
    match cli.command.unwrap_or_default() {
        Command::Serve(arguments) => commands::serve(sources, &arguments, &extensions),
        Command::Check(root) => commands::check(sources, &root),
        Command::Config(command) => commands::config(sources, &command),
        Command::Ctl(arguments) => commands::ctl(sources, &arguments),
        Command::Stdio(root) => commands::stdio(sources, &root, &extensions),
        Command::Call(arguments) => commands::call(sources, &arguments, extensions),
        Command::Openspec(arguments) => commands::openspec(&arguments),
        Command::Worker(boot) => commands::worker(&boot, extensions),
        Command::Admin(boot) => commands::admin(&boot, &extensions),
    }
}
