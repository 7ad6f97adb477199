//! Typed settings of Task MCP: defaults, file, environment and command line in one validated [`Settings`].
//!
//! [`load`] is the only way in, but for [`control_socket`], which finds a running instance. Both take everything they look at
//! through [`Sources`], so that a test, `task-mcp check` and the running service see the same thing.
//!
//! # Layout
//! - `settings.rs`: the typed settings, the contract with all other crates; `accessors.rs`: questions they answer
//! - `load.rs`: the layers (figment) and the order of checks
//! - `sources.rs`: what is looked at, and which settings file counts
//! - `file.rs`, `environment.rs`, `aliases.rs`, `arguments.rs`: one layer each, as a list of given values
//! - `keys.rs`: every key with its rule, whether it has an effect, and what it takes to change it while an instance runs;
//!   `suggest.rs`: the nearest known key; `changes.rs`: what other settings take
//! - `given.rs`: one value from one place, read by the type of its key
//! - `checks.rs`: what a single value must be; `urls.rs`: the same for URLs and hosts of clients; `connections.rs`: for
//!   connection URLs; `combinations.rs`: what values must be together
//! - `directories.rs`: where the runtime and state directories are when nobody says
//! - `socket.rs`: where the control socket is, also when other settings are wrong
//! - `canonical.rs`: origins and hosts in the one form that browsers and clients send
//! - `problem.rs`: findings for people; `render.rs`: settings without secrets; `snapshot.rs`: settings for our processes
//!
//! # Invariants
//! - `default.toml` is the defaults: no default is written down twice. A test holds its keys, its comments and the
//!   rules of `keys.rs` together.
//! - All problems are reported at once; figment, which stops at the first, therefore sees one key at a time before it
//!   sees all of them.
//! - A value is read by the type of its key, never by what it looks like: the token `12345` is a string.
//! - No message, `Debug` form or rendering holds a secret. Only the snapshot does.
//! - Paths in loaded settings are absolute or empty; `runtime_dir`, `state_dir` and `control_socket` are never empty.

mod accessors;
mod aliases;
mod arguments;
mod canonical;
mod changes;
mod checks;
mod combinations;
mod connections;
mod directories;
mod environment;
mod file;
mod given;
mod keys;
mod load;
mod problem;
mod render;
pub mod settings;
mod snapshot;
mod socket;
mod sources;
mod suggest;
#[cfg(test)]
mod testing;
mod urls;

pub use changes::Changes;
pub use load::{Loaded, load};
pub use problem::{ConfigError, Origin, Problem};
pub use render::render;
pub use settings::Settings;
pub use socket::control_socket;
pub use sources::Sources;

/// The defaults as shipped: every key with its purpose, unit, default and limits.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");
