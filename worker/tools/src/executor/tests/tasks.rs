use super::*;
use crate::code;

async fn run_task(executor: &Executor, turn: &Turn, arguments: &str) -> Result<CallResult, ToolError> {
    let call = Call::new(Principal::anonymous());
    executor.execute_task(&call, turn, arguments).await.outcome.map_err(Stop::into_error)
}

#[tokio::test(start_paused = true)]
async fn a_task_has_no_deadline_and_is_run_past_the_cache() {
    let world = World::new();
    for name in ["probe.read", "probe.kept", "probe.write"] {
        let turn = world.executor.turn(name).unwrap();
        run_task(&world.executor, &turn, r#"{"do":"slow"}"#).await.unwrap();
        let turn = world.executor.turn(name).unwrap();
        let error = run_task(&world.executor, &turn, r#"{"do":"fail"}"#).await.unwrap_err();
        assert_eq!(error.code, "EPROBE");
    }
    assert_eq!(world.runs.seen(), (6, 6));
    let turn = world.executor.turn("probe.read").unwrap();
    let error = run_task(&world.executor, &turn, r#"{"do":"large"}"#).await.unwrap_err();
    assert_eq!(error.code, code::RESPONSE_TOO_LARGE);
    assert!(world.executor.turn("probe.none").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_its_turn_and_leaves_it_to_others_when_it_is_told_to() {
    let world = World::new();
    let busy: Vec<Turn> = (0..LIMITS.concurrency).map(|_| world.executor.turn("probe.read").unwrap()).collect();
    for turn in &busy {
        turn.take().await;
    }
    assert_eq!(world.run("probe.read", "{}").await.unwrap_err().code, code::OVERLOADED, "a call is refused");
    let turn = world.executor.turn("probe.read").unwrap();
    let waits = tokio::time::timeout(Duration::from_secs(5), run_task(&world.executor, &turn, "{}")).await;
    assert!(waits.is_err() && !turn.has_begun() && world.runs.seen() == (0, 0));
    busy[0].leave();
    run_task(&world.executor, &turn, "{}").await.unwrap();
    assert!(turn.has_begun());
    busy[0].take().await;
    drop(busy);
    world.run("probe.read", "{}").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_waits_for_ends_if_it_reads_and_goes_on_if_it_writes() {
    let world = World::new();
    for (name, ended) in [("probe.read", 0), ("probe.write", 1)] {
        let turn = world.executor.turn(name).unwrap();
        let slow = run_task(&world.executor, &turn, r#"{"do":"slow"}"#);
        assert!(tokio::time::timeout(Duration::from_millis(100), slow).await.is_err());
        drop(turn);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.runs.seen().1, ended, "{name}");
    }
    assert_eq!(world.executor.unfinished(), 0);
}

#[tokio::test]
async fn what_cannot_be_run_becomes_no_task_and_what_was_refused_did_nothing() {
    let world = World::new();
    let prepare = async |name, arguments| {
        let call = Call::new(Principal::anonymous());
        world.executor.prepare_task(&call, name, arguments).await.map_err(|stop| stop.into_error().code)
    };
    assert_eq!(prepare("probe.read", "{}").await, Ok(()));
    assert_eq!(prepare("probe.read", r#"{"n":9}"#).await.unwrap_err(), code::INVALID_INPUT);
    assert_eq!(prepare("probe.none", "{}").await.unwrap_err(), code::TOOL_NOT_FOUND);
    assert_eq!(world.runs.seen(), (0, 0));
    let write = world.executor.turn("probe.write").unwrap();
    let read = world.executor.turn("probe.read").unwrap();
    for (code, did_nothing) in [("EPROBE", false), ("EAGAIN", true), (code::UNANSWERABLE, true)] {
        let stop = Stop::from(ToolError::new(code, "x"));
        assert_eq!(world.executor.did_nothing(&write, &stop), did_nothing, "{code}");
        assert!(world.executor.did_nothing(&read, &stop), "who reads never does anything");
    }
}
