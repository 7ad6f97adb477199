//! The control socket: what an operator asks of a running instance, as lines of JSON over a unix socket.
//!
//! A request is one line, `{"command":"status"}`, and so is its answer, `{"result":"done","message":"…"}`. A client may send one
//! request after the other; the answer to a restart or a change of the number of workers comes when it is done.
//!
//! - `message.rs` requests and answers
//! - `lines.rs`   lines of a stream, with a limit; no IO
//! - `server.rs`  the socket and its clients
//! - `answer.rs`  what the supervisor does with a request
//! - `client.rs`  one request to a running instance

mod answer;
mod client;
mod lines;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::{ControlError, control};
pub use message::{Request, Response, SecondStatus, SlotStatus, Status};
pub(crate) use server::{Awaits, SavedServer, Server};
