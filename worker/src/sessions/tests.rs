#![allow(clippy::unwrap_used, clippy::expect_used)]
use task_mcp_scoreboard::{Plan, Role, Scoreboard};
use task_mcp_telemetry::{Metrics, plan};

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn state() -> State {
    let board = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).unwrap();
    let seat = board.seat(0).unwrap();
    seat.begin(1, 0, 1, Role::Worker, 0);
    State::alone(Metrics::bind(&board, &seat, &[], &[]).unwrap().state)
}

fn terms(secrets: &[&str]) -> Terms {
    let secrets: Vec<String> = secrets.iter().map(|secret| secret.repeat(32)).collect();
    Terms {
        keys: Arc::new(Keyring::new(&secrets).unwrap()),
        ttl: Duration::from_millis(100 * HOUR_MS),
        idle: Duration::from_millis(8 * HOUR_MS),
    }
}

/// Two workers over one state.
fn workers() -> [Sessions; 2] {
    let state = state();
    [(), ()].map(|()| Sessions::new(state.clone(), terms(&["a"])))
}

fn begin(sessions: &Sessions, now_ms: u64) -> String {
    let (principal, capabilities) = (Principal::anonymous(), ClientCapabilities::NONE);
    sessions.begin_at(now_ms, &principal, Revision::V2025_11_25, capabilities, ("client", "1")).unwrap().0
}

async fn at(sessions: &Sessions, now_ms: u64, token: &str) -> Result<Session, SessionRefusal> {
    sessions.resolve_at(now_ms, token.as_bytes(), &Principal::anonymous()).await
}

/// What a client is told of a refusal.
fn told(refused: Result<Session, SessionRefusal>) -> (i32, u16, String) {
    let error = refused.unwrap_err().to_rpc_error();
    (error.code, error.status, error.message)
}

#[tokio::test]
async fn a_session_that_began_at_one_worker_is_known_to_all_and_all_refusals_look_the_same() {
    let [one, two] = workers();
    let now_ms = unix_ms();
    let token = begin(&one, now_ms);
    let session = at(&two, now_ms, &token).await.unwrap();
    assert_eq!((session.sealed.revision, &*session.sealed.client_name), (Revision::V2025_11_25, "client"));
    let not_found = (-32001, 404, "Session not found".to_owned());
    let stranger = two.resolve_at(now_ms, token.as_bytes(), &Principal::new("somebody else")).await;
    assert_eq!(told(stranger), not_found);
    assert_eq!(told(at(&two, now_ms, "nonsense").await), not_found);
    assert_eq!(told(at(&two, now_ms + 100 * HOUR_MS, &token).await), not_found);
    assert_eq!(told(at(&two, now_ms + 11 * HOUR_MS, &token).await), not_found, "it was idle");
    one.set_terms(terms(&["b"]));
    assert_eq!(told(at(&one, now_ms, &token).await), not_found);
    two.end(&session).await.unwrap();
    assert_eq!(told(at(&two, now_ms, &token).await), not_found);
    let unavailable = SessionRefusal::from(StateError::Gone).to_rpc_error();
    assert_eq!((unavailable.code, unavailable.status), (-32603, 503));
}

#[tokio::test]
async fn a_new_key_is_taken_over_without_an_end_of_sessions() {
    let [one, two] = workers();
    let now_ms = unix_ms();
    let old = begin(&one, now_ms);
    one.set_terms(terms(&["b", "a"]));
    let new = begin(&one, now_ms);
    assert!(at(&one, now_ms, &old).await.is_ok() && at(&one, now_ms, &new).await.is_ok());
    assert!(at(&two, now_ms, &new).await.is_err(), "it has not got the new one yet");
    two.set_terms(terms(&["b"]));
    assert!(at(&two, now_ms, &new).await.is_ok() && at(&two, now_ms, &old).await.is_err());
}

#[tokio::test]
async fn a_session_that_was_ended_is_so_everywhere_and_what_it_changed_is_forgotten() {
    let [one, two] = workers();
    let now_ms = unix_ms();
    let (token, other) = (begin(&one, now_ms), begin(&one, now_ms));
    let session = at(&one, now_ms, &token).await.unwrap();
    one.subscribe(&session, "change://a/proposal").await.unwrap();
    two.subscribe(&session, "change://b/proposal").await.unwrap();
    two.unsubscribe(&session, "change://a/proposal").await.unwrap();
    one.set_log_level(&session, "warning").await.unwrap();
    let changed = two.changed(&session).await.unwrap();
    assert_eq!(changed.log_level.as_deref(), Some("warning"));
    assert_eq!(changed.subscriptions.into_iter().collect::<Vec<_>>(), ["change://b/proposal"]);
    let mut streams = two.state.bus().subscribe(&[&session.ended()]);
    two.end(&session).await.unwrap();
    assert!(matches!(streams.next().await, task_mcp_state::Heard::Event { .. }), "its streams are told");
    assert!(at(&one, now_ms, &token).await.is_err() && at(&one, now_ms, &other).await.is_ok());
    assert_eq!(one.changed(&session).await.unwrap(), Changed::default());
    let born_later = Sessions::new(one.state.clone(), terms(&["a"]));
    assert!(matches!(at(&born_later, now_ms, &token).await, Err(SessionRefusal::Ended)));
}

#[tokio::test]
async fn a_session_that_is_used_lives_on_and_one_that_is_not_ends() {
    let [one, two] = workers();
    let begun_ms = unix_ms();
    let (used, unused) = (begin(&one, begun_ms), begin(&one, begun_ms));
    let hour = |hour: u64| begun_ms + hour * HOUR_MS;
    // Within the idle time and a quarter more, nobody asks.
    assert!(at(&one, hour(9), &used).await.is_ok());
    assert!(matches!(at(&one, hour(10), &unused).await, Err(SessionRefusal::Idle)));
    // One worker has seen it, so the other one knows.
    assert!(at(&two, hour(18), &used).await.is_ok());
    assert!(at(&one, hour(27), &used).await.is_ok());
    let session = at(&one, hour(28), &used).await.unwrap();
    one.state.activity().forget(session.name()).await.unwrap();
    assert!(at(&one, hour(28), &used).await.is_ok(), "it is not written, nor asked for, with every request");
    assert!(matches!(at(&two, hour(28), &used).await, Err(SessionRefusal::Idle)));
}

#[tokio::test]
async fn a_session_that_is_young_or_was_just_seen_is_not_written_again() {
    let [one, _] = workers();
    let begun_ms = unix_ms();
    let token = begin(&one, begun_ms);
    let session = at(&one, begun_ms + 2 * HOUR_MS - 1, &token).await.unwrap();
    assert!(!one.state.activity().was_seen(session.name()).await.unwrap(), "that it began is enough");
    at(&one, begun_ms + 2 * HOUR_MS, &token).await.unwrap();
    assert!(one.state.activity().was_seen(session.name()).await.unwrap());
    one.state.activity().forget(session.name()).await.unwrap();
    at(&one, begun_ms + 4 * HOUR_MS - 1, &token).await.unwrap();
    assert!(!one.state.activity().was_seen(session.name()).await.unwrap(), "a quarter is not over");
    at(&one, begun_ms + 4 * HOUR_MS, &token).await.unwrap();
    assert!(one.state.activity().was_seen(session.name()).await.unwrap());
}
