use task_mcp_mcp::Blocks;

use super::*;
use crate::code;
use crate::testing::{counted, panics};

fn executor() -> (Executor, Scoreboard) {
    let World { executor, scoreboard, .. } = World::new();
    (executor, scoreboard)
}

#[tokio::test]
async fn arguments_that_do_not_fit_name_the_field_and_the_limit() {
    let (executor, scoreboard) = executor();
    let error = run(&executor, "probe.read", r#"{"n":9,"other":1}"#).await.unwrap_err();
    assert_eq!(error.code, code::INVALID_INPUT);
    for part in ["n:", "5", "other"] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    assert_eq!(run(&executor, "probe.read", "nonsense").await.unwrap_err().code, code::INVALID_INPUT);
    let labels = [("tool", "probe.read"), ("code", code::INVALID_INPUT)];
    assert_eq!(counted(&scoreboard, task_mcp_telemetry::names::TOOL_ERRORS, &labels), 2);
}

#[tokio::test]
async fn what_does_not_fit_is_pointed_to_the_list_of_its_kind() {
    let (executor, _) = executor();
    for (name, arguments, list) in [
        ("probe.read", r#"{"n":9}"#, "`tools/list`"),
        ("prompts/get", r#"{"name":"x","arguments":{"slug":1}}"#, "`prompts/list`"),
        ("resources/read", r#"{"uri":1}"#, "`resources/list`"),
        ("resources/list", r#"{"cursor":1}"#, "`nextCursor`"),
        ("completion/complete", "{}", ""),
    ] {
        let hint = match executor.execute(&crate::testing::call(), name, arguments).await.outcome {
            Err(Stop::Error(error)) => error.hint.unwrap_or_default(),
            Err(Stop::Protocol(_)) => String::new(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(hint.contains(list) && (list == "`tools/list`" || !hint.contains("tool")), "{name}: {hint}");
    }
}

#[tokio::test]
async fn a_panic_is_one_error_and_tells_nothing() {
    let (executor, scoreboard) = executor();
    let error = run(&executor, "probe.read", r#"{"do":"panic"}"#).await.unwrap_err();
    assert_eq!(error.code, code::INTERNAL_ERROR);
    assert!(!format!("{error:?}").contains("on purpose"));
    assert_eq!(panics(&scoreboard), 1);
    assert!(run(&executor, "probe.read", "{}").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_a_read_and_never_a_write() {
    let (executor, _) = executor();
    let error = run(&executor, "probe.read", r#"{"do":"slow"}"#).await.unwrap_err();
    assert_eq!(error.code, code::DEADLINE_EXCEEDED);
    assert!(error.message.contains("1000 ms"), "{error}");
    let written = run(&executor, "probe.write", r#"{"do":"slow"}"#).await.unwrap();
    assert_eq!(written.structured.unwrap(), r#"{"slow":true}"#);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_reads_first_and_writes_at_last() {
    let (executor, scoreboard) = executor();
    executor.set_limits(Limits { deadline: Duration::from_secs(60), ..LIMITS });
    let slow = |name| run(&executor, name, r#"{"do":"slow"}"#);
    let ((read, read_ms), (written, written_ms), ()) = tokio::join!(
        async { (slow("probe.read").await, tokio::time::Instant::now()) },
        async { (slow("probe.write").await, tokio::time::Instant::now()) },
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            executor.cut(Cut::Reads);
            tokio::time::sleep(Duration::from_secs(1)).await;
            executor.cut(Cut::Everything);
            executor.cut(Cut::Reads);
        },
    );
    assert_eq!(read.unwrap_err().code, code::SERVER_SHUTTING_DOWN);
    let written = written.unwrap_err();
    assert!(written.code == code::SERVER_SHUTTING_DOWN && written.message.contains("not known"), "{written}");
    assert_eq!(written_ms - read_ms, Duration::from_secs(1));
    let labels = [("tool", "probe.read"), ("code", code::SERVER_SHUTTING_DOWN)];
    assert_eq!(counted(&scoreboard, task_mcp_telemetry::names::TOOL_ERRORS, &labels), 1);
    assert!(run(&executor, "probe.read", "{}").await.is_ok(), "what needs no time is answered");
}

#[tokio::test]
async fn a_result_over_the_limit_is_an_error() {
    let (executor, _) = executor();
    assert!(run(&executor, "probe.write", r#"{"do":"large"}"#).await.is_ok(), "a write has happened and is told");
    let error = run(&executor, "probe.read", r#"{"do":"large"}"#).await.unwrap_err();
    assert_eq!(error.code, code::RESPONSE_TOO_LARGE);
    assert!(error.message.contains("1000") && error.message.contains("limits.response_bytes"), "{error}");
}

#[tokio::test]
async fn errors_of_a_tool_and_of_a_missing_one_keep_their_codes() {
    let (executor, _) = executor();
    assert_eq!(run(&executor, "probe.read", r#"{"do":"fail"}"#).await.unwrap_err().code, "EPROBE");
    assert_eq!(run(&executor, "gone", "{}").await.unwrap_err().code, code::TOOL_NOT_FOUND);
    let result = run(&executor, "probe.read", r#"{"do":"fail"}"#).await.unwrap_err().to_result();
    let Blocks::Text(text) = result.content else { panic!("no text") };
    let text: String = serde_json::from_slice(&text).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["error"]["code"], "EPROBE");
}
