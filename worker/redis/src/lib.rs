//! One connection to Redis for each of its users, cache and state: where the server is, TLS, how long a command may take, and when
//! to leave it alone.
//!
//! # Layout
//! - `error`: why a command failed
//!
//! # Invariants
//! - No command waits longer than its caller allows, whatever the server or the network does.
//! - Every answer tells which server gave it: a server that was restarted or failed over to is another one.
//! - A server that says it is no master is not asked.
//! - No message holds a password.

mod error;

pub use error::RedisError;
