//! What operators ask the admin process through the control socket (`task-mcp ctl cache …`). The supervisor hands question and answer
//! on as they are.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use task_mcp_cache::Cache;
use task_mcp_link::{ANSWER_BYTES_MAX, FromProcess, told};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long an answer may take: the supervisor waits a little longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);
/// Questions that are worked on at the same time; more are refused.
const QUESTIONS_MAX: usize = 8;
/// Entries of one answer.
const ENTRIES_MAX: usize = 100;

/// A question about the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cache", rename_all = "snake_case", deny_unknown_fields)]
pub enum CacheQuestion {
    /// What it holds and how it is.
    Stats,
    /// Entries whose key or name matches a pattern, 100 at most.
    Get {
        /// `*` stands for anything, `?` for one character.
        pattern: String,
    },
    /// Take the results that depend on a tag as untrue.
    InvalidateTag {
        /// The tag.
        tag: String,
    },
    /// Remove the entries whose key or name matches a pattern.
    InvalidatePattern {
        /// As in `get`.
        pattern: String,
    },
    /// Remove all entries.
    Flush,
}

/// The answer to a question about the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CacheAnswer {
    /// To `stats`.
    Stats {
        /// What the cache says of itself.
        stats: Value,
    },
    /// To `get`.
    Entries {
        /// What the cache says of each.
        entries: Vec<Value>,
        /// Whether there may be others.
        more: bool,
    },
    /// The results that depend on the tag are not answered any more.
    Invalidated {
        /// The tag.
        tag: String,
    },
    /// Entries were removed.
    Removed {
        /// How many there were.
        entries: u64,
    },
    /// It was not done.
    Failed {
        /// Why, as a sentence.
        reason: String,
    },
}

/// Works on questions beside everything else.
pub(super) struct Questions {
    cache: Cache,
    answers: mpsc::Sender<FromProcess>,
    done: mpsc::Receiver<FromProcess>,
}

impl Questions {
    pub(super) fn new(cache: Cache) -> Self {
        let (answers, done) = mpsc::channel(QUESTIONS_MAX);
        Self { cache, answers, done }
    }

    /// Begins to work on a question; its answer comes from [`Self::next_answer`], unless too many are worked on.
    pub(super) fn ask(&self, id: u64, question: &str) -> Option<FromProcess> {
        let Ok(question) = serde_json::from_str::<CacheQuestion>(question) else {
            return Some(answered(id, &failed("This version of the admin process does not know the question.")));
        };
        let Ok(room) = self.answers.clone().try_reserve_owned() else {
            return Some(answered(id, &failed("The admin process works on other questions; try again.")));
        };
        let cache = self.cache.clone();
        actix_web::rt::spawn(async move {
            let answer = timeout(ANSWER_LIMIT, answer(&cache, question)).await;
            let answer = answer
                .unwrap_or_else(|_| failed("The cache has not answered in time; whether it was done is not known."));
            room.send(answered(id, &answer));
        });
        None
    }

    /// The next answer. Cancel-safe.
    pub(super) async fn next_answer(&mut self) -> FromProcess {
        match self.done.recv().await {
            Some(answer) => answer,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }
}

async fn answer(cache: &Cache, question: CacheQuestion) -> CacheAnswer {
    match question {
        CacheQuestion::Stats => CacheAnswer::Stats { stats: json(&cache.stats().await) },
        CacheQuestion::Get { pattern } => match cache.inspect(&pattern, ENTRIES_MAX + 1).await {
            Ok(found) => {
                let more = found.len() > ENTRIES_MAX;
                CacheAnswer::Entries { entries: found.iter().take(ENTRIES_MAX).map(json).collect(), more }
            }
            Err(error) => failed(&told(&error)),
        },
        CacheQuestion::InvalidateTag { tag } => {
            cache.invalidate_tag(&tag).await;
            CacheAnswer::Invalidated { tag }
        }
        CacheQuestion::InvalidatePattern { pattern } => removed(cache.invalidate_pattern(&pattern).await),
        CacheQuestion::Flush => removed(cache.flush().await),
    }
}

fn removed(outcome: Result<u64, task_mcp_cache::CacheError>) -> CacheAnswer {
    match outcome {
        Ok(entries) => CacheAnswer::Removed { entries },
        Err(error) => failed(&told(&error)),
    }
}

/// The message with what an entry of it holds, as far as it fits.
fn answered(id: u64, answer: &CacheAnswer) -> FromProcess {
    let mut text = json(answer).to_string();
    if let CacheAnswer::Entries { entries, .. } = answer {
        let mut left = entries.len();
        while text.len() > ANSWER_BYTES_MAX && left > 0 {
            left /= 2;
            let some = entries.iter().take(left).cloned().collect();
            text = json(&CacheAnswer::Entries { entries: some, more: true }).to_string();
        }
    }
    FromProcess::Answered { id, answer: text }
}

fn json(value: &impl Serialize) -> Value {
    // Nothing here has keys that are no strings.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn failed(reason: &str) -> CacheAnswer {
    CacheAnswer::Failed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
    use task_mcp_telemetry::{Metrics, plan};

    use super::*;

    #[test]
    fn a_question_too_many_is_refused_at_once_and_the_others_are_answered() {
        actix_web::rt::System::new().block_on(async {
            let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).unwrap();
            let metrics = Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
            let mut questions = Questions::new(Cache::none(&Commons::create().unwrap(), metrics.cache));
            let refused =
                |answer| matches!(answer, Some(FromProcess::Answered { answer, .. }) if answer.contains("failed"));
            let stats = r#"{"cache":"stats"}"#;
            for id in 0..QUESTIONS_MAX as u64 {
                assert_eq!(questions.ask(id, stats), None);
            }
            assert!(refused(questions.ask(99, stats)), "nobody has worked on any of them yet");
            for _ in 0..QUESTIONS_MAX {
                assert!(matches!(questions.next_answer().await, FromProcess::Answered { id: 0..8, .. }));
            }
            assert_eq!(questions.ask(100, stats), None);
            assert!(matches!(questions.next_answer().await, FromProcess::Answered { id: 100, .. }));
            assert!(refused(questions.ask(101, r#"{"cache":"explode"}"#)));
        });
    }

    #[test]
    fn an_answer_that_is_too_long_has_fewer_entries_and_says_so() {
        let entries = (0..100).map(|_| Value::String("x".repeat(9_000))).collect();
        let FromProcess::Answered { answer, .. } = answered(1, &CacheAnswer::Entries { entries, more: false }) else {
            panic!("an answer");
        };
        assert!(answer.len() <= ANSWER_BYTES_MAX);
        let CacheAnswer::Entries { entries, more } = serde_json::from_str(&answer).unwrap() else { panic!("entries") };
        assert!(more && entries.len() == 25, "{}", entries.len());
    }
}
