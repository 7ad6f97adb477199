//! Legacy sessions: `Mcp-Session-Id` is a sealed text that says all a session is, so any worker on any machine answers any of its
//! requests. What the state keeps is what a session changed, that it has ended, and that it is in use.
//!
//! - `seen`: which sessions this process has said to be in use; `refusal`: why a request is not served in a session
//!
//! A session ends when it is ended (DELETE), when its time is over (`state.session_ttl_s`), or when nobody has used it for
//! `state.session_idle_s`. The last costs no write for most: its id tells when it began, which counts as a first sign of life, and
//! each process says at most once in a quarter of the idle time that it was used. So that nobody is ended too soon, such a sign
//! lasts a quarter longer than the idle time.

mod refusal;
mod seen;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use task_mcp_mcp::sealed::{Keyring, SealError, SealedSession, random_id};
use task_mcp_mcp::{ClientCapabilities, Revision};
use task_mcp_scoreboard::unix_ms;
use task_mcp_state::{Session as Changed, State, StateError};
use task_mcp_tools::Principal;

pub(crate) use self::refusal::SessionRefusal;
use self::seen::Seen;

/// How long a process waits before it says again what could not be written.
const RETRY_MS: u64 = 5_000;

/// By how much the clocks of two machines may differ: for so long after its end, a session that was ended stays so, and the state of a
/// call that was used stays used.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_secs(600);

/// What a session may be used with and for how long: what changes with the settings.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// The keys in force; they also seal the states of calls.
    pub(crate) keys: Arc<Keyring>,
    /// How long a session that begins now may last.
    pub(crate) ttl: Duration,
    /// How long it may be left unused.
    pub(crate) idle: Duration,
}

/// A session that a request belongs to. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// What it is.
    pub(crate) sealed: Arc<SealedSession>,
    /// Names it in the state and on the bus: `session/<id as hexadecimal>`.
    name: Arc<str>,
}

impl Session {
    fn new(sealed: SealedSession) -> Self {
        let name = format!("session/{}", sealed.id_hex()).into();
        Self { sealed: Arc::new(sealed), name }
    }

    /// The topic on the bus under which it is told that the session has ended: its streams close.
    pub(crate) fn ended(&self) -> String {
        format!("{}/ended", self.name)
    }

    /// The topic on the bus under which it is told that the session changed: its streams look again.
    pub(crate) fn changed(&self) -> String {
        format!("{}/changed", self.name)
    }

    /// The topic on the bus under which its requests are cancelled; the payload is the id of one, as JSON.
    pub(crate) fn cancelled(&self) -> String {
        format!("{}/cancelled", self.name)
    }

    /// The topic on the bus under which its streams settle which of them speaks.
    pub(crate) fn turns(&self) -> String {
        format!("{}/turns", self.name)
    }

    /// Names it in the state and on the bus: `session/<id as hexadecimal>`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long it lasts from now on.
    pub(crate) fn lasts(&self) -> Duration {
        Duration::from_millis(self.sealed.expires_ms.saturating_sub(unix_ms()))
    }
}

/// The sessions of a process. It remembers nothing of one that is idle.
#[derive(Debug)]
pub(crate) struct Sessions {
    state: State,
    terms: ArcSwap<Terms>,
    seen: Mutex<Seen>,
}

impl Sessions {
    pub(crate) fn new(state: State, terms: Terms) -> Self {
        Self { state, terms: ArcSwap::from_pointee(terms), seen: Mutex::default() }
    }

    /// Puts other terms in force, for sessions under way too; those keep the end they began with.
    pub(crate) fn set_terms(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }

    /// The terms in force.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Begins a session of `principal`: its `Mcp-Session-Id`, and what it is. Nothing is kept of it.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn begin(
        &self,
        principal: &Principal,
        revision: Revision,
        capabilities: ClientCapabilities,
        client: (&str, &str),
    ) -> Result<(String, Session), SealError> {
        self.begin_at(unix_ms(), principal, revision, capabilities, client)
    }

    fn begin_at(
        &self,
        now_ms: u64,
        principal: &Principal,
        revision: Revision,
        capabilities: ClientCapabilities,
        (client_name, client_version): (&str, &str),
    ) -> Result<(String, Session), SealError> {
        let terms = self.terms.load();
        let sealed = SealedSession {
            id: random_id()?,
            revision,
            capabilities,
            person: *principal.person(),
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(millis(terms.ttl)),
            client_name: client_name.to_owned(),
            client_version: client_version.to_owned(),
        };
        Ok((terms.keys.seal_session(&sealed)?, Session::new(sealed)))
    }

    /// The session that an `Mcp-Session-Id` names, for a request of `principal`.
    ///
    /// # Errors
    /// [`SessionRefusal::NotFound`] if it is none, or not this principal's, or has ended: a client is not told which.
    /// [`SessionRefusal::Unavailable`] if the state cannot say whether it has ended.
    pub(crate) async fn resolve(&self, token: &[u8], principal: &Principal) -> Result<Session, SessionRefusal> {
        self.resolve_at(unix_ms(), token, principal).await
    }

    async fn resolve_at(&self, now_ms: u64, token: &[u8], principal: &Principal) -> Result<Session, SessionRefusal> {
        let terms = self.terms.load_full();
        let sealed = terms.keys.open_session(token, principal.person(), now_ms).map_err(SessionRefusal::NotFound)?;
        let session = Session::new(sealed);
        if self.state.revocations().is_revoked(&session.name).await? {
            return Err(SessionRefusal::Ended);
        }
        self.used(&session, now_ms, millis(terms.idle)).await?;
        Ok(session)
    }

    /// Sees to it that a session that is used is not taken for an idle one, unless it is one already.
    async fn used(&self, session: &Session, now_ms: u64, idle_ms: u64) -> Result<(), SessionRefusal> {
        let SealedSession { id, issued_ms, .. } = &*session.sealed;
        let (age_ms, quarter_ms) = (now_ms.saturating_sub(*issued_ms), idle_ms / 4);
        // That it began is the first sign of life.
        if age_ms < quarter_ms || self.seen().is_known(id, now_ms) {
            return Ok(());
        }
        let lasts_ms = idle_ms.saturating_add(quarter_ms);
        if age_ms >= lasts_ms && !self.state.activity().was_seen(&session.name).await? {
            return Err(SessionRefusal::Idle);
        }
        let written = self.state.activity().seen(&session.name, Duration::from_millis(lasts_ms)).await;
        // A state that is full is no reason to refuse a request; it is counted there, and tried again.
        let for_ms = if written.is_ok() { quarter_ms } else { quarter_ms.min(RETRY_MS) };
        self.seen().remember(*id, now_ms, for_ms);
        Ok(())
    }

    /// Ends a session everywhere at once, also at workers that are born later, and forgets what it changed.
    ///
    /// # Errors
    /// It is not certain to have ended.
    pub(crate) async fn end(&self, session: &Session) -> Result<(), StateError> {
        self.state.revocations().revoke(&session.name, session.lasts().saturating_add(CLOCKS_DIFFER)).await?;
        self.seen().forget(&session.sealed.id);
        // Topics are far below the limits of the bus.
        let _ = self.state.bus().publish(&session.ended(), "");
        // What cannot be forgotten now ends with the session's time.
        let _ = self.state.sessions().forget(&session.name).await;
        let _ = self.state.activity().forget(&session.name).await;
        Ok(())
    }

    /// Whether a session is known to have been ended.
    pub(crate) async fn has_ended(&self, session: &Session) -> bool {
        self.state.revocations().is_revoked(&session.name).await.unwrap_or(false)
    }

    /// What a session changed.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn changed(&self, session: &Session) -> Result<Changed, StateError> {
        self.state.sessions().get(&session.name).await
    }

    /// The least severe messages the session wants from now on (`logging/setLevel`).
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) async fn set_log_level(&self, session: &Session, level: &str) -> Result<(), StateError> {
        self.change(session, |changed| changed.log_level = Some(level.to_owned())).await
    }

    /// The session watches one more resource (`resources/subscribe`).
    ///
    /// # Errors
    /// There are too many or it is too long, or it cannot be kept.
    pub(crate) async fn subscribe(&self, session: &Session, uri: &str) -> Result<(), StateError> {
        self.change(session, |changed| _ = changed.subscriptions.insert(uri.to_owned())).await
    }

    /// The session watches one resource less (`resources/unsubscribe`); one that it does not watch is no error.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) async fn unsubscribe(&self, session: &Session, uri: &str) -> Result<(), StateError> {
        self.change(session, |changed| _ = changed.subscriptions.remove(uri)).await
    }

    async fn change(&self, session: &Session, change: impl FnMut(&mut Changed)) -> Result<(), StateError> {
        self.state.sessions().change(&session.name, session.lasts(), change).await?;
        let _ = self.state.bus().publish(&session.changed(), "");
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
