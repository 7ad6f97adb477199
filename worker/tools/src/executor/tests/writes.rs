use task_mcp_scoreboard::Sample;
use task_mcp_telemetry::names;

use super::*;
use crate::code;
use crate::testing::counted;

#[tokio::test(start_paused = true)]
async fn a_write_goes_on_without_its_caller() {
    let world = World::new();
    let slow = r#"{"do":"slow fail"}"#;
    let gone = tokio::time::timeout(Duration::from_millis(100), world.run("probe.write", slow)).await;
    assert!(gone.is_err());
    let running = || {
        let labels = [("tool", "probe.write")];
        world.scoreboard.total(world.scoreboard.find(names::TOOL_RUNNING, &labels).unwrap()).unwrap()
    };
    assert_eq!(running(), Sample::Gauge(1), "an operator sees it");
    assert_eq!(
        (world.runs.seen(), world.executor.unfinished()),
        ((1, 0), 1),
        "a process that takes leave waits for it"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((world.runs.seen(), world.executor.unfinished()), ((1, 1), 0));
    assert_eq!(running(), Sample::Gauge(0));
    assert_eq!(world.commons.epochs().current("probe"), 1, "what it has changed is known");
    let errors = |code| counted(&world.scoreboard, names::TOOL_ERRORS, &[("tool", "probe.write"), ("code", code)]);
    assert_eq!(errors("EPROBE"), 1, "it is counted though nobody was told");
    world.run("probe.write", r#"{"do":"fail"}"#).await.unwrap_err();
    assert_eq!(errors("EPROBE"), 2, "and once if somebody was");
}

#[tokio::test]
async fn whatever_becomes_of_a_write_its_tags_are_bumped_before_it_is_answered() {
    let world = World::new();
    for (bumps, (what, ends_well)) in (1..).zip([("write", true), ("fail", false), ("panic", false), ("large", true)]) {
        let outcome = world.run("probe.write", &json!({ "do": what }).to_string()).await;
        assert_eq!((outcome.is_ok(), world.commons.epochs().current("probe")), (ends_well, bumps), "{what}");
    }
    assert_eq!(world.commons.epochs().current("openspec"), 1, "what broke off may have changed anything");
    let refused = world.run("probe.write", r#"{"n":9}"#).await.unwrap_err();
    assert_eq!(refused.code, code::INVALID_INPUT);
    assert_eq!(world.commons.epochs().current("probe"), 4, "nothing was run");
    world.run("probe.read", "{}").await.unwrap();
    world.run("probe.kept", "{}").await.unwrap();
    assert_eq!(world.commons.epochs().current("probe"), 4, "who reads changes nothing");
    assert_eq!(world.executor.unfinished(), 0);
}
