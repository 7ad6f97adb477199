//! The open streams of a process: how many each principal has, and when they are to end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use task_mcp_scoreboard::{Gauge, Seat};
use task_mcp_telemetry::StreamKind;
use task_mcp_tools::Principal;
use tokio::sync::watch;

use super::client::Client;
use crate::app::App;

/// The open streams of a process. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    held: Mutex<HashMap<(Use, Holder), u32>>,
    ending: watch::Sender<bool>,
    /// Tells that other settings are in force.
    settings: watch::Sender<()>,
    /// Calls that go on without a connection.
    detached: AtomicUsize,
}

/// Whose streams are counted together: where everybody is anonymous, addresses are what can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Person([u8; 32]),
    Address(IpAddr),
}

/// What a place is for. Each use is counted for itself: who has lost many streams needs others to fetch their rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    Stream,
    Detached,
}

/// One of the places of a principal, for a stream that stays open or a call whose connection is gone; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    streams: Streams,
    holder: (Use, Holder),
    _open: OpenStream,
}

/// A call that goes on without a connection, for as long as it lives: a process that takes leave waits for it.
#[derive(Debug)]
pub(crate) struct Detached(Streams);

/// Counts an open stream for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenStream(Option<Gauge>);

/// Counts an open response of events for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenEvents {
    active: Gauge,
    seat: Seat,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Parts {
            held: Mutex::default(),
            ending: watch::Sender::new(false),
            settings: watch::Sender::new(()),
            detached: AtomicUsize::new(0),
        }))
    }

    /// A place for a stream of `client`; none if it has `limit` already (`limits.streams_per_principal`).
    pub(crate) fn take(&self, app: &App, client: &Client, kind: StreamKind, limit: u32) -> Option<Place> {
        let holder = (Use::Stream, Holder::new(&client.principal, client.address));
        self.place(holder.clone(), limit).then(|| Place {
            streams: self.clone(),
            holder,
            _open: OpenStream::new(app, kind),
        })
    }

    /// A place for a call whose connection is gone; none if `limit` calls of `holder` have one.
    pub(crate) fn keep_running(&self, holder: &Holder, limit: u32) -> Option<Place> {
        let holder = (Use::Detached, holder.clone());
        self.place(holder.clone(), limit).then(|| Place { streams: self.clone(), holder, _open: OpenStream(None) })
    }

    fn place(&self, holder: (Use, Holder), limit: u32) -> bool {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&holder).copied().unwrap_or(0);
        if count >= limit {
            return false;
        }
        held.insert(holder, count + 1);
        true
    }

    /// Tells the streams that stay open to end, those that come later too: the process takes leave.
    pub(crate) fn end(&self) {
        self.0.ending.send_replace(true);
    }

    /// Returns when streams are to end.
    pub(crate) async fn ending(&self) {
        // The sender lives as long as this does.
        let _ = self.0.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Tells the streams that stay open that other settings are in force.
    pub(crate) fn settings_changed(&self) {
        self.0.settings.send_replace(());
    }

    /// Returns when the settings in force do not let this client call any more. One on standard input needs no leave.
    pub(crate) async fn barred(&self, app: &App, client: &Client) {
        if client.mailbox.is_some() {
            return std::future::pending().await;
        }
        let mut changed = self.0.settings.subscribe();
        // Before the first change too: the settings may have changed since the request was let in.
        while app.live.load().access.admits(&client.principal) {
            // The sender lives as long as this does.
            let _ = changed.changed().await;
        }
    }

    /// A call goes on without a connection.
    pub(crate) fn detach(&self) -> Detached {
        self.0.detached.fetch_add(1, Ordering::AcqRel);
        Detached(self.clone())
    }

    /// Calls that go on without a connection, or may.
    pub(crate) fn detached(&self) -> usize {
        self.0.detached.load(Ordering::Acquire)
    }
}

impl Holder {
    /// Whose streams those of a client are.
    pub(crate) fn new(principal: &Principal, address: Option<IpAddr>) -> Self {
        address.map_or_else(|| Self::Person(*principal.person()), Self::Address)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.streams.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.holder)),
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.0.detached.fetch_sub(1, Ordering::AcqRel);
    }
}

impl OpenStream {
    pub(crate) fn new(app: &App, kind: StreamKind) -> Self {
        let gauge = app.metrics.mcp.streams(kind).cloned();
        if let Some(gauge) = &gauge {
            gauge.add(1);
        }
        Self(gauge)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.add(-1);
        }
    }
}

impl OpenEvents {
    pub(crate) fn new(app: &App) -> Self {
        app.metrics.sse_active.add(1);
        app.seat.stream_opened();
        Self { active: app.metrics.sse_active.clone(), seat: app.seat.clone() }
    }
}

impl Drop for OpenEvents {
    fn drop(&mut self) {
        self.active.add(-1);
        self.seat.stream_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_own_limit() {
        let streams = Streams::new();
        let address = Holder::Address(IpAddr::from([192, 0, 2, 1]));
        let (one, other) = ((Use::Stream, address.clone()), (Use::Stream, Holder::Person([0; 32])));
        assert!(streams.place(one.clone(), 2) && streams.place(one.clone(), 2));
        assert!(!streams.place(one.clone(), 2) && streams.place(other, 2));
        assert_eq!(streams.0.held.lock().unwrap().len(), 2);
        let running = streams.keep_running(&address, 1);
        assert!(running.is_some(), "calls without a connection are counted for themselves");
        assert!(streams.keep_running(&address, 1).is_none());
        drop(running);
        assert!(streams.keep_running(&address, 1).is_some());
    }
}
