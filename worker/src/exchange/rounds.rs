//! Questions that end a request: the client answers with the next one.
//!
//! Source: specification 2026-07-28, "Multi Round-Trip Requests".

use task_mcp_mcp::{Answers, Questions, Reply, Request, RpcError, Unanswered};

use super::client::Client;
use crate::app::App;

/// What the client has answered so far.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    answers: Answers,
}

impl Rounds {
    /// The answers that are there; or what is to be asked.
    pub(crate) fn ask(&self, about: &str, questions: &Questions) -> Result<Answers, Unanswered> {
        let open = questions.filtered(|key| !self.answers.contains_key(key));
        if open.is_empty() {
            let asked = questions.iter().filter_map(|(key, _)| Some((key.to_owned(), self.answers.get(key)?.clone())));
            return Ok(asked.collect());
        }
        Err(Unanswered::NotYet { about: about.to_owned(), questions: open })
    }

    /// The answer that asks.
    pub(crate) fn required(
        &self,
        _app: &App,
        request: &Request<'_>,
        _client: &Client,
        _about: &str,
        _questions: &Questions,
    ) -> Reply {
        Reply::refusal(request, RpcError::internal("questions cannot be asked"))
    }
}
