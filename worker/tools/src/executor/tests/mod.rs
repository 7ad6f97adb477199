//! What the executor promises.
//!
//! - `path`: arguments, deadlines, sizes, panics, the end of the process
//! - `keys`: who shares an entry with whom
//! - `reads`, `writes`: callers that leave, limits, tags
//! - `once`: idempotency keys
//! - `asking`: calls that ask their client
//! - `blocks`: answers without a structured form
//! - `once`: idempotency keys; `tasks`: calls that have become tasks

mod asking;
mod blocks;
mod keys;
mod once;
mod path;
mod reads;
mod tasks;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_mcp::{CallResult, ToolAnnotations, ToolDescription};
use task_mcp_scoreboard::{Commons, Scoreboard};

use super::*;
use crate::testing::{backing, metrics_with};
use crate::{Aftermath, BoxFuture, CachePolicy, Call, Output, Partition, Principal, Registry, Tool, ToolError};

const LIMITS: Limits = Limits { deadline: Duration::from_secs(1), response_bytes: 1_000, concurrency: 8 };

/// Does what its argument says, and counts how often it has begun and ended.
struct Probe {
    name: &'static str,
    kept: bool,
    writes: bool,
    runs: Arc<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Runs {
    fn seen(&self) -> (usize, usize) {
        (self.begun.load(Ordering::Acquire), self.ended.load(Ordering::Acquire))
    }
}

impl Tool for Probe {
    fn describe(&self) -> ToolDescription {
        ToolDescription {
            name: self.name.into(),
            title: String::new(),
            description: String::new(),
            input_schema: json!({
                "type": "object",
                "properties": { "do": { "type": "string" }, "n": { "type": "integer", "maximum": 5 }, "any": {} },
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
        &["EPROBE", "EAGAIN"]
    }

    fn aftermath(&self, code: &str) -> Aftermath {
        if code == "EAGAIN" { Aftermath::NothingDone } else { Aftermath::Refused }
    }

    fn scopes(&self) -> &'static [&'static str] {
        if self.writes { &["probe:write"] } else { &[] }
    }

    fn cache(&self) -> CachePolicy {
        match self.kept {
            true => CachePolicy::On { partition: Partition::Private, ttl: None, stale: false, facts: &["EPROBE"] },
            false => CachePolicy::Off,
        }
    }

    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        assert!(arguments.get("do").and_then(Value::as_str) != Some("bad tags"), "on purpose");
        vec![Tag::new("probe")]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        self.runs.begun.fetch_add(1, Ordering::AcqRel);
        assert!(arguments.get("do").and_then(Value::as_str) != Some("panic at once"), "on purpose");
        Box::pin(async move {
            let output = match arguments.get("do").and_then(Value::as_str) {
                Some("panic") => panic!("on purpose"),
                Some("fail") => Err(ToolError::new("EPROBE", "on purpose").into()),
                Some("again") => Err(ToolError::new("EAGAIN", "on purpose").into()),
                Some("slow") => {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    Ok(Output::of(&json!({ "slow": true }))?)
                }
                Some("slow fail") => {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    Err(ToolError::new("EPROBE", "on purpose").into())
                }
                Some("ask") => {
                    let question = task_mcp_mcp::Question::Elicit { message: "?".into(), schema: json!({}) };
                    let answers = call.ask("probe", &task_mcp_mcp::Questions::one("key", question)).await?;
                    Ok(Output::of(&json!({ "answer": answers.get("key") }))?)
                }
                Some("large") => Ok(Output::of(&"x".repeat(2_000))?),
                _ => Ok(Output::of(&json!({ "arguments": arguments, "run": self.runs.seen().0 }))?),
            };
            self.runs.ended.fetch_add(1, Ordering::AcqRel);
            output
        })
    }
}

/// An executor over three probes: `probe.read`, `probe.kept`, `probe.write`.
struct World {
    executor: Executor,
    scoreboard: Scoreboard,
    commons: Commons,
    runs: Arc<Runs>,
}

impl World {
    fn new() -> Self {
        let runs = Arc::new(Runs::default());
        let probe =
            |name, kept, writes| -> Arc<dyn Tool> { Arc::new(Probe { name, kept, writes, runs: Arc::clone(&runs) }) };
        let tools = vec![
            probe("probe.read", false, false),
            probe("probe.kept", true, false),
            probe("probe.write", false, true),
        ];
        let registry = Arc::new(Registry::of_tools(tools).unwrap());
        let names: Vec<&str> = registry.all().iter().map(|entry| entry.name.as_str()).collect();
        let (metrics, scoreboard) = metrics_with(&names, registry.error_codes());
        let commons = Commons::create().unwrap();
        let backing = backing(&scoreboard, &commons, &names, registry.error_codes());
        let executor = Executor::new(Arc::clone(&registry), LIMITS, metrics, backing);
        Self { executor, scoreboard, commons, runs }
    }

    async fn run(&self, name: &str, arguments: &str) -> Result<CallResult, ToolError> {
        run(&self.executor, name, arguments).await
    }
}

/// These tools have errors of their own only.
async fn run(executor: &Executor, name: &str, arguments: &str) -> Result<CallResult, ToolError> {
    executor.execute(&Call::new(Principal::anonymous()), name, arguments).await.outcome.map_err(Stop::into_error)
}
