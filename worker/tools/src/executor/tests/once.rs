use super::*;
use crate::{IdempotencyKey, code};

fn under(key: &str) -> Call {
    Call::new(Principal::anonymous()).with_idempotency(Some(IdempotencyKey::parse(key).unwrap()))
}

async fn write(world: &World, key: &str, arguments: &str) -> Answer {
    world.executor.execute(&under(key), "probe.write", arguments).await
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_runs_nothing() {
    let world = World::new();
    let first = write(&world, "a", r#"{"n":1,"any":"x"}"#).await;
    assert!(!first.replayed);
    let again = write(&world, "a", r#"{ "any": "x", "n": 1.0 }"#).await;
    assert_eq!((again.outcome, again.replayed), (first.outcome, true));
    assert_eq!(world.runs.seen(), (1, 1));

    let refused = write(&world, "b", r#"{"do":"fail"}"#).await;
    let again = write(&world, "b", r#"{"do":"fail"}"#).await;
    assert_eq!((again.outcome, again.replayed), (refused.outcome, true), "the tool has said no");
    assert_eq!(world.runs.seen(), (2, 2));
}

#[tokio::test]
async fn a_key_belongs_to_one_call() {
    let world = World::new();
    write(&world, "a", r#"{"n":1}"#).await.outcome.unwrap();
    let conflict = write(&world, "a", r#"{"n":2}"#).await.outcome.unwrap_err().into_error();
    assert_eq!(conflict.code, code::IDEMPOTENCY_CONFLICT);
    assert!(write(&world, "b", r#"{"n":2}"#).await.outcome.is_ok());
    let other = Call::new(Principal::new("other")).with_idempotency(Some(IdempotencyKey::parse("a").unwrap()));
    let other = world.executor.execute(&other, "probe.write", r#"{"n":2}"#).await;
    assert!(other.outcome.is_ok() && !other.replayed, "keys of two principals have nothing to do with each other");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_a_running_call_is_told_so_also_when_its_caller_has_left() {
    let world = World::new();
    let first = tokio::time::timeout(Duration::from_secs(1), write(&world, "a", r#"{"do":"slow"}"#)).await;
    assert!(first.is_err());
    let running = write(&world, "a", r#"{"do":"slow"}"#).await.outcome.unwrap_err().into_error();
    assert!(running.code == code::IDEMPOTENCY_IN_PROGRESS && running.hint.is_some(), "{running}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let again = write(&world, "a", r#"{"do":"slow"}"#).await;
    assert!(again.replayed && again.outcome.is_ok());
    assert_eq!(world.runs.seen(), (1, 1));
}

#[tokio::test]
async fn what_did_nothing_leaves_its_key_free_and_what_broke_off_says_so() {
    let world = World::new();
    for free in [r#"{"do":"again"}"#, r#"{"do":"bad tags"}"#, r#"{"n":9}"#] {
        assert!(write(&world, "a", free).await.outcome.is_err(), "{free}");
    }
    world.executor.set_limits(Limits { concurrency: 0, ..LIMITS });
    assert_eq!(write(&world, "a", "{}").await.outcome.unwrap_err().into_error().code, code::OVERLOADED);
    world.executor.set_limits(LIMITS);
    assert!(write(&world, "a", "{}").await.outcome.is_ok());

    let broken = write(&world, "b", r#"{"do":"panic"}"#).await.outcome.unwrap_err().into_error();
    assert_eq!(broken.code, code::INTERNAL_ERROR);
    let again = write(&world, "b", r#"{"do":"panic"}"#).await.outcome.unwrap_err().into_error();
    assert!(again.code == code::OUTCOME_UNKNOWN && again.hint.is_some(), "{again}");
    assert_eq!(world.runs.seen().0, 3, "it is not tried again");
}

#[tokio::test]
async fn a_key_means_nothing_to_a_read() {
    let world = World::new();
    for tool in ["probe.read", "probe.kept"] {
        let call = under("a");
        let read = |arguments| world.executor.execute(&call, tool, arguments);
        assert!(read(r#"{"n":1}"#).await.outcome.is_ok());
        let other = read(r#"{"n":2}"#).await;
        assert!(other.outcome.is_ok() && !other.replayed);
    }
}
