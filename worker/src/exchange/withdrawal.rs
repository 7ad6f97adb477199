//! How the client of a session takes a request back: it says so, or it ends its session.
//!
//! Source: specification 2025-11-25, "Cancellation"; "Streamable HTTP", session management.

use std::sync::Arc;

use actix_web::rt;
use actix_web::rt::task::JoinHandle;
use actix_web::web::Data;
use serde_json::Value;
use task_mcp_state::{Heard, Subscription};

use crate::app::App;
use crate::connections::entry::Entry;
use crate::sessions::Session;

/// Hears which requests of a session are taken back.
pub(crate) struct Withdrawals {
    app: Data<App>,
    session: Session,
    heard: Subscription,
    /// Something may have been missed.
    look: bool,
}

/// What was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// The request at that place among those asked about.
    Request(usize),
    /// All of them, with their session.
    Session,
}

impl Withdrawals {
    /// Hears them from now on.
    pub(crate) fn hear(app: &Data<App>, session: &Session) -> Self {
        let heard = app.state.bus().subscribe(&[&session.cancelled(), &session.ended()]);
        Self { app: app.clone(), session: session.clone(), heard, look: false }
    }

    /// Returns when one of these requests, whose ids are JSON, is taken back. Cancel-safe.
    pub(crate) async fn next(&mut self, requests: &[&str]) -> Withdrawn {
        loop {
            if self.look {
                let has_ended = self.app.sessions.has_ended(&self.session).await;
                self.look = false;
                if has_ended {
                    return Withdrawn::Session;
                }
            }
            match self.heard.next().await {
                Heard::Event { topic, .. } if *topic == *self.session.ended() => return Withdrawn::Session,
                Heard::Event { payload, .. } => {
                    if let Some(at) = requests.iter().position(|request| is_same_id(&payload, request)) {
                        return Withdrawn::Request(at);
                    }
                }
                Heard::Resync => self.look = true,
            }
        }
    }

    /// The same for one request.
    pub(crate) async fn of(&mut self, request: &str) -> Withdrawn {
        self.next(&[request]).await
    }

    /// Ends the connection when the request is taken back: what is written to it as one object cannot end in another way.
    pub(crate) fn cut(mut self, request: String, connection: Arc<Entry>) -> Cut {
        Cut(rt::spawn(async move {
            self.of(&request).await;
            connection.end();
        }))
    }
}

/// Ends a connection when its request is taken back, until it is dropped. It is a task of its own, because a body is asked for
/// nothing while its client does not read.
pub(crate) struct Cut(JoinHandle<()>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether two texts are the same id as JSON, whatever way it is written.
fn is_same_id(one: &str, other: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || (parsed(one).is_some() && parsed(one) == parsed(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cancelled_under_its_own_id_only() {
        assert!(is_same_id("7", "7") && is_same_id(r#""a""#, r#""\u0061""#));
        assert!(!is_same_id(r#""7""#, "7") && !is_same_id("nonsense", "other"));
    }
}
