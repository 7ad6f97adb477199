//! Questions and answers of a task.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;
use task_mcp_mcp::Question;

use super::*;

fn work() -> Work {
    Work {
        tool: "t".into(),
        arguments: "{}".into(),
        caller: Caller {
            name: "ada".into(),
            tenant: None,
            scopes: Scopes::All,
            capabilities: 0,
            idempotency: Some("k".into()),
        },
        resumes: true,
        deaths: 0,
        has_begun: false,
        is_given_up: false,
        message: None,
        asked: Vec::new(),
        outcome: None,
    }
}

fn form(message: &str) -> Question {
    Question::Elicit { message: message.into(), schema: json!({ "type": "object" }) }
}

fn answers(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn what_is_partly_answered_keeps_the_rest_open_and_no_key_means_two_questions() {
    let mut work = work();
    let both = Questions::one("a", form("first")).and("b", form("second"));
    work.ask("x", &both).unwrap();
    work.ask("x", &both).unwrap();
    assert_eq!((work.status(), work.open_requests().len()), (TaskStatus::InputRequired, 2));
    let accept = json!({ "action": "accept", "content": { "n": 1 } });
    let partly = answers(json!({ "a": accept, "zzz": 5 }));
    assert_eq!(work.take_answers(&partly).unwrap(), 1);
    assert_eq!(work.take_answers(&partly).unwrap(), 0, "it was answered");
    assert_eq!(work.open_requests().keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(work.answers("x", &both), None);
    assert_eq!(work.take_answers(&answers(json!({ "b": { "action": "decline" } }))).unwrap(), 1);
    assert_eq!(work.status(), TaskStatus::Working);
    assert_eq!(work.answers("x", &both).unwrap()["a"], accept);

    let again = Questions::one("a", form("first"));
    assert!(work.answers("x", &again).is_some(), "the same question was answered");
    work.ask("y", &again).unwrap();
    assert_eq!(work.open_requests().keys().collect::<Vec<_>>(), ["a-2"], "about another state it is another question");
    work.ask("z", &again).unwrap();
    assert_eq!(work.open_requests().keys().collect::<Vec<_>>(), ["a-3"], "which may be replaced in turn");
    assert_eq!(Work::of_json(work.to_json()).unwrap(), work);
}

#[test]
fn what_is_no_answer_is_refused_and_changes_nothing() {
    let mut work = work();
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let elicit = Question::Elicit { message: "x".into(), schema };
    let all = Questions::one("e", elicit).and("s", Question::Sample(json!({}))).and("r", Question::Roots);
    work.ask("x", &all).unwrap();
    let before = work.clone();
    for (bad, word) in [
        (json!({ "e": "yes" }), "object"),
        (json!({ "e": {} }), "action"),
        (json!({ "e": { "action": "maybe" } }), "action"),
        (json!({ "e": { "action": "accept", "content": [] } }), "content"),
        (json!({ "e": { "action": "accept" } }), "[\"e\"]`: the field `content`"),
        (json!({ "e": { "action": "accept", "content": { "n": "many" } } }), "[\"e\"]`: the field `content.n`"),
        (json!({ "s": { "content": {} } }), "role"),
        (json!({ "s": { "role": "assistant", "content": { "type": "text" } } }), "model"),
        (json!({ "r": { "roots": {} } }), "roots"),
        (json!({ "r": { "roots": ["file:///a"] } }), "uri"),
        (json!({ "e": { "action": "cancel" }, "r": 5 }), "object"),
    ] {
        let error = work.take_answers(&answers(bad.clone())).unwrap_err();
        assert!(error.code == -32602 && error.message.contains(word), "{bad}: {error}");
        assert_eq!(work, before);
    }
    let said = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "x" } });
    let good = json!({ "e": { "action": "accept", "content": { "n": 1 } }, "s": said, "r": { "roots": [] } });
    assert_eq!(work.take_answers(&answers(good)).unwrap(), 3);
}

#[test]
fn answers_from_before_the_task_count_and_questions_have_a_limit() {
    let mut work = work();
    let one = Questions::one("name", form("x"));
    let given = Answers::from([("name".to_owned(), json!({ "action": "accept" }))]);
    work.answered_before("x", &one, &given);
    work.ask("x", &one).unwrap();
    assert_eq!((work.status(), work.answers("x", &one)), (TaskStatus::Working, Some(given)));
    for number in work.asked.len()..QUESTIONS_MAX {
        work.ask("x", &Questions::one(&number.to_string(), form("x"))).unwrap();
    }
    assert_eq!(work.ask("x", &Questions::one("more", form("x"))), Err(TooManyQuestions));
}

#[test]
fn a_task_resumes_until_too_many_workers_died_over_it() {
    let mut work = work();
    let may: Vec<bool> = (0..5)
        .map(|deaths| {
            work.deaths = deaths;
            work.may_resume()
        })
        .collect();
    assert_eq!(may, [true, true, true, false, false]);
    assert!(!Work { resumes: false, deaths: 0, ..work }.may_resume());
}
