use std::collections::BTreeSet;

use super::*;
use crate::{Scopes, code};

#[tokio::test(start_paused = true)]
async fn a_read_ends_with_its_caller() {
    for tool in ["probe.read", "probe.kept"] {
        let world = World::new();
        let gone = tokio::time::timeout(Duration::from_millis(100), world.run(tool, r#"{"do":"slow"}"#)).await;
        assert!(gone.is_err(), "{tool}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.runs.seen(), (1, 0), "{tool}");
        world.executor.set_limits(Limits { concurrency: 1, ..LIMITS });
        assert!(world.run(tool, "{}").await.is_ok(), "{tool}: its place is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn more_calls_of_a_tool_than_its_limit_are_refused_at_once() {
    for tool in ["probe.read", "probe.kept", "probe.write"] {
        let world = World::new();
        world.executor.set_limits(Limits { concurrency: 1, deadline: Duration::from_secs(9), ..LIMITS });
        let (slow, refused) = tokio::join!(world.run(tool, r#"{"do":"slow"}"#), async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(
                world.run("probe.read", "{}").await.is_ok() || tool == "probe.read",
                "tools have limits of their own"
            );
            let before = tokio::time::Instant::now();
            let refused = world.run(tool, "{}").await.unwrap_err();
            assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits");
            refused
        });
        assert!(slow.is_ok() && refused.code == code::OVERLOADED && refused.hint.is_some(), "{tool}: {refused}");
        assert!(refused.message.contains("tools.concurrency"), "{refused}");
        assert!(world.run(tool, "{}").await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_computation_has_a_deadline_of_its_own() {
    let world = World::new();
    world.executor.set_limits(Limits { deadline: Duration::from_secs(2), ..LIMITS });
    let timed = async |wait: u64| {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let asked = tokio::time::Instant::now();
        (world.run("probe.kept", r#"{"do":"slow"}"#).await.unwrap_err().code, asked.elapsed())
    };
    let (first, second) = tokio::join!(timed(0), timed(1));
    for (code, took) in [first, second] {
        assert_eq!((code.as_ref(), took), (code::DEADLINE_EXCEEDED, Duration::from_secs(2)));
    }
    assert_eq!(world.runs.seen().0, 2, "the second went on by itself");
}

#[tokio::test]
async fn errors_and_panics_of_a_kept_read_are_told_as_they_are() {
    let world = World::new();
    let error = world.run("probe.kept", r#"{"do":"fail"}"#).await.unwrap_err();
    assert_eq!(error, ToolError::new("EPROBE", "on purpose"));
    for bad in ["panic", "panic at once", "bad tags"] {
        let error = world.run("probe.kept", &json!({ "do": bad }).to_string()).await.unwrap_err();
        assert_eq!(error.code, code::INTERNAL_ERROR, "{bad}");
    }
    assert_eq!(crate::testing::panics(&world.scoreboard), 3);
    assert_eq!(world.run("probe.kept", r#"{"do":"large"}"#).await.unwrap_err().code, code::RESPONSE_TOO_LARGE);
}

#[tokio::test]
async fn scopes_are_asked_for_before_anything_else() {
    let world = World::new();
    let reader = Principal::of("ada", None, Scopes::Of(BTreeSet::from(["probe:read".to_owned()])));
    let refused = world
        .executor
        .execute(&Call::new(reader.clone()), "probe.write", "nonsense")
        .await
        .outcome
        .unwrap_err()
        .into_error();
    assert_eq!(
        (refused.code.as_ref(), &refused.details.unwrap()["scopes"][0]),
        (code::INSUFFICIENT_SCOPE, &json!("probe:write"))
    );
    assert_eq!(world.runs.seen(), (0, 0));
    assert!(world.executor.execute(&Call::new(reader), "probe.read", "{}").await.outcome.is_ok());
    assert!(world.run("probe.write", "{}").await.is_ok(), "a plain token holds all scopes");
}
