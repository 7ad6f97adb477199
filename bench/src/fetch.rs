//! One request for callers without a runtime.

use std::{net::SocketAddr, time::Duration};

use crate::{
    answer::Response,
    connection::Connection,
    outcome::{Failure, Outcome},
    request::Request,
};

/// Sends one request over a connection of its own and blocks until its answer or the time limit, which
/// holds for connecting and answering each.
///
/// Any status is an answer; only a missing or broken answer is a [`Failure`].
pub fn fetch(address: SocketAddr, request: &Request, limit: Duration) -> Result<Response, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Outcome::Local, format!("runtime: {error}")))?;
    runtime.block_on(async {
        let mut connection = Connection::open(address, limit).await?;
        let bytes = request.to_bytes(&address.to_string(), false);
        Ok(connection.exchange(&bytes, limit).await?.to_response())
    })
}
