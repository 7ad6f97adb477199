//! One connection to Redis for each of its users, cache and state: where the server is, TLS, how long a command may take, and when
//! to leave it alone.
//!
//! # Layout
//! - `redis_handle`: what cache and state hold
//! - `access`, `tls`, `place`: what the settings say, read and checked once; addresses, and the bytes to and from them
//! - `find`: where the master is, in each topology; `slot`: slots of a cluster
//! - `connection`: one connection; `identity`: which server is at its other end
//! - `keeper`: the task that makes it, watches it, and makes it anew; `backoff`: how long it waits in between
//! - `breaker`: when a server is left alone
//! - `ask`: a command within a time; `commands`: what is asked; `script`: by hash or text; `refusal`: what follows from an error of the server
//! - `subscription`, `pushes`: channels listened to, on a connection of their own
//! - `status`, `error`: how it stands, and what went wrong
//!
//! # Invariants
//! - No command waits longer than its caller allows, whatever the server or the network does.
//! - Every answer tells which server gave it: a server that was restarted or failed over to is another one.
//! - A server that says it is no master is not asked. It is asked what it is when the connection is made and once a second, so one
//!   that was made a replica meanwhile may be *read* for that long. Whoever must not read a replica, even then, reads with a command
//!   that Redis counts as a write, such as GETEX without options (Redis 6.2): a replica refuses it with READONLY.
//! - The crate's own reconnection is not used: a connection never changes its server behind an answer's back.
//! - A command is never sent twice: whether one that had no answer was carried out is for its caller to find out.
//! - What waits is bounded: commands in flight by number and bytes, messages of a subscription by number.
//! - Processes that lost the same server do not come back in step, and no command causes an attempt to connect.
//! - No message holds a password, and none repeats the arguments of a command.

mod access;
mod ask;
mod backoff;
mod breaker;
mod commands;
mod connection;
mod error;
mod find;
mod identity;
mod keeper;
mod place;
mod pushes;
mod redis_handle;
mod refusal;
mod script;
mod slot;
mod status;
mod subscription;
mod tls;

pub use ask::Answer;
pub use breaker::BreakerState;
pub use commands::Commands;
pub use error::{RedisError, Unreachable};
pub use identity::ServerId;
pub use redis_handle::{Purpose, Redis};
pub use script::Script;
pub use status::{ConnectionStatus, Status};
pub use subscription::{Heard, Subscription};
