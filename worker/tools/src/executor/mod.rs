//! The one path every call takes, whatever dialect it came in: authorise, limit the rate, validate, idempotency, cache, single
//! flight, deadline, run, store, answer.
//!
//! - `path`: the steps in their order; `validate`: arguments that fit the tool's schema; `keys`: what names a call
//! - `read`: calls that read: from the cache, with who computes the same, or by themselves, within the deadline
//! - `write`: calls that write: a task of its own, which ends though its caller has left
//! - `task`: calls that have become tasks: without a deadline, in turn, past the cache
//! - `once`: writes with an idempotency key; `record`: an answer as the ledger keeps it
//! - `outcome`: what calls came to; `refusals`: what callers are told
//!
//! The rate is limited by the public listener before it reads the body, because a refusal must cost less than a call; a
//! call that comes another way, as from a command line, has no rate.

mod keys;
mod once;
mod outcome;
mod path;
mod read;
mod record;
mod refusals;
mod task;
#[cfg(test)]
mod tests;
mod validate;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) use self::refusals::no_place_again;
pub use self::task::Turn;
use arc_swap::ArcSwap;
use task_mcp_cache::{Cache, Key};
use task_mcp_mcp::CallResult;
use task_mcp_state::{Bus, Ledger};
use task_mcp_telemetry::ToolMetrics;
use tokio::sync::watch;

use crate::error::ToolError;
use crate::registry::Registry;
use crate::stop::Stop;
use crate::tool::TaskSupport;

/// What one call may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a tool that only reads may take.
    pub deadline: Duration,
    /// Size of a result's JSON.
    pub response_bytes: usize,
    /// Calls of one tool that run in this process at the same time.
    pub concurrency: usize,
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

/// What the executor asks before it runs a tool, and tells afterwards.
#[derive(Debug, Clone)]
pub struct Backing {
    /// Names the data the tools work on; equal in all processes that share cache and ledger on the same data.
    pub store_id: String,
    /// Results of reads.
    pub cache: Cache,
    /// Answers of writes with an idempotency key.
    pub ledger: Ledger,
    /// Hears what writes have touched.
    pub bus: Bus,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The result; or why there is none, with a code of [`code::ALL`](crate::code::ALL) or of the tool's own.
    pub outcome: Result<CallResult, Stop>,
    /// Whether it is the answer an earlier call with the same idempotency key got.
    pub replayed: bool,
}

impl From<Result<CallResult, Stop>> for Answer {
    fn from(outcome: Result<CallResult, Stop>) -> Self {
        Self { outcome, replayed: false }
    }
}

impl From<ToolError> for Answer {
    fn from(error: ToolError) -> Self {
        Err(Stop::from(error)).into()
    }
}

/// Runs calls. One for each process, shared by its dialects. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Executor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    /// What the key of an entry begins with, by the tool's place.
    bases: Vec<Key>,
    limits: ArcSwap<Limits>,
    cut: watch::Sender<Cut>,
    metrics: ToolMetrics,
    backing: Backing,
    /// Writes that were begun and are not done.
    writes: Arc<AtomicUsize>,
}

impl Executor {
    /// An executor over `registry`; `metrics` was bound with the registry's names and codes in their order.
    pub fn new(registry: Arc<Registry>, limits: Limits, metrics: ToolMetrics, backing: Backing) -> Self {
        let bases = keys::bases(&registry, &backing.store_id);
        Self(Arc::new(Shared {
            registry,
            bases,
            limits: ArcSwap::from_pointee(limits),
            cut: watch::Sender::new(Cut::Nothing),
            metrics,
            backing,
            writes: Arc::default(),
        }))
    }

    /// Ends calls that are still running with [`SERVER_SHUTTING_DOWN`](crate::code::SERVER_SHUTTING_DOWN), so that their callers
    /// hear of it before the process ends. There is no way back.
    pub fn cut(&self, cut: Cut) {
        self.0.cut.send_if_modified(|now| {
            let more = *now < cut;
            *now = (*now).max(cut);
            more
        });
    }

    /// Calls that begin from now on may cost so much.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
    }

    /// Whether a tool of that name exists. A dialect asks first where an unknown tool is an error of the protocol.
    pub fn knows(&self, name: &str) -> bool {
        self.0.registry.get(name).is_some_and(|entry| entry.is_listed)
    }

    /// Whether a call of that tool may become a task.
    pub fn task_support(&self, name: &str) -> TaskSupport {
        self.0.registry.get(name).map_or(TaskSupport::Never, |entry| entry.tool.task())
    }

    /// Whether a task of that tool may be run again by another process.
    pub fn resumes(&self, name: &str) -> bool {
        self.0.registry.get(name).is_some_and(|entry| entry.tool.resumes())
    }

    /// Whether it changes nothing: then its caller's leaving ends it.
    pub fn is_read_only(&self, name: &str) -> bool {
        self.0.registry.get(name).is_some_and(|entry| entry.read_only)
    }

    /// Writes that were begun and are not done, whether somebody waits for them or not: a process that takes leave waits for
    /// this to be 0.
    pub fn unfinished(&self) -> usize {
        self.0.writes.load(Ordering::Acquire)
    }
}
