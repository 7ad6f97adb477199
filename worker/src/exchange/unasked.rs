//! The stream of a legacy session that no request asked for (`GET /mcp`): what has changed is told on it.
//!
//! Source: specification 2025-11-25, "Streamable HTTP", listening for messages from the server.

use std::time::Duration;

use actix_web::web::Data;
use task_mcp_mcp::{Filter, Revision};
use task_mcp_state::Heard;
use tokio::time::{Instant, interval_at, sleep_until};

use super::client::Client;
use super::frames;
use super::outlet::{Emission, Outlet};
use super::streams::Place;
use super::turn::Turn;
use super::wanted::{Gathered, Wanted};
use crate::app::App;
use crate::sessions::{Session, SessionRefusal};

/// How often it is looked whether the session still lasts. That it ends is told over the bus, which may lose it; and a session whose
/// stream is open is in use.
const LOOK: Duration = Duration::from_secs(60);
/// Ids of events of such streams begin with it.
pub(crate) const MARK: char = 'u';

/// A stream of a session.
pub(crate) struct Unasked {
    pub(crate) app: Data<App>,
    pub(crate) client: Client,
    pub(crate) session: Session,
    /// `Mcp-Session-Id`.
    pub(crate) token: Vec<u8>,
    /// Whether the client had such a stream before: it may have missed something.
    pub(crate) is_resumed: bool,
    pub(crate) outlet: Outlet,
    pub(crate) place: Place,
}

/// Says that the stream is gone, however it ends.
struct Said {
    app: Data<App>,
    topic: String,
    turn: Turn,
}

impl Drop for Said {
    fn drop(&mut self) {
        let gone = self.turn.gone();
        self.say(Some(gone));
    }
}

impl Said {
    fn say(&self, said: Option<String>) {
        if let Some(said) = said {
            // Topics and words are far below the limits of the bus.
            let _ = self.app.state.bus().publish(&self.topic, &said);
        }
    }

    fn hear(&mut self, said: &str) {
        let answer = self.turn.hear(said, Instant::now());
        self.say(answer);
    }
}

/// Numbers streams in the order in which they were opened, as far as clocks agree.
fn number() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

impl Unasked {
    /// Tells until the session or the client ends it, or the server stops.
    pub(crate) async fn run(self) {
        let Self { app, client, session, token, is_resumed, outlet, place: _place } = self;
        let turns = session.turns();
        let prefix = format!("{}/", session.name());
        // Before anything is looked at, so that nothing is missed.
        let [changed, touched] = Wanted::TOPICS;
        let mut subscription = app.state.bus().subscribe(&[changed, touched, &prefix]);
        let me = number();
        let (turn, here) = Turn::open(me, Instant::now());
        let mut said = Said { app: app.clone(), topic: turns.clone(), turn };
        said.say(Some(here));

        let mut events = 0_u64;
        if session.sealed.revision == Revision::V2025_11_25 {
            outlet.put(Emission::Framed(frames::priming(&format!("{MARK}{me:x}.{events:x}"))));
        }
        let mut wanted = wanted(&app, &session).await;
        let mut gathered = Gathered::default();
        if is_resumed {
            wanted.all(&mut gathered);
        }
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        loop {
            let mut look = false;
            tokio::select! {
                heard = subscription.next() => match &heard {
                    Heard::Event { topic, .. } if **topic == *session.ended() => return,
                    Heard::Event { topic, .. } if **topic == *session.changed() => {
                        wanted = self::wanted(&app, &session).await;
                    }
                    Heard::Event { topic, payload } if **topic == *turns => {
                        said.hear(payload);
                        if said.turn.succeeded() {
                            wanted.all(&mut gathered);
                        }
                    }
                    Heard::Event { .. } => wanted.note(&heard, &mut gathered),
                    Heard::Resync => {
                        wanted = self::wanted(&app, &session).await;
                        wanted.note(&heard, &mut gathered);
                        said.say(Some(said.turn.resync()));
                        look = true;
                    }
                },
                () = told(&gathered, &said.turn) => {
                    // Who is silent leaves it to the one who speaks.
                    let news = gathered.take();
                    if said.turn.speaks_from().is_some() {
                        for one in news {
                            events += 1;
                            let id = format!("{MARK}{me:x}.{events:x}");
                            app.metrics.mcp.messages.add(1);
                            outlet.put(Emission::Framed(frames::message(Some(&id), &one.to_message(None, None))));
                        }
                    }
                }
                () = due(said.turn.due()) => {
                    let word = said.turn.tick(Instant::now());
                    said.say(word);
                    if said.turn.succeeded() {
                        wanted.all(&mut gathered);
                    }
                }
                _ = looks.tick() => look = true,
                () = app.streams.ending() => return,
                () = outlet.left() => return,
            }
            if look {
                match app.sessions.resolve(&token, &client.principal).await {
                    Ok(_) | Err(SessionRefusal::Unavailable(_)) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// What the streams of a session tell of: every list, and the resources it has subscribed to.
pub(super) async fn wanted(app: &App, session: &Session) -> Wanted {
    // What cannot be read now is read when it changes, or with the next look.
    let changed = app.sessions.changed(session).await.unwrap_or_default();
    let filter = Filter {
        tools: true,
        prompts: app.engine.offers_prompts(),
        resources: app.engine.offers_resources(),
        subscriptions: changed.subscriptions.into_iter().collect(),
        tasks: Vec::new(),
    };
    Wanted::new(filter, &app.registry)
}

/// Returns when news are to be told, but not while it is not settled who tells them.
async fn told(gathered: &Gathered, turn: &Turn) {
    gathered.due().await;
    if let Some(from) = turn.speaks_from() {
        sleep_until(from).await;
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
