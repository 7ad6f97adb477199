//! Server-sent events as bytes (WHATWG HTML, "Server-sent events"). Messages are compact JSON, so each is one line of data.

use actix_web::web::Bytes;

/// How long a client waits before it comes back for a stream whose connection ended, in milliseconds: soon enough for a person, and
/// seldom enough for the clients of a whole worker at once.
const RETRY_MS: u32 = 1_000;

/// What keeps a silent connection alive.
pub(crate) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
/// What a message begins with, up to its data.
pub(crate) const BEGIN: &[u8] = b"event: message\ndata: ";
/// What ends it.
pub(crate) const END: &[u8] = b"\n\n";

/// A message; `id` is what a client comes back with.
pub(crate) fn message(id: Option<&str>, data: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(BEGIN.len() + END.len() + data.len() + id.map_or(0, |id| id.len() + 5));
    if let Some(id) = id {
        frame.extend_from_slice(b"id: ");
        frame.extend_from_slice(id.as_bytes());
        frame.push(b'\n');
    }
    frame.extend_from_slice(BEGIN);
    frame.extend_from_slice(data);
    frame.extend_from_slice(END);
    frame.into()
}

/// What a stream begins with that can be fetched again: an id without data, and when to come back. Source: specification
/// 2025-11-25, "Streamable HTTP", sending messages to the server, 6; clients of earlier revisions cannot read it.
pub(crate) fn priming(id: &str) -> Bytes {
    format!("id: {id}\nretry: {RETRY_MS}\ndata: \n\n").into()
}
