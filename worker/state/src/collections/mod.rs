//! What the records are used for: a type for each use, each with its own kind, limits and end.
//!
//! - `sessions`: what a session changed; `activity`: which were used lately; `revocations`: what is not to be accepted any more
//! - `tasks`: work that outlives its request; `alive`: what of it has not ended; `answers`: what clients answer to somebody who waits
//! - `events`: what a stream said, for those who come back; `nonces`: what may be used once

mod activity;
mod alive;
mod answers;
mod events;
mod nonces;
mod revocations;
mod sessions;
mod tasks;

pub use activity::Activity;
pub use alive::Alive;
pub use answers::Answers;
pub use events::{EVENTS_MAX, Events, Resumed};
pub use nonces::Nonces;
pub use revocations::Revocations;
pub use sessions::{Session, Sessions};
pub use tasks::{NewTask, TASK_TOPIC, Task, TaskStatus, Tasks, Transition};

/// The key of something whose name may be long, secret, or chosen by a client.
fn key_of(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests;
