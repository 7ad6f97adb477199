//! Two processes over one place of records, with a bus between them; each step is made by either.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use task_mcp_test_servers::RedisServer;

use crate::bus::Outgoing;
use crate::records::Records;
use crate::testing::{BASE, connection, eventually, in_every_place, metrics};
use crate::{NewTask, State, StateError, TaskStatus, Transition};

const HOUR: Duration = Duration::from_secs(3_600);

/// Two processes, and what keeps their records.
struct Pair {
    states: [State; 2],
    _keeps: Box<dyn std::any::Any>,
}

impl Pair {
    fn over(records: Records, keeps: impl std::any::Any) -> Self {
        let states = [(), ()].map(|()| State::over(records.clone(), None, HOUR, metrics()));
        for (from, to) in [(0, 1), (1, 0)] {
            let (outbox, bus) = (states[from].bus().outbox(), states[to].bus().clone());
            tokio::spawn(async move {
                loop {
                    match outbox.next().await {
                        Outgoing::Event { topic, payload } => bus.deliver(&topic, &payload),
                        Outgoing::Resync => bus.resync(),
                    }
                }
            });
        }
        Self { states, _keeps: Box::new(keeps) }
    }

    /// Either of them.
    fn any(&self) -> &State {
        &self.states[usize::from(rand::random::<bool>())]
    }
}

fn in_memory() -> Pair {
    Pair::over(Records::memory(metrics()), ())
}

fn in_files() -> Pair {
    let folder = tempfile::tempdir().unwrap();
    Pair::over(Records::embedded(folder.path(), 64 << 20, Duration::from_secs(20), metrics()).unwrap(), folder)
}

fn in_redis() -> Pair {
    let server = RedisServer::start();
    let records = Records::remote(connection(&server), BASE, Duration::from_secs(20), metrics());
    Pair::over(records, server)
}

in_every_place!(
    changes_of_a_session_add_up,
    a_session_has_limits,
    who_was_here_is_known_for_a_time,
    what_was_revoked_is_so_everywhere,
    a_nonce_is_used_once,
    a_task_belongs_to_its_owner_and_ends_once,
    as_many_tasks_of_an_owner_live_as_may_at_a_time,
    a_task_without_its_process_is_found_and_taken_once,
    tasks_are_listed_in_the_order_they_were_made,
    an_answer_reaches_who_waits_for_it_elsewhere,
    events_have_consecutive_numbers_whoever_adds_them,
    a_stream_keeps_its_last_events,
);

async fn changes_of_a_session_add_up(pair: Pair) {
    let all: Vec<_> = (0..12)
        .map(|number| {
            let state = pair.any().clone();
            tokio::spawn(async move {
                let uri = format!("change://{number}");
                let add = |session: &mut crate::Session| session.subscriptions.extend([uri.clone()]);
                state.sessions().change("s", HOUR, add).await.unwrap();
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    pair.any().sessions().change("s", HOUR, |session| session.log_level = Some("debug".into())).await.unwrap();
    let session = pair.any().sessions().get("s").await.unwrap();
    assert_eq!((session.subscriptions.len(), session.log_level.as_deref()), (12, Some("debug")));
    assert_eq!(pair.any().sessions().get("other").await.unwrap(), crate::Session::default());
    pair.any().sessions().forget("s").await.unwrap();
    assert_eq!(pair.any().sessions().get("s").await.unwrap(), crate::Session::default());
}

async fn a_session_has_limits(pair: Pair) {
    let many = |session: &mut crate::Session| session.subscriptions = (0..1_001).map(|n| n.to_string()).collect();
    let error = pair.any().sessions().change("s", HOUR, many).await.unwrap_err();
    assert!(matches!(error, StateError::TooMany { limit: 1_000, .. }), "{error}");
    let long = |session: &mut crate::Session| session.subscriptions = BTreeSet::from(["x".repeat(2_049)]);
    let error = pair.any().sessions().change("s", HOUR, long).await.unwrap_err();
    assert!(matches!(error, StateError::TooLarge { .. }), "{error}");
    assert_eq!(pair.any().sessions().get("s").await.unwrap(), crate::Session::default());
}

async fn who_was_here_is_known_for_a_time(pair: Pair) {
    let name = "session/".repeat(1_000);
    assert!(!pair.any().activity().was_seen(&name).await.unwrap());
    pair.any().activity().seen(&name, HOUR).await.unwrap();
    pair.any().activity().seen("short", Duration::ZERO).await.unwrap();
    for state in &pair.states {
        assert!(state.activity().was_seen(&name).await.unwrap());
        eventually(async || (!state.activity().was_seen("short").await.unwrap()).then_some(())).await;
    }
    pair.any().activity().seen("short", HOUR).await.unwrap();
    assert!(pair.any().activity().was_seen("short").await.unwrap(), "it is prolonged");
    pair.any().activity().forget(&name).await.unwrap();
    assert!(!pair.any().activity().was_seen(&name).await.unwrap());
}

async fn what_was_revoked_is_so_everywhere(pair: Pair) {
    for state in &pair.states {
        assert!(!state.revocations().is_revoked("token").await.unwrap());
    }
    pair.any().revocations().revoke("token", HOUR).await.unwrap();
    for state in &pair.states {
        let revocations = state.revocations();
        eventually(async || revocations.is_revoked("token").await.unwrap().then_some(())).await;
        assert!(!revocations.is_revoked("toke").await.unwrap());
    }
    pair.any().revocations().revoke("short", Duration::ZERO).await.unwrap();
    // Who heard of it believes it for a moment.
    eventually(async || (!pair.any().revocations().is_revoked("short").await.unwrap()).then_some(())).await;
}

async fn a_nonce_is_used_once(pair: Pair) {
    let all: Vec<_> = (0..16)
        .map(|_| {
            let state = pair.any().clone();
            tokio::spawn(async move { state.nonces().use_once(&"n".repeat(9_000), HOUR).await.unwrap() })
        })
        .collect();
    let mut used = 0;
    for one in all {
        used += usize::from(one.await.unwrap());
    }
    assert_eq!(used, 1);
    assert!(pair.any().nonces().use_once("other", HOUR).await.unwrap());
}

fn working() -> NewTask {
    NewTask { status: TaskStatus::Working, ttl: HOUR, data: json!({"tool": "x"}) }
}

async fn a_task_belongs_to_its_owner_and_ends_once(pair: Pair) {
    let task = pair.any().tasks().create("alice", working(), 99).await.unwrap().0;
    assert_eq!(pair.any().tasks().get("alice", &task.id).await.unwrap().as_ref(), Some(&task));
    for (owner, id) in
        [("bob", task.id.as_str()), ("alice", "x"), ("alice", ""), ("alice/", &task.id), ("alice", "../")]
    {
        assert_eq!(pair.any().tasks().get(owner, id).await.unwrap(), None, "{owner} {id}");
    }
    let missing = pair.any().tasks().change("bob", &task, TaskStatus::Cancelled, json!({})).await.unwrap();
    assert_eq!(missing, Transition::Missing);
    let ends = [TaskStatus::Completed, TaskStatus::Cancelled, TaskStatus::Failed].map(|status| {
        let (state, task) = (pair.any().clone(), task.clone());
        tokio::spawn(async move { state.tasks().change("alice", &task, status, json!({"done": true})).await.unwrap() })
    });
    let mut made = Vec::new();
    let mut refused = Vec::new();
    for end in ends {
        match end.await.unwrap() {
            Transition::Made(task) => made.push(task),
            Transition::Refused(task) => refused.push(task),
            Transition::Missing => panic!("it is there"),
        }
    }
    assert_eq!((made.len(), refused.len()), (1, 2));
    assert!(refused.iter().all(|task| *task == made[0]) && made[0].status.is_final());
    let again = pair.any().tasks().change("alice", &made[0], TaskStatus::Working, json!({})).await.unwrap();
    assert_eq!(again, Transition::Refused(made[0].clone()), "what is final stays");
    assert_eq!(made[0].end_ms, task.end_ms, "a change does not prolong it");
}

async fn as_many_tasks_of_an_owner_live_as_may_at_a_time(pair: Pair) {
    let all: Vec<_> = (0..9)
        .map(|_| {
            let state = pair.any().clone();
            tokio::spawn(async move { state.tasks().create("alice", working(), 4).await })
        })
        .collect();
    let mut made = Vec::new();
    for one in all {
        match one.await.unwrap() {
            Ok((task, _)) => made.push(task),
            Err(error) => assert!(matches!(error, StateError::TooMany { limit: 4, .. }), "{error}"),
        }
    }
    assert!(made.len() <= 4, "{}", made.len());
    while made.len() < 4 {
        made.push(pair.any().tasks().create("alice", working(), 4).await.unwrap().0);
    }
    assert!(pair.any().tasks().create("alice", working(), 4).await.is_err());
    pair.any().tasks().create("bob", working(), 4).await.unwrap();
    pair.any().tasks().change("alice", &made[0], TaskStatus::Failed, json!({})).await.unwrap();
    pair.any().tasks().create("alice", working(), 4).await.unwrap();
}

async fn a_task_without_its_process_is_found_and_taken_once(pair: Pair) {
    let [one, two] = &pair.states;
    let (task, running) = one.tasks().create("alice", working(), 9).await.unwrap();
    let alive = two.tasks().alive("", 9).await.unwrap().pop().unwrap();
    assert_eq!((alive.owner.as_str(), &alive.id), ("alice", &task.id));
    for state in &pair.states {
        assert!(state.tasks().is_run(&task).await.unwrap());
        assert_eq!(state.tasks().without_runner(std::slice::from_ref(&alive)).await, []);
    }
    assert!(one.tasks().is_mine(&task) && !two.tasks().is_mine(&task));
    drop(running);
    assert!(!one.tasks().is_run(&task).await.unwrap(), "its process says that it does not run it");
    assert_eq!(one.tasks().without_runner(std::slice::from_ref(&alive)).await, [alive]);
    let Transition::Made(left) = one.tasks().hand_over("alice", &task, json!({})).await.unwrap() else { panic!() };
    assert!(!two.tasks().is_run(&left).await.unwrap());
    let claims = pair.states.clone().map(|state| {
        let left = left.clone();
        tokio::spawn(async move {
            let _running = state.tasks().run(&left.id).await.unwrap();
            matches!(state.tasks().claim("alice", &left, json!({})).await.unwrap(), Transition::Made(_))
        })
    });
    let mut claimed = 0;
    for claim in claims {
        claimed += usize::from(claim.await.unwrap());
    }
    assert_eq!(claimed, 1);
}

async fn tasks_are_listed_in_the_order_they_were_made(pair: Pair) {
    let mut made = BTreeSet::new();
    for _ in 0..5 {
        made.insert(pair.any().tasks().create("alice", working(), 99).await.unwrap().0.id);
    }
    pair.any().tasks().create("bob", working(), 99).await.unwrap();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let after = listed.last().cloned().unwrap_or_default();
        let page = pair.any().tasks().list("alice", &after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|task| task.id));
    }
    assert_eq!(listed, made.into_iter().collect::<Vec<_>>());
    assert_eq!(pair.any().tasks().list("alice", "not an id", 99).await.unwrap().len(), 5);
}

async fn an_answer_reaches_who_waits_for_it_elsewhere(pair: Pair) {
    let [one, two] = &pair.states;
    let waiting = one.clone();
    let waits = tokio::spawn(async move { waiting.answers().wait("q", Duration::from_secs(20)).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(two.answers().put("q", "yes".into(), HOUR).await.unwrap());
    assert_eq!(waits.await.unwrap(), Some(Bytes::from("yes")));
    assert_eq!(pair.any().answers().wait("q", Duration::ZERO).await.unwrap(), None, "it was taken");
    assert!(pair.any().answers().put("r", "first".into(), HOUR).await.unwrap());
    assert!(!pair.any().answers().put("r", "second".into(), HOUR).await.unwrap());
    assert_eq!(pair.any().answers().wait("r", Duration::from_secs(20)).await.unwrap(), Some(Bytes::from("first")));
}

async fn events_have_consecutive_numbers_whoever_adds_them(pair: Pair) {
    let all: Vec<_> = (0..24_u8)
        .map(|number| {
            let state = pair.any().clone();
            tokio::spawn(async move { state.events().append("s", vec![number].into(), HOUR).await.unwrap() })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for one in all {
        numbers.insert(one.await.unwrap());
    }
    let first = *numbers.first().unwrap();
    assert_eq!(numbers, (first..first + 24).collect());
    let resumed = pair.any().events().after("s", first, 99).await.unwrap();
    assert_eq!((resumed.events.len(), resumed.events[0].0, resumed.is_complete), (23, first + 1, true));
    let last = pair.any().events().after("s", first + 23, 99).await.unwrap();
    assert!(last.events.is_empty() && last.is_complete);
    let unknown = pair.any().events().after("s", 5, 2).await.unwrap();
    assert!(unknown.events.len() == 2 && !unknown.is_complete, "what came between may be lost");
    assert!(pair.any().events().after("other", 0, 9).await.unwrap().events.is_empty());
}

async fn a_stream_keeps_its_last_events(pair: Pair) {
    let mut numbers = Vec::new();
    for _ in 0..super::events::EVENTS_MAX + 20 {
        numbers.push(pair.any().events().append("s", Bytes::new(), HOUR).await.unwrap());
    }
    let kept = pair.any().events().after("s", 0, usize::MAX).await.unwrap();
    let found: Vec<u64> = kept.events.iter().map(|(number, _)| *number).collect();
    assert_eq!(found, numbers[20..]);
    assert!(!pair.any().events().after("s", numbers[3], 9).await.unwrap().is_complete);
    for _ in 0..2 {
        pair.any().events().forget("s", numbers[20]).await.unwrap();
    }
    assert_eq!(pair.any().events().after("s", 0, 1).await.unwrap().events[0].0, numbers[21]);
}
