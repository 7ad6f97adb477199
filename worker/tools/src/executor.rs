//! The one path every call takes, whatever dialect it came in: validate, run within the deadline, check the size, answer.
//!
//! Authorisation per tool, rate limits, idempotency, the cache and single flight have their places between these steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use task_mcp_mcp::{CallResult, json_string};
use task_mcp_telemetry::ToolMetrics;
use tokio::sync::watch;

use crate::arguments;
use crate::error::{ToolError, code};
use crate::panics::{Guarded, Panicked};
use crate::registry::{Entry, Registry};
use crate::tool::{Call, Output};

/// What one call may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a tool that only reads may take.
    pub deadline: Duration,
    /// Size of a result's JSON.
    pub response_bytes: usize,
}

/// Which calls are not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// None.
    Nothing,
    /// Those that only read.
    Reads,
    /// All; what a write has begun goes on without its caller, as long as the process lives.
    Everything,
}

/// Runs calls. One for each process, shared by its dialects.
#[derive(Debug, Clone)]
pub struct Executor {
    registry: Arc<Registry>,
    limits: Arc<ArcSwap<Limits>>,
    cut: watch::Sender<Cut>,
    metrics: ToolMetrics,
}

impl Executor {
    /// An executor over `registry`; `metrics` was bound with the registry's names and codes in their order.
    pub fn new(registry: Arc<Registry>, limits: Limits, metrics: ToolMetrics) -> Self {
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        Self { registry, limits, cut: watch::Sender::new(Cut::Nothing), metrics }
    }

    /// Ends calls that are still running with [`code::SERVER_SHUTTING_DOWN`], so that their callers hear of it before the process
    /// ends. There is no way back.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_if_modified(|now| {
            let more = *now < cut;
            *now = (*now).max(cut);
            more
        });
    }

    /// Calls that begin from now on may cost so much.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Whether a tool of that name exists. A dialect asks first where an unknown tool is an error of the protocol.
    pub fn knows(&self, name: &str) -> bool {
        self.registry.get(name).is_some()
    }

    /// Runs one call. `arguments` is JSON text, as the client wrote it.
    ///
    /// # Errors
    /// A [`ToolError`] with one of [`code::ALL`] or of the tool's own codes.
    pub async fn execute(&self, call: &Call, name: &str, arguments: &str) -> Result<CallResult, ToolError> {
        let Some(entry) = self.registry.get(name) else {
            return Err(ToolError::new(code::TOOL_NOT_FOUND, "no tool has that name")
                .with_hint("the method `tools/list` names the tools"));
        };
        let started = Instant::now();
        let cut_with = if entry.read_only { Cut::Reads } else { Cut::Everything };
        let mut cut = self.cut.subscribe();
        let outcome = tokio::select! {
            biased;
            outcome = self.run(entry, call, name, arguments) => outcome,
            _ = cut.wait_for(|cut| *cut >= cut_with) => Err(shutting_down(entry.read_only)),
        };
        self.metrics.executed(entry.index, started.elapsed());
        if let Err(error) = &outcome {
            let position = self.registry.error_codes().iter().position(|known| *known == error.code);
            self.metrics.failed(entry.index, position);
        }
        outcome
    }

    async fn run(&self, entry: &Entry, call: &Call, name: &str, arguments: &str) -> Result<CallResult, ToolError> {
        let limits = **self.limits.load();
        let arguments = validated(entry, arguments)?;
        let running = Guarded(entry.tool.call(call, arguments));
        let finished = if entry.read_only {
            match tokio::time::timeout(limits.deadline, running).await {
                Ok(finished) => finished,
                Err(_) => return Err(too_slow(limits.deadline)),
            }
        } else {
            running.await
        };
        match finished {
            Ok(output) => fragments(entry, output?, limits.response_bytes),
            Err(Panicked) => {
                self.metrics.panicked();
                tracing::error!(tool = name, "A tool panicked; its caller got an error and the process goes on.");
                Err(ToolError::internal())
            }
        }
    }
}

/// The limit, in bytes, holds for what was only read: what was written stays written, and its caller must hear so.
fn fragments(entry: &Entry, output: Output, limit: usize) -> Result<CallResult, ToolError> {
    let text = output.into_json();
    if entry.read_only && text.len() > limit {
        let message = format!("the result has {} bytes, the limit is {limit} (limits.response_bytes)", text.len());
        return Err(ToolError::new(code::RESPONSE_TOO_LARGE, message).with_hint("ask for a smaller page"));
    }
    Ok(CallResult { text: json_string(&text), structured: Some(text.into()), is_error: false })
}

fn shutting_down(read_only: bool) -> ToolError {
    let (message, hint) = if read_only {
        ("the server stops and the call was not finished in time", "send it again")
    } else {
        (
            "the server stops and the outcome of the write is not known yet",
            "look whether it was done before you send it again",
        )
    };
    ToolError::new(code::SERVER_SHUTTING_DOWN, message).with_hint(hint)
}

fn too_slow(deadline: Duration) -> ToolError {
    let limit_ms = deadline.as_millis();
    ToolError::new(code::DEADLINE_EXCEEDED, format!("the call took longer than {limit_ms} ms (tools.deadline_ms)"))
        .with_hint("try again later")
}

/// The arguments as a value that fits the tool's schema.
fn validated(entry: &Entry, arguments: &str) -> Result<Value, ToolError> {
    const PROBLEMS_MAX: usize = 8;
    let value = arguments::parse(arguments).map_err(|error| {
        ToolError::new(code::INVALID_INPUT, format!("arguments: {}", bounded(&error.to_string())))
            .with_hint("send one JSON object without repeated keys")
    })?;
    if entry.input.is_valid(&value) {
        return Ok(value);
    }
    let problems: Vec<(String, String)> = entry
        .input
        .iter_errors(&value)
        .take(PROBLEMS_MAX)
        .map(|error| (field_of(&error.instance_path().to_string()), bounded(&error.to_string())))
        .collect();
    let sentences: Vec<String> = problems.iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
    let details: Vec<Value> =
        problems.iter().map(|(field, problem)| json!({ "field": field, "problem": problem })).collect();
    Err(ToolError::new(code::INVALID_INPUT, sentences.join("; "))
        .with_hint("`tools/list` shows the tool's input schema")
        .with_details(json!({ "problems": details })))
}

/// `/a/0` as `a.0`; the whole as `arguments`.
fn field_of(pointer: &str) -> String {
    if pointer.is_empty() {
        "arguments".to_owned()
    } else {
        bounded(&pointer.trim_start_matches('/').replace('/', "."))
    }
}

/// A validator's words may quote the client at length.
fn bounded(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use task_mcp_mcp::{ToolAnnotations, ToolDescription};
    use task_mcp_scoreboard::Scoreboard;

    use super::*;
    use crate::testing::{counted, metrics_with, panics};
    use crate::{BoxFuture, Principal, Tool};

    /// Does what its argument says.
    struct Probe {
        writes: bool,
    }

    impl Tool for Probe {
        fn describe(&self) -> ToolDescription {
            ToolDescription {
                name: if self.writes { "probe.write" } else { "probe.read" }.into(),
                title: String::new(),
                description: String::new(),
                input_schema: json!({
                    "type": "object",
                    "properties": { "do": { "type": "string" }, "n": { "type": "integer", "maximum": 5 } },
                    "additionalProperties": false,
                }),
                output_schema: None,
                annotations: ToolAnnotations {
                    read_only_hint: !self.writes,
                    destructive_hint: false,
                    idempotent_hint: true,
                    open_world_hint: false,
                },
            }
        }

        fn error_codes(&self) -> &'static [&'static str] {
            &["EPROBE"]
        }

        fn call<'a>(&'a self, _: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, ToolError>> {
            Box::pin(async move {
                match arguments.get("do").and_then(Value::as_str) {
                    Some("panic") => panic!("on purpose"),
                    Some("fail") => Err(ToolError::new("EPROBE", "on purpose")),
                    Some("slow") => {
                        tokio::time::sleep(Duration::from_secs(3)).await;
                        Output::of(&json!({ "slow": true }))
                    }
                    Some("large") => Output::of(&"x".repeat(2_000)),
                    _ => Output::of(&arguments),
                }
            })
        }
    }

    fn executor() -> (Executor, Scoreboard) {
        let tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Probe { writes: false }), Arc::new(Probe { writes: true })];
        let registry = Arc::new(Registry::new(tools).unwrap());
        let names: Vec<&str> = registry.names().collect();
        let (metrics, scoreboard) = metrics_with(&names, registry.error_codes());
        let limits = Limits { deadline: Duration::from_secs(1), response_bytes: 1_000 };
        (Executor::new(registry, limits, metrics), scoreboard)
    }

    async fn run(executor: &Executor, name: &str, arguments: &str) -> Result<CallResult, ToolError> {
        executor.execute(&Call { principal: Principal::anonymous() }, name, arguments).await
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
        executor.set_limits(Limits { deadline: Duration::from_secs(60), response_bytes: 1_000 });
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
        let text = run(&executor, "probe.read", r#"{"do":"fail"}"#).await.unwrap_err().to_result().text;
        let text: String = serde_json::from_slice(&text).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["error"]["code"], "EPROBE");
    }
}
