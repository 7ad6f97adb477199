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
#[derive(Debug)]
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

impl Questions {
    /// None yet. Numbers begin above those of a program before this one, whose questions may still be answered.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { last_id: now_ms << 20, open: BTreeMap::new() }
    }

    /// A question for a process; its number.
    fn begin(&mut self, generation: u64, now_ms: u64) -> u64 {
        self.last_id += 1;
        self.open.insert(self.last_id, Open { generation, deadline_ms: now_ms.saturating_add(ANSWER_MS) });
        self.last_id
    }

    /// Whether the process owes this answer; it does not any more.
    fn end(&mut self, id: u64, generation: u64) -> bool {
        let owes = self.open.get(&id).is_some_and(|open| open.generation == generation);
        if owes {
            self.open.remove(&id);
        }
        owes
    }

    /// Takes those away that nobody will answer.
    fn close(&mut self, which: impl Fn(&Open) -> bool) -> Vec<u64> {
        self.open.extract_if(.., |_, open| which(open)).map(|(id, _)| id).collect()
    }

    fn close_over(&mut self, now_ms: u64) -> Vec<u64> {
        self.close(|open| open.deadline_ms <= now_ms)
    }
}

impl Supervisor {
    /// Asks the admin process on behalf of a client.
    pub(crate) fn ask(&mut self, client: u64, question: &Value) {
        // The youngest, should there be two.
        let mut admin = self.processes.iter().rev().filter(|(_, process)| process.post == Post::Admin);
        let admin = admin.find(|(_, process)| process.is_ready && process.link.is_some());
        let Some(generation) = admin.map(|(generation, _)| *generation) else {
            let reason = "The admin process does not serve at the moment; try again.";
            return self.control.answer(client, &failed(reason));
        };
        let id = self.questions.begin(generation, monotonic_ms());
        // First, for nothing is to be done for a client that is refused.
        if !self.control.await_for(client, Awaits::Answer { id }) {
            self.questions.end(id, generation);
            return;
        }
        let ask = ToProcess::Ask { id, question: question.to_string() };
        let told = self.processes.get_mut(&generation).is_some_and(|process| process.tell(&ask, &[]).is_ok());
        if !told {
            self.questions.end(id, generation);
            self.no_answer(&[id], "The admin process cannot be asked at the moment; try again.");
        }
    }

    /// Hands an answer of a process to who waits for it.
    pub(crate) fn answered(&mut self, from: u64, id: u64, answer: &str) {
        if !self.questions.end(id, from) {
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
        let closed = self.questions.close(|open| open.generation == generation);
        self.no_answer(&closed, "The admin process ended before it answered; whether it was done is not known.");
    }

    /// Whom nobody answered in time.
    pub(crate) fn expire_questions(&mut self) {
        let closed = self.questions.close_over(monotonic_ms());
        if !closed.is_empty() {
            let reason = "The admin process did not answer within";
            self.no_answer(&closed, &format!("{reason} {ANSWER_MS} ms; whether it was done is not known."));
        }
    }

    /// Whoever waited when the program was replaced.
    pub(crate) fn give_up_questions(&mut self) {
        let response = failed("The instance went on with another program meanwhile; whether it was done is not known.");
        self.control.fulfil(|awaits| matches!(awaits, Awaits::Answer { .. }), &response);
    }

    fn no_answer(&mut self, questions: &[u64], reason: &str) {
        for id in questions {
            self.control.fulfil(|awaits| awaits == Awaits::Answer { id: *id }, &failed(reason));
        }
    }
}

fn failed(reason: &str) -> Response {
    Response::Failed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_open_until_its_process_answers_or_its_time_is_over() {
        let mut questions = Questions::new(5);
        let [first, second, third] = [(7, 1_000), (7, 1_500), (8, 1_500)].map(|(of, at)| questions.begin(of, at));
        assert!(!questions.end(first, 8), "another process");
        assert!(questions.end(first, 7) && !questions.end(first, 7));
        assert!(questions.close_over(1_499 + ANSWER_MS).is_empty());
        assert_eq!(questions.close_over(1_500 + ANSWER_MS), [second, third]);
        assert!(!questions.end(second, 7), "it comes too late");
        assert!(Questions::new(6).begin(7, 0) > third, "a program later has other numbers");
    }
}
