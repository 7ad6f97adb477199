//! Questions that end a request: the client answers with the next one, at any worker.
//!
//! Between two rounds the server remembers nothing: `requestState` holds, sealed, what was answered and what was asked. A client's
//! responses count only for questions that its state says were asked, about the same state of things. A state is bound to
//! principal, method, name and arguments, and ends with `tools.ask_timeout_s`.
//!
//! What writes takes answers with a state only, and does so once for all states of a call: they share the nonce of the first, because a
//! round that its client sends again leads to further states. It is used up when answers are handed to the call, and given back when the
//! call says that nothing was done, so that its client may send the round again. After the call was done, none of its states is taken.
//! A call that is not run at all, as the repeat of one with an idempotency key, uses nothing up. What only reads takes responses
//! without a state too.
//!
//! `claims`: what a state holds, and what it is bound to.
//!
//! Source: specification 2026-07-28, "Multi Round-Trip Requests".

mod claims;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use task_mcp_mcp::sealed::{Keyring, Round, SealError, random_id};
use task_mcp_mcp::{Answers, Engine, Invocation, Question, Questions, Reply, Request, RpcError, Unanswered, shown};
use task_mcp_scoreboard::unix_ms;
use task_mcp_telemetry::QuestionOutcome;
use task_mcp_tools::check_answer;
use tokio::sync::Mutex as AsyncMutex;

use self::claims::{Held, Kept, bound, digest, invocation, refused, tag};
use super::client::Client;
use super::desk::Desk;
use crate::sessions::CLOCKS_DIFFER;

/// How often one call may ask: more than a person puts up with, so a call that asks again and again comes to an end.
const ROUNDS_MAX: u32 = 64;

/// What the client has answered so far.
#[derive(Debug)]
pub(crate) struct Rounds {
    desk: Arc<Desk>,
    /// Answers that came with earlier rounds.
    earlier: BTreeMap<String, Kept>,
    /// Responses of this round.
    responses: Map<String, Value>,
    takes: Takes,
    /// What this round has taken, for the next one.
    taken: Mutex<BTreeMap<String, Kept>>,
    /// Which round of the call this is, from 1.
    number: u32,
    /// What the states of this call share; `None` before the first.
    nonce: Option<[u8; 16]>,
}

/// Which responses count.
#[derive(Debug)]
enum Takes {
    /// None: what writes was not asked anything yet.
    None,
    /// All: what reads was sent answers in advance.
    All,
    /// Those to the questions of the state.
    Asked {
        open: Vec<String>,
        /// What the questions are about.
        about: String,
        /// Of what writes.
        once: Option<Once>,
    },
}

/// A call that is done once, whichever of its states it goes on from.
#[derive(Debug)]
struct Once {
    nonce: String,
    /// For so long nobody else may use it: no state of the call lives longer.
    ttl: Duration,
    is_used: AsyncMutex<bool>,
}

impl Rounds {
    /// What came with a request; `None` if it is of a method that asks nothing. A client has to answer within `lasts`; `writes` tells
    /// whether the call may change something.
    ///
    /// # Errors
    /// The state or the responses are not accepted.
    pub(crate) fn open(
        desk: &Arc<Desk>,
        (keys, lasts): (&Keyring, Duration),
        request: &Request<'_>,
        client: &Client,
        writes: bool,
    ) -> Result<Option<Self>, RpcError> {
        let Some(call) = invocation(request) else { return Ok(None) };
        let opened = Self::opened(desk, (keys, lasts), request, call, client, writes);
        if opened.is_err() {
            desk.metrics.question(QuestionOutcome::Refused);
        }
        opened.map(Some)
    }

    fn opened(
        desk: &Arc<Desk>,
        (keys, lasts): (&Keyring, Duration),
        request: &Request<'_>,
        call: &Invocation<'_>,
        client: &Client,
        writes: bool,
    ) -> Result<Self, RpcError> {
        let responses = match call.responses {
            None => Map::new(),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| RpcError::invalid_params("the field `params.inputResponses` must be an object"))?,
        };
        let (desk, taken) = (Arc::clone(desk), Mutex::default());
        let Some(state) = &call.state else {
            let takes = if writes { Takes::None } else { Takes::All };
            return Ok(Self { desk, earlier: BTreeMap::new(), responses, takes, taken, number: 1, nonce: None });
        };
        let digest = digest(call)?;
        let now_ms = unix_ms();
        let bound = bound(request, call, client, &digest);
        let round = keys.open_round(state.as_bytes(), bound, now_ms).map_err(|error| {
            tracing::debug!(error = %error, "A state of a call was refused.");
            refused(error)
        })?;
        let held: Held = serde_json::from_str(&round.answers).map_err(|_| refused(SealError::Form))?;
        let once = writes.then(|| Once {
            nonce: format!("round/{:032x}", u128::from_be_bytes(round.nonce)),
            // Another state of the call may have been made a moment ago.
            ttl: lasts
                .max(Duration::from_millis(round.expires_ms.saturating_sub(now_ms)))
                .saturating_add(CLOCKS_DIFFER),
            is_used: AsyncMutex::new(false),
        });
        let takes = Takes::Asked { open: held.open, about: round.document_tag, once };
        let (number, nonce) = (round.number, Some(round.nonce));
        Ok(Self { desk, earlier: held.answers, responses, takes, taken, number, nonce })
    }

    /// The answers that are there; or what is to be asked.
    pub(crate) async fn ask(&self, about: &str, questions: &Questions) -> Result<Answers, Unanswered> {
        let tag = tag(about);
        let mut answers = Answers::new();
        for (key, question) in questions.iter() {
            if let Some(answer) = self.answer(key, &tag, question)? {
                answers.insert(key.to_owned(), answer);
            }
        }
        let open = questions.filtered(|key| !answers.contains_key(key));
        // Of a call that was done, no further state may come: it would outlive the memory that the call was done.
        self.use_up().await?;
        match open.is_empty() {
            true => Ok(answers),
            false => Err(Unanswered::NotYet { about: about.to_owned(), questions: open }),
        }
    }

    /// The answer to one question, if there is one that counts.
    fn answer(&self, key: &str, about: &str, question: &Question) -> Result<Option<Value>, Unanswered> {
        let earlier = self.earlier.get(key).filter(|kept| kept.about == about);
        // What was good for an earlier version of the tool may not be for this one: it is asked again.
        let answer = match earlier.filter(|kept| check_answer(question, &kept.answer).is_ok()) {
            Some(kept) => kept.answer.clone(),
            None => {
                let Some(response) = self.responses.get(key).filter(|_| self.counts(key, about)) else {
                    return Ok(None);
                };
                check_answer(question, response).map_err(|problem| {
                    self.desk.metrics.question(QuestionOutcome::Refused);
                    Unanswered::Invalid(format!("the field `params.inputResponses.{}`: {problem}", shown(key)))
                })?;
                self.desk.metrics.question(QuestionOutcome::Answered);
                response.clone()
            }
        };
        self.taken().insert(key.to_owned(), Kept { about: about.to_owned(), answer: answer.clone() });
        Ok(Some(answer))
    }

    fn counts(&self, key: &str, asked_about: &str) -> bool {
        match &self.takes {
            Takes::None => false,
            Takes::All => true,
            Takes::Asked { open, about, .. } => about == asked_about && open.iter().any(|open| open == key),
        }
    }

    /// Uses the states of the call up, before it does anything by its answers.
    async fn use_up(&self) -> Result<(), Unanswered> {
        let Takes::Asked { once: Some(once), .. } = &self.takes else { return Ok(()) };
        let mut is_used = once.is_used.lock().await;
        if *is_used {
            return Ok(());
        }
        match self.desk.nonces.use_once(&once.nonce, once.ttl).await {
            Ok(true) => {
                *is_used = true;
                Ok(())
            }
            Ok(false) => {
                self.desk.metrics.question(QuestionOutcome::Refused);
                let text = "the field `params.requestState` was used before: look whether the call was done; to do it once more, send \
                            it without `requestState` and `inputResponses`";
                Err(Unanswered::Invalid(text.to_owned()))
            }
            Err(error) => {
                tracing::debug!(error = %error, "Whether the state of a call was used before is not known.");
                Err(Unanswered::Unavailable)
            }
        }
    }

    /// Nothing was done: the states may be used again.
    pub(crate) async fn give_back(&self) {
        let Takes::Asked { once: Some(once), .. } = &self.takes else { return };
        let mut is_used = once.is_used.lock().await;
        // If it stays used, the client is asked once more.
        if *is_used && self.desk.nonces.give_back(&once.nonce).await.is_ok() {
            *is_used = false;
        }
    }

    /// The answer that asks; the client has to answer within `lasts`.
    pub(crate) fn required(
        &self,
        engine: &Engine,
        (keys, lasts): (&Keyring, Duration),
        request: &Request<'_>,
        client: &Client,
        about: &str,
        questions: &Questions,
    ) -> Reply {
        if let Some(missing) = questions.beyond(client.capabilities) {
            return Reply::refusal(request, RpcError::missing_capability(missing));
        }
        match self.next((keys, lasts), request, client, about, questions) {
            Ok(state) => {
                questions.iter().for_each(|_| self.desk.metrics.question(QuestionOutcome::Asked));
                let object = json!({ "inputRequests": questions.to_json(), "requestState": state });
                Reply::of_object(engine, request, "input_required", object.to_string().as_bytes())
            }
            Err(error) => Reply::refusal(request, error),
        }
    }

    /// The state of the next round.
    fn next(
        &self,
        (keys, lasts): (&Keyring, Duration),
        request: &Request<'_>,
        client: &Client,
        about: &str,
        questions: &Questions,
    ) -> Result<String, RpcError> {
        if self.number > ROUNDS_MAX {
            return Err(RpcError::invalid_params(format!(
                "the call has asked {ROUNDS_MAX} times, which is the limit: send it again without `requestState` and \
                 `inputResponses`, with what it asks for in its arguments"
            )));
        }
        let call = invocation(request).ok_or_else(|| RpcError::internal("this method asks its client nothing"))?;
        let digest = digest(call)?;
        let answers = self.taken().clone();
        let held = Held { answers, open: questions.iter().map(|(key, _)| key.to_owned()).collect() };
        let unsealed = |error: SealError| match error {
            SealError::TooLong { .. } => RpcError::invalid_params(format!(
                "the call cannot be continued, because {error}: answer with less, or shorten what the call is about"
            )),
            _ => RpcError::internal("the call cannot be continued"),
        };
        let round = Round {
            document_tag: tag(about),
            answers: serde_json::to_string(&held).unwrap_or_default(),
            nonce: self.nonce.map_or_else(random_id, Ok).map_err(unsealed)?,
            expires_ms: unix_ms().saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX)),
            number: self.number.saturating_add(1),
        };
        keys.seal_round(bound(request, call, client, &digest), &round).map_err(unsealed)
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
