//! What a tool is.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use task_mcp_cache::Tag;
use task_mcp_mcp::{Content, ToolDescription};

use crate::call::Call;
use crate::error::ToolError;
use crate::stop::Stop;

/// A future on the heap, so that tools of many kinds fit one registry.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a tool answers: JSON text, serialised once. Every dialect wraps it and none parses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `structuredContent`; its text form is made of it unless there are blocks.
    pub(crate) structured: Option<String>,
    /// `content`, a JSON list.
    pub(crate) blocks: Option<String>,
    pub(crate) is_error: bool,
    /// What a write has touched beside the tool's tags.
    pub(crate) touched: Vec<Tag>,
}

impl Output {
    /// Serialises an answer.
    ///
    /// # Errors
    /// [`code::INTERNAL_ERROR`](crate::code::INTERNAL_ERROR) if the value cannot be JSON.
    pub fn of(value: &impl Serialize) -> Result<Self, ToolError> {
        Ok(Self { structured: Some(json(value)?), blocks: None, is_error: false, touched: Vec::new() })
    }

    /// Blocks of content without a structured form. Such results are answered, and never kept in the cache.
    ///
    /// # Errors
    /// As [`Output::of`].
    pub fn blocks(blocks: &[Content]) -> Result<Self, ToolError> {
        let blocks: Vec<Value> = blocks.iter().map(Content::to_json).collect();
        Ok(Self { structured: None, blocks: Some(json(&blocks)?), is_error: false, touched: Vec::new() })
    }

    /// The same of a write that has touched these too, which its arguments alone did not tell. They are bumped with
    /// [`Tool::tags`].
    pub fn touching(self, tags: Vec<Tag>) -> Self {
        Self { touched: tags, ..self }
    }

    /// The same as the answer of a tool that failed: for a failure that has no code of its own.
    pub fn failed(self) -> Self {
        Self { is_error: true, ..self }
    }
}

fn json(value: &impl Serialize) -> Result<String, ToolError> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(error = %error, "An answer cannot be serialised.");
        ToolError::internal()
    })
}

/// Whether a call of a tool may become a task (tasks extension): work its client asks after instead of waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskSupport {
    /// It never does.
    Never,
    /// It does if its client can take one.
    Optional,
    /// It always does: a client that cannot take one is refused.
    Required,
}

/// Whether results of a tool that reads are kept for other calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachePolicy {
    /// Every call runs the tool.
    Off,
    /// A result is answered again as long as nothing of its tags has changed.
    On {
        /// Who may get it.
        partition: Partition,
        /// How long it is kept; `None` is `cache.ttl_s`.
        ttl: Option<Duration>,
        /// Whether it may be answered for `cache.stale_s` more while it is computed anew.
        stale: bool,
        /// Codes of errors that are facts as results are, and are kept for `cache.negative_ttl_s`.
        facts: &'static [&'static str],
    },
}

/// Who may get a result that was computed for another call with the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// Everybody whose scopes the tool admits: nothing of the caller has entered it.
    Public,
    /// The same principal of the same tenant, with the same scopes.
    Private,
}

/// What is known of the deeds of a write that ended in an error; it decides what a repeat under the same idempotency key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// The tool has said no: the same error again.
    Refused,
    /// Nothing was done, and the same call may be run at another time: it is.
    NothingDone,
    /// It broke off somewhere: that the outcome is not known.
    Unknown,
}

/// One tool.
pub trait Tool: Send + Sync + 'static {
    /// What `tools/list` shows: name, schemas and hints.
    fn describe(&self) -> ToolDescription;

    /// The codes its own errors carry.
    fn error_codes(&self) -> &'static [&'static str];

    /// What an error of a write with this code says of what was done.
    fn aftermath(&self, code: &str) -> Aftermath {
        let _ = code;
        Aftermath::Refused
    }

    /// Scopes a principal must hold, all of them.
    fn scopes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Version of its behaviour: raised when the same arguments come to another result, so that no older one is answered.
    fn version(&self) -> u32 {
        1
    }

    /// Whether its results are kept. Of a tool that writes, nothing is.
    fn cache(&self) -> CachePolicy {
        CachePolicy::Off
    }

    /// The same for these arguments, where it depends on them. They fit the input schema.
    fn cache_for(&self, arguments: &Value) -> CachePolicy {
        let _ = arguments;
        self.cache()
    }

    /// What the result of a read depends on, or what a write may change; a write that breaks off may have changed everything. The
    /// arguments fit the input schema.
    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        let _ = arguments;
        Vec::new()
    }

    /// Whether a call may become a task.
    fn task(&self) -> TaskSupport {
        TaskSupport::Never
    }

    /// Asks what the client must be asked before a task is made of its call, with [`Call::ask`]: the specification wants such
    /// questions answered by requests of the call itself. The task is made when this returns `Ok`, and its
    /// [`call`](Tool::call) gets the same answers at once when it asks the same questions about the same. It changes nothing, and an
    /// error is the answer to the call.
    ///
    /// Source: tasks extension, revision 2026-07-28, "Task Creation".
    fn before_task<'a>(&'a self, call: &'a Call, arguments: &'a Value) -> BoxFuture<'a, Result<(), Stop>> {
        let _ = (call, arguments);
        Box::pin(async { Ok(()) })
    }

    /// Whether a task whose worker died may be run again from its beginning, with what its client has answered so far.
    fn resumes(&self) -> bool {
        false
    }

    /// Whether it sends log messages to its client. That is declared to clients of 2026-07-28, where new servers should not.
    fn logs(&self) -> bool {
        false
    }

    /// Runs one call. The arguments fit the input schema; the output fits the output schema.
    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>>;
}
