//! What the record of a task says beyond its status: the call, what its client was asked, what it came to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use task_mcp_mcp::{Answers, ClientCapabilities, Question, Questions, RpcError};
use task_mcp_state::{Task, TaskStatus};
use task_mcp_tools::{IdempotencyKey, Principal, Scopes, check_answer};

use super::owner;
use crate::exchange::client::Client;

/// Most questions of one task: each is kept until the task is forgotten, so that none of its keys is used again.
const QUESTIONS_MAX: usize = 256;
/// Workers that may die over a task. One that kills its worker each time must not kill all of them for ever.
const DEATHS_MAX: u32 = 3;

/// A task's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    /// Name of the tool.
    pub(super) tool: String,
    /// JSON text, as its client wrote it.
    pub(super) arguments: String,
    pub(super) caller: Caller,
    /// Whether it may be run again from its beginning.
    pub(super) resumes: bool,
    /// Workers that died over it.
    pub(super) deaths: u32,
    /// A run of it that writes has begun, so that something may have been done.
    #[serde(default)]
    pub(super) has_begun: bool,
    /// Its client has given it up.
    pub(super) is_given_up: bool,
    /// What its client is told of how it stands.
    pub(super) message: Option<String>,
    pub(super) asked: Vec<Asked>,
    /// The result, or the error of the protocol.
    pub(super) outcome: Option<Value>,
}

/// Who called, as far as a worker has to know that runs the task again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Caller {
    name: String,
    tenant: Option<String>,
    scopes: Scopes,
    capabilities: u16,
    idempotency: Option<String>,
}

/// A question to the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// Its key for the client: never that of another question of the task.
    key: String,
    /// Its key for the tool.
    name: String,
    about: String,
    request: Value,
    answer: Option<Value>,
    /// It waits for its answer. What is neither open nor answered was replaced by another one.
    is_open: bool,
}

/// A task asks more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyQuestions;

impl Caller {
    pub(super) fn of(client: &Client) -> Self {
        let Client { principal, capabilities, idempotency, .. } = client;
        Self {
            name: principal.name().to_owned(),
            tenant: principal.tenant().map(str::to_owned),
            scopes: principal.scopes().clone(),
            capabilities: capabilities.bits(),
            idempotency: idempotency.as_ref().map(|key| key.as_str().to_owned()),
        }
    }

    pub(super) fn principal(&self) -> Principal {
        Principal::of(&self.name, self.tenant.as_deref(), self.scopes.clone())
    }

    pub(super) fn owner(&self) -> String {
        owner(&self.principal())
    }

    pub(super) fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::from_bits(self.capabilities)
    }

    pub(super) fn idempotency(&self) -> Option<IdempotencyKey> {
        IdempotencyKey::parse(self.idempotency.as_deref()?).ok()
    }
}

impl Work {
    /// That of a record; `None` if this version did not write it.
    pub(super) fn of(task: &Task) -> Option<Self> {
        Self::of_json(task.data.clone())
    }

    fn of_json(data: Value) -> Option<Self> {
        serde_json::from_value(data).ok()
    }

    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// How a task of this work stands that is not at its end.
    pub(super) fn status(&self) -> TaskStatus {
        match self.asked.iter().any(|asked| asked.is_open) {
            true => TaskStatus::InputRequired,
            false => TaskStatus::Working,
        }
    }

    /// Whether another worker may run it after its own died.
    pub(super) fn may_resume(&self) -> bool {
        self.resumes && self.deaths < DEATHS_MAX
    }

    /// What was asked and answered before the task was made.
    pub(super) fn answered_before(&mut self, about: &str, questions: &Questions, answers: &Answers) {
        for (name, question) in questions.iter() {
            let (key, request, answer) = (self.fresh_key(name), question.to_json(), answers.get(name).cloned());
            self.asked.push(Asked {
                key,
                name: name.to_owned(),
                about: about.to_owned(),
                request,
                answer,
                is_open: false,
            });
        }
    }

    /// Sees to it that these questions are asked. One that was asked about another state is asked again, under another key.
    pub(super) fn ask(&mut self, about: &str, questions: &Questions) -> Result<(), TooManyQuestions> {
        for (name, question) in questions.iter() {
            let request = question.to_json();
            if self.find(about, name, &request).is_some() {
                continue;
            }
            if self.asked.len() >= QUESTIONS_MAX {
                return Err(TooManyQuestions);
            }
            self.asked.iter_mut().filter(|asked| asked.name == name).for_each(|asked| asked.is_open = false);
            let key = self.fresh_key(name);
            let (name, about) = (name.to_owned(), about.to_owned());
            self.asked.push(Asked { key, name, about, request, answer: None, is_open: true });
        }
        Ok(())
    }

    /// All answers to these questions; `None` as long as one is missing.
    pub(super) fn answers(&self, about: &str, questions: &Questions) -> Option<Answers> {
        let answer = |(name, question): (&str, &Question)| {
            let answer = self.find(about, name, &question.to_json())?.answer.clone()?;
            Some((name.to_owned(), answer))
        };
        questions.iter().map(answer).collect()
    }

    /// Takes answers to open questions; others are ignored. How many it took.
    ///
    /// # Errors
    /// -32602: one is no answer to its question; none is taken.
    pub(super) fn take_answers(&mut self, answers: &Map<String, Value>) -> Result<usize, RpcError> {
        let mut taken = Vec::new();
        for (index, asked) in self.asked.iter().enumerate().filter(|(_, asked)| asked.is_open) {
            let Some(answer) = answers.get(&asked.key) else { continue };
            if let Some(problem) = problem(&asked.request, answer) {
                let field = format!("params.inputResponses[{}]", Value::from(asked.key.as_str()));
                return Err(RpcError::invalid_params(format!("the field `{field}`: {problem}")));
            }
            taken.push((index, answer.clone()));
        }
        let count = taken.len();
        for (index, answer) in taken {
            if let Some(asked) = self.asked.get_mut(index) {
                (asked.answer, asked.is_open) = (Some(answer), false);
            }
        }
        Ok(count)
    }

    /// The open questions by key, as `inputRequests` holds them.
    pub(super) fn open_requests(&self) -> Map<String, Value> {
        let open = self.asked.iter().filter(|asked| asked.is_open);
        open.map(|asked| (asked.key.clone(), asked.request.clone())).collect()
    }

    /// It has come to its end: what nobody needs any more is not kept.
    pub(super) fn end(&mut self, message: Option<String>, outcome: Option<Value>) {
        self.message = message;
        self.outcome = outcome;
        self.arguments.clear();
        self.asked.clear();
    }

    fn find(&self, about: &str, name: &str, request: &Value) -> Option<&Asked> {
        let is_it = |asked: &&Asked| asked.name == name && asked.about == about && &asked.request == request;
        self.asked.iter().filter(|asked| asked.is_open || asked.answer.is_some()).find(is_it)
    }

    /// A key that the task has not used: the tool's own, if it can be.
    fn fresh_key(&self, name: &str) -> String {
        let is_free = |key: &str| self.asked.iter().all(|asked| asked.key != key);
        let numbered = (2..).map(|number: usize| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|key| is_free(key)).unwrap_or_default()
    }
}

/// What is wrong with an answer; `None` if it is one to that request.
fn problem(request: &Value, answer: &Value) -> Option<String> {
    match Question::of_json(request) {
        Some(question) => check_answer(&question, answer).err(),
        None => Some("its question cannot be read any more: the fault is the server's".to_owned()),
    }
}

#[cfg(test)]
mod tests;
