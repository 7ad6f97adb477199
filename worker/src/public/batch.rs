//! The answers of a batch, bounded as a whole.
//!
//! A batch may hold many requests, each of whose results may be as large as one may be. So once the answers have the size of one
//! result, what comes after is not run: nothing that was done is ever left without its answer, and the list is at most one result
//! over the limit.

use actix_web::web::Bytes;
use serde_json::json;
use task_mcp_mcp::{Reply, RequestId, RpcError, code};

/// The answers so far.
#[derive(Debug)]
pub(crate) struct Answers {
    list: Vec<Bytes>,
    bytes: usize,
    /// `limits.response_bytes`.
    limit_bytes: usize,
}

impl Answers {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { list: Vec::new(), bytes: 0, limit_bytes }
    }

    /// Takes an answer.
    pub(crate) fn push(&mut self, answer: Bytes) {
        self.bytes = self.bytes.saturating_add(answer.len());
        self.list.push(answer);
    }

    /// Whether a request may be run. If not, this is its answer.
    pub(crate) fn admit(&mut self, id: RequestId<'_>) -> bool {
        let has_room = self.bytes < self.limit_bytes;
        if !has_room {
            let limit = self.limit_bytes;
            let text = format!(
                "the answers of the batch have {limit} bytes already (limits.response_bytes), so this request was not run; send it \
                 again, in another batch or alone"
            );
            let error = RpcError::new(code::LIMITED, text).with_data(json!({ "limit": limit }));
            self.list.push(Reply::error(Some(id), &error).body);
        }
        has_room
    }

    /// One list of them; `None` if there are none.
    pub(crate) fn into_list(self) -> Option<Bytes> {
        if self.list.is_empty() {
            return None;
        }
        let size: usize = self.list.iter().map(|answer| answer.len() + 1).sum();
        // Each answer is let go once it is copied, so that they are not there twice.
        let mut whole = Vec::with_capacity(size + 1);
        for answer in self.list {
            whole.push(if whole.is_empty() { b'[' } else { b',' });
            whole.extend_from_slice(&answer);
        }
        whole.push(b']');
        Some(whole.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn what_comes_after_the_limit_is_refused_and_all_answers_stand_in_their_order() {
        let ids: Vec<Box<RawValue>> = (1..=4).map(|id| RawValue::from_string(format!("{id}")).unwrap()).collect();
        let mut answers = Answers::new(100);
        let run: Vec<bool> = ids
            .iter()
            .map(|id| {
                let may_run = answers.admit(RequestId::of(id));
                if may_run {
                    answers.push(format!(r#"{{"id":{id},"result":"{}"}}"#, "x".repeat(60)).into());
                }
                may_run
            })
            .collect();
        assert_eq!(run, [true, true, false, false]);
        let list: Vec<Value> = serde_json::from_slice(&answers.into_list().unwrap()).unwrap();
        let told: Vec<i64> = list.iter().filter_map(|answer| answer["id"].as_i64()).collect();
        assert_eq!(told, [1, 2, 3, 4]);
        assert_eq!(list[3]["error"]["data"]["limit"], 100);
        assert!(list[3]["error"]["message"].as_str().unwrap().contains("limits.response_bytes"));
        assert_eq!(Answers::new(100).into_list(), None);
    }
}
