//! What is counted of the protocol: sessions, streams, questions, tasks.

use task_mcp_scoreboard::{Counter, Gauge, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, series};
use crate::names;

/// What an event stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// `subscriptions/listen`.
    Listen,
    /// The stream of a legacy session.
    Session,
    /// One request that tells more than its answer.
    Request,
}

impl StreamKind {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Listen, "listen"), (Self::Session, "session"), (Self::Request, "request")];
}

/// What became of a question to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionOutcome {
    /// It was asked.
    Asked,
    /// It was answered.
    Answered,
    /// Its answer did not come in time, or the client left.
    Unanswered,
    /// What came was no answer to it: refused.
    Refused,
}

impl QuestionOutcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Asked, "asked"),
        (Self::Answered, "answered"),
        (Self::Unanswered, "unanswered"),
        (Self::Refused, "refused"),
    ];
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It was made.
    Created,
    /// It ended with a result.
    Completed,
    /// It ended with an error of the protocol.
    Failed,
    /// Its client gave it up.
    Cancelled,
    /// Its worker died, and another one began it anew.
    Resumed,
}

impl TaskOutcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Created, "created"),
        (Self::Completed, "completed"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
        (Self::Resumed, "resumed"),
    ];
}

/// A process's handles on the series of the protocol.
#[derive(Debug, Clone)]
pub struct McpMetrics {
    /// Sessions that began.
    pub sessions_begun: Counter,
    /// Sessions their clients ended.
    pub sessions_ended: Counter,
    /// Requests of sessions that are not, or no longer, known.
    pub sessions_unknown: Counter,
    streams: Vec<Gauge>,
    /// Messages sent on streams before an answer.
    pub messages: Counter,
    /// Streams that were cut because their client read too slowly.
    pub streams_cut: Counter,
    questions: Vec<Counter>,
    tasks: Vec<Counter>,
}

impl McpMetrics {
    /// Open streams of a kind.
    pub fn streams(&self, kind: StreamKind) -> Option<&Gauge> {
        self.streams.get(kind as usize)
    }

    /// Counts a question.
    pub fn question(&self, outcome: QuestionOutcome) {
        if let Some(counter) = self.questions.get(outcome as usize) {
            counter.add(1);
        }
    }

    /// Counts a task.
    pub fn task(&self, outcome: TaskOutcome) {
        if let Some(counter) = self.tasks.get(outcome as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn plan() -> Vec<Series> {
        let counter = |name| series(name, Kind::Counter, &[], false);
        let mut all =
            vec![counter(names::SESSIONS_BEGUN), counter(names::SESSIONS_ENDED), counter(names::SESSIONS_UNKNOWN)];
        all.extend(StreamKind::ALL.map(|(_, kind)| series(names::STREAMS_OPEN, Kind::Gauge, &[("kind", kind)], true)));
        all.extend([counter(names::STREAM_MESSAGES), counter(names::STREAMS_CUT)]);
        all.extend(
            QuestionOutcome::ALL
                .map(|(_, outcome)| series(names::QUESTIONS, Kind::Counter, &[("outcome", outcome)], true)),
        );
        all.extend(
            TaskOutcome::ALL.map(|(_, outcome)| series(names::TASKS, Kind::Counter, &[("outcome", outcome)], true)),
        );
        all
    }

    pub(crate) fn bind(binder: &mut Binder<'_>) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            sessions_begun: binder.counter()?,
            sessions_ended: binder.counter()?,
            sessions_unknown: binder.counter()?,
            streams: (0..StreamKind::ALL.len()).map(|_| binder.gauge()).collect::<Result<_, _>>()?,
            messages: binder.counter()?,
            streams_cut: binder.counter()?,
            questions: binder.counters(QuestionOutcome::ALL.len())?,
            tasks: binder.counters(TaskOutcome::ALL.len())?,
        })
    }
}
