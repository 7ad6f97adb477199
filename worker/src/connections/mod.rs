//! Connections, whoever accepted them: how many there may be, how they are served, and when they end.
//!
//! - `limits`: what connections may cost
//! - `front`: what the requests of a worker share because they come over the network
//! - `serve`: the path of a connection from its acceptance to its end
//! - `gate`: who is let in; the connection idle longest makes room
//! - `order`: which connections would give way to a new one
//! - `entry`: what is known of one open connection
//! - `watched`: the socket of a connection, with what is known of it
//! - `refuse`: how a connection is told that it is not let in
//! - `sweep`: connections on which nothing happens
//! - `adopted`: connections from the queue of another slot

pub(crate) mod adopted;
pub(crate) mod entry;
pub(crate) mod front;
pub(crate) mod gate;
mod limits;
mod order;
mod refuse;
pub(crate) mod serve;
pub(crate) mod sweep;
mod watched;

pub(crate) use limits::ConnectionLimits;
