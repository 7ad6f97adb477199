//! Questions that come over the control socket and are for the admin process: they are handed on as they are, and whoever asked gets
//! its answer, or hears in time that there is none.

use std::collections::BTreeMap;

use serde_json::Value;
use task_mcp_link::ToProcess;
use task_mcp_scoreboard::monotonic_ms;

use crate::control::{Awaits, Response};
use crate::run::Supervisor;
use crate::step::Post;

/// How long the admin process may take for an answer, in milliseconds.
const ANSWER_MS: u64 = 30_000;

/// Questions without an answer; as many as clients may wait.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    last_id: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// The process that was asked.
    generation: u64,
    deadline_ms: u64,
}

impl Supervisor {
    /// Asks the admin process on behalf of a client.
    pub(crate) fn ask(&mut self, client: u64, question: &Value) {
        // The youngest, should there be two.
        let admin = self.processes.iter_mut().rev();
        let mut admin =
            admin.filter(|(_, process)| process.post == Post::Admin && process.is_ready && process.link.is_some());
        let Some((generation, process)) = admin.next() else {
            return self.no_answer_to(client, "The admin process does not serve at the moment; try again.");
        };
        let id = self.questions.last_id + 1;
        if process.tell(&ToProcess::Ask { id, question: question.to_string() }, &[]).is_err() {
            return self.no_answer_to(client, "The admin process cannot be asked at the moment; try again.");
        }
        let deadline_ms = monotonic_ms().saturating_add(ANSWER_MS);
        self.questions.last_id = id;
        if self.control.await_for(client, Awaits::Answer { id }) {
            self.questions.open.insert(id, Open { generation: *generation, deadline_ms });
        }
    }

    /// Hands an answer to who waits for it.
    pub(crate) fn answered(&mut self, id: u64, answer: &str) {
        if self.questions.open.remove(&id).is_none() {
            return;
        }
        let response = serde_json::from_str(answer).map_or_else(
            |_| failed("The answer of the admin process cannot be understood."),
            |answer| Response::Answer { answer },
        );
        self.control.fulfil(|awaits| awaits == Awaits::Answer { id }, &response);
    }

    /// Whom a process that ended owes an answer.
    pub(crate) fn forget_questions(&mut self, generation: u64) {
        self.close_questions(
            |open| open.generation == generation,
            "The admin process ended before it answered; whether it was done is not known.",
        );
    }

    /// Whom nobody answered in time.
    pub(crate) fn expire_questions(&mut self) {
        let now_ms = monotonic_ms();
        let reason =
            format!("The admin process did not answer within {ANSWER_MS} ms; whether it was done is not known.");
        self.close_questions(|open| open.deadline_ms <= now_ms, &reason);
    }

    /// Whoever waited when the program was replaced.
    pub(crate) fn give_up_questions(&mut self) {
        let response = failed("The instance went on with another program meanwhile; whether it was done is not known.");
        self.control.fulfil(|awaits| matches!(awaits, Awaits::Answer { .. }), &response);
    }

    fn close_questions(&mut self, which: impl Fn(&Open) -> bool, reason: &str) {
        let closed: Vec<u64> = self.questions.open.iter().filter(|(_, open)| which(open)).map(|(id, _)| *id).collect();
        for id in closed {
            self.questions.open.remove(&id);
            self.control.fulfil(|awaits| awaits == Awaits::Answer { id }, &failed(reason));
        }
    }

    fn no_answer_to(&mut self, client: u64, reason: &str) {
        self.control.answer(client, &failed(reason));
    }
}

fn failed(reason: &str) -> Response {
    Response::Failed { reason: reason.to_owned() }
}
