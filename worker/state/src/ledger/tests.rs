//! The ledger of two processes, over the records that both have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use task_mcp_test_servers::RedisServer;

use super::*;
use crate::testing::{BASE, connection, eventually, metrics};

const HOUR: Duration = Duration::from_secs(3_600);

/// Ledgers of as many processes.
fn ledgers<const N: usize>() -> [Ledger; N] {
    let records = Records::memory(metrics());
    std::array::from_fn(|_| Ledger::new(records.clone(), HOUR, metrics()))
}

async fn first(ledger: &Ledger, key: &str) -> Ticket {
    match ledger.begin(key, [1; 32]).await.unwrap() {
        Begun::First(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repeat_anywhere_gets_the_first_answer_and_another_body_none() {
    let [one, two] = ledgers();
    let ticket = first(&one, "k").await;
    for ledger in [&one, &two] {
        assert!(matches!(ledger.begin("k", [1; 32]).await.unwrap(), Begun::Running));
        assert!(matches!(ledger.begin("k", [2; 32]).await.unwrap(), Begun::Conflict));
    }
    one.finish(ticket, Some("answer".into())).await.unwrap();
    for ledger in [&one, &two] {
        assert!(matches!(ledger.begin("k", [1; 32]).await.unwrap(), Begun::Replay(answer) if answer == "answer"));
        assert!(matches!(ledger.begin("k", [2; 32]).await.unwrap(), Begun::Conflict));
    }
    first(&two, "another").await;
}

#[tokio::test]
async fn a_call_that_was_not_run_leaves_the_key_free() {
    let [one, two] = ledgers();
    let ticket = first(&one, "k").await;
    one.finish(ticket, None).await.unwrap();
    first(&two, "k").await;
}

#[tokio::test]
async fn of_many_one_is_the_first() {
    let ledgers: [Ledger; 4] = ledgers();
    let tries: Vec<_> = (0..64)
        .map(|number| {
            let ledger = ledgers[number % 4].clone();
            tokio::spawn(async move {
                match ledger.begin("k", [1; 32]).await.unwrap() {
                    Begun::First(ticket) => {
                        tokio::task::yield_now().await;
                        ledger.finish(ticket, Some("x".into())).await.unwrap();
                        true
                    }
                    Begun::Running | Begun::Replay(_) => false,
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut firsts = 0;
    for one in tries {
        firsts += usize::from(one.await.unwrap());
    }
    assert_eq!(firsts, 1);
}

#[tokio::test]
async fn when_the_process_is_gone_nobody_knows_and_nobody_runs_it_again() {
    let [one, two] = ledgers();
    let ticket = first(&one, "k").await;
    // What becomes of its record when nobody renews it.
    let records = &one.0.records;
    let runner = records.list(Kind::Runner, "", "", 9).await.unwrap().pop().unwrap();
    records.take(Kind::Runner, &runner.0).await.unwrap().unwrap();
    assert!(matches!(two.begin("k", [1; 32]).await.unwrap(), Begun::Unknown));
    assert!(matches!(two.begin("k", [2; 32]).await.unwrap(), Begun::Conflict));
    // It was only slow: its answer counts.
    one.finish(ticket, Some("late".into())).await.unwrap();
    assert!(matches!(two.begin("k", [1; 32]).await.unwrap(), Begun::Replay(answer) if answer == "late"));
}

#[tokio::test]
async fn a_lost_ticket_is_an_unknown_outcome_at_once() {
    let [one, two] = ledgers();
    drop(first(&one, "k").await);
    eventually(async || matches!(two.begin("k", [1; 32]).await.unwrap(), Begun::Unknown).then_some(())).await;
    assert!(matches!(one.begin("k", [1; 32]).await.unwrap(), Begun::Unknown));
}

#[tokio::test]
async fn an_answer_too_large_to_keep_is_an_unknown_outcome() {
    let [one, two] = ledgers();
    let ticket = first(&one, "k").await;
    let answer = Bytes::from(vec![0; VALUE_BYTES_MAX]);
    assert!(matches!(one.finish(ticket, Some(answer)).await, Err(StateError::TooLarge { .. })));
    eventually(async || matches!(two.begin("k", [1; 32]).await.unwrap(), Begun::Unknown).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_runs_a_call_says_so_for_as_long_as_it_does() {
    let [one, two] = ledgers();
    let ticket = first(&one, "k").await;
    let before = two.0.records.list(Kind::Runner, "", "", 9).await.unwrap().pop().unwrap().1.version;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = two.0.records.list(Kind::Runner, "", "", 9).await.unwrap().pop().unwrap().1.version;
    assert_ne!(before, after, "it was renewed");
    one.finish(ticket, Some("x".into())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let last = two.0.records.list(Kind::Runner, "", "", 9).await.unwrap().pop().unwrap().1.version;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(two.0.records.list(Kind::Runner, "", "", 9).await.unwrap().pop().unwrap().1.version, last);
}

/// How long an operation may take where it is to take too long.
const SHORT: Duration = Duration::from_millis(100);

/// A call took too long to be entered, and is entered all the same, while its process runs another one.
async fn entered_late(one: &Ledger, two: &Ledger, blocks: impl AsyncFnOnce(), goes_on: impl AsyncFnOnce()) {
    let _busy = eventually(async || match one.begin("busy", [1; 32]).await {
        Ok(Begun::First(ticket)) => Some(ticket),
        _ => None,
    })
    .await;
    blocks().await;
    let error = one.begin("k", [1; 32]).await.unwrap_err();
    assert!(matches!(error, StateError::Timeout { .. }), "{error}");
    goes_on().await;
    for ledger in [one, two] {
        let ticket = eventually(async || match ledger.begin("k", [1; 32]).await {
            Ok(Begun::First(ticket)) => Some(ticket),
            Ok(Begun::Running) | Err(StateError::Timeout { .. } | StateError::Redis(_)) => None,
            other => panic!("it was not run, and everybody can know: {other:?}"),
        })
        .await;
        eventually(async || ledger.0.records.remove(Kind::Call, &ticket.0.key, ticket.0.version).await.ok()).await;
        ticket.0.settled();
    }
}

#[tokio::test]
async fn a_call_that_was_entered_too_late_is_withdrawn_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::embedded(folder.path(), 1 << 20, SHORT, metrics()).unwrap();
    let [one, two] = std::array::from_fn(|_| Ledger::new(records.clone(), HOUR, metrics()));
    let lock = std::cell::RefCell::new(None);
    let blocks = async || _ = lock.replace(Some(records.holds_the_lock()));
    entered_late(&one, &two, blocks, async || drop(lock.take())).await;
}

#[tokio::test]
async fn a_call_that_was_entered_too_late_is_withdrawn_from_redis() {
    let server = RedisServer::start();
    let [one, two] = std::array::from_fn(|_| {
        let records = Records::remote(connection(&server), BASE, SHORT, metrics());
        Ledger::new(records, HOUR, metrics())
    });
    let blocks = async || server.tell::<()>(&["CLIENT", "PAUSE", "600", "WRITE"]);
    // Waits as long as the pause, so that the late one is carried out before the connection is given up.
    let goes_on = async || server.tell::<()>(&["SET", "another", "x"]);
    entered_late(&one, &two, blocks, goes_on).await;
}

#[tokio::test]
async fn an_outcome_that_could_not_be_entered_is_entered_later() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::embedded(folder.path(), 1 << 20, SHORT, metrics()).unwrap();
    let [one, two] = std::array::from_fn(|_| Ledger::new(records.clone(), HOUR, metrics()));
    let start = async |key: &str| {
        eventually(async || match one.begin(key, [1; 32]).await {
            Ok(Begun::First(ticket)) => Some(ticket),
            _ => None,
        })
        .await
    };
    let (_busy, lost, not_run) = (start("busy").await, start("lost").await, start("not run").await);
    let lock = records.holds_the_lock();
    // The thread that writes waits with this one, and drops what comes behind it when it is overdue.
    assert!(records.put(Kind::Task, "t", "x", HOUR).await.is_err());
    drop(lost);
    assert!(one.finish(not_run, None).await.is_err());
    // Several tries fail.
    tokio::time::sleep(SHORT * 5).await;
    drop(lock);
    eventually(async || matches!(two.begin("lost", [1; 32]).await, Ok(Begun::Unknown)).then_some(())).await;
    eventually(async || matches!(two.begin("not run", [1; 32]).await, Ok(Begun::First(_))).then_some(())).await;
}

#[tokio::test]
async fn a_caller_that_goes_while_its_call_is_entered_leaves_the_key_free() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::embedded(folder.path(), 1 << 20, Duration::from_secs(20), metrics()).unwrap();
    let [one, two] = std::array::from_fn(|_| Ledger::new(records.clone(), HOUR, metrics()));
    let _busy = first(&one, "busy").await;
    let lock = records.holds_the_lock();
    let gone = tokio::time::timeout(SHORT, one.begin("k", [1; 32])).await;
    assert!(gone.is_err(), "it waits for the lock");
    drop(lock);
    eventually(async || matches!(two.begin("k", [1; 32]).await, Ok(Begun::First(_))).then_some(())).await;
}
