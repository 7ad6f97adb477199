#![allow(clippy::unwrap_used, clippy::panic)]
use serde_json::value::to_raw_value;
use task_mcp_mcp::{Catalog, ClientCapabilities, Offer, RequestHeaders, Route, ServerInfo};
use task_mcp_scoreboard::{Plan, Role, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, plan};
use task_mcp_tools::Principal;

use super::*;

const LASTS: Duration = Duration::from_secs(600);

/// A worker with its keys.
struct World {
    engine: Engine,
    desk: Arc<Desk>,
    keys: Keyring,
}

impl World {
    fn new() -> Self {
        let board = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).unwrap();
        let seat = board.seat(0).unwrap();
        seat.begin(1, 0, 1, Role::Worker, 0);
        let metrics = Metrics::bind(&board, &seat, &[], &[]).unwrap();
        let text = || "x".to_owned();
        let info = ServerInfo { name: text(), title: text(), version: text(), instructions: text() };
        let offer = Offer { resources: true, ..Offer::default() };
        Self {
            engine: Engine::new(Catalog::new(&info, &offer).unwrap()),
            desk: Desk::new(&State::alone(metrics.state), metrics.mcp),
            keys: Keyring::new(&["k".repeat(32)]).unwrap(),
        }
    }

    /// One round of a call of `principal`: asks for a word about `about`.
    async fn round(&self, sent: &Sent<'_>, about: &str, keys: &[&str]) -> Came {
        let mut params = json!({ "name": sent.name, "arguments": sent.arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        } });
        for (field, value) in [("inputResponses", &sent.responses), ("requestState", &sent.state)] {
            if let Some(value) = value {
                params[field] = value.clone();
            }
        }
        let body =
            to_raw_value(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })).unwrap();
        let headers = RequestHeaders {
            protocol_version: Some("2026-07-28"),
            method: Some("tools/call"),
            name: Some(sent.name),
            params: Vec::new(),
        };
        let request = match self.engine.route(body.get().as_bytes(), &headers) {
            Route::Request(request) => request,
            Route::Reply(reply) => return Came::Refused(String::from_utf8_lossy(&reply.body).into_owned()),
            other => panic!("{other:?}"),
        };
        let mut client = Client::of_request(Principal::new(sent.principal), &request);
        client.capabilities = ClientCapabilities::NONE.with(task_mcp_mcp::Capability::Elicitation);
        let rounds = match Rounds::open(&self.desk, (&self.keys, LASTS), &request, &client, sent.writes) {
            Ok(rounds) => rounds.unwrap(),
            Err(error) => return Came::Refused(error.message),
        };
        let form = json!({ "type": "object", "properties": { "w": { "type": "string" } }, "required": ["w"] });
        let questions = keys.iter().fold(Questions::default(), |questions, key| {
            questions.and(key, Question::Elicit { message: "?".into(), schema: form.clone() })
        });
        match rounds.ask(about, &questions).await {
            Ok(answers) => {
                let word = |answer: &Value| answer.pointer("/content/w").and_then(Value::as_str).map(str::to_owned);
                Came::Answers(answers.values().filter_map(word).collect())
            }
            Err(Unanswered::NotYet { about, questions }) => {
                rounds.give_back().await;
                let keys = (&self.keys, LASTS);
                let reply = rounds.required(&self.engine, keys, &request, &client, &about, &questions);
                let message: Value = serde_json::from_slice(&reply.body).unwrap();
                if let Some(error) = message.get("error") {
                    return Came::Refused(error.to_string());
                }
                let asked = message["result"]["inputRequests"].as_object().unwrap().keys().cloned().collect();
                Came::Asked(asked, message["result"]["requestState"].clone())
            }
            Err(other) => Came::Refused(other.to_string()),
        }
    }
}

struct Sent<'a> {
    principal: &'a str,
    name: &'a str,
    arguments: Value,
    responses: Option<Value>,
    state: Option<Value>,
    writes: bool,
}

impl Sent<'_> {
    fn new() -> Self {
        Self {
            principal: "ana",
            name: "tool",
            arguments: json!({ "a": 1, "b": 2 }),
            responses: None,
            state: None,
            writes: true,
        }
    }

    fn with(state: &Value, responses: Value) -> Self {
        Self { state: Some(state.clone()), responses: Some(responses), ..Self::new() }
    }
}

#[derive(Debug, PartialEq)]
enum Came {
    Answers(Vec<String>),
    Asked(Vec<String>, Value),
    Refused(String),
}

impl Came {
    #[track_caller]
    fn asked(self, expected: &[&str]) -> Value {
        match self {
            Self::Asked(keys, state) => {
                assert_eq!(keys, expected);
                state
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(self, part: &str) {
        match self {
            Self::Refused(text) => assert!(text.contains(part), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

fn word(key: &str, word: &str) -> Value {
    json!({ key: { "action": "accept", "content": { "w": word } } })
}

#[tokio::test]
async fn answers_are_gathered_over_rounds_and_earlier_ones_cannot_be_changed() {
    let world = World::new();
    let first = world.round(&Sent::new(), "x", &["a", "b"]).await.asked(&["a", "b"]);
    let second = world.round(&Sent::with(&first, word("a", "1")), "x", &["a", "b"]).await.asked(&["b"]);
    // A round may be sent again, as long as the call was not done.
    world.round(&Sent::with(&first, word("a", "1")), "x", &["a", "b"]).await.asked(&["b"]);
    let both = json!({ "a": word("a", "other")["a"], "b": word("b", "2")["b"] });
    let came = world.round(&Sent::with(&second, both), "x", &["a", "b"]).await;
    assert_eq!(came, Came::Answers(vec!["1".into(), "2".into()]));
    world.round(&Sent::with(&second, word("b", "2")), "x", &["a", "b"]).await.refused("used before");
}

#[tokio::test]
async fn of_all_states_that_one_call_was_answered_with_one_is_gone_on_from() {
    let world = World::new();
    let first = world.round(&Sent::new(), "x", &["a", "b", "c"]).await.asked(&["a", "b", "c"]);
    let mut forks = Vec::new();
    for _ in 0..3 {
        // Its answer may have been lost.
        let second = world.round(&Sent::with(&first, word("a", "1")), "x", &["a", "b", "c"]).await.asked(&["b", "c"]);
        assert!(!forks.contains(&second), "no two are alike");
        let third = world.round(&Sent::with(&second, word("b", "2")), "x", &["a", "b", "c"]).await.asked(&["c"]);
        forks.extend([second, third]);
    }
    let last = forks.pop().unwrap();
    let done = Came::Answers(vec!["1".into(), "2".into(), "3".into()]);
    assert_eq!(world.round(&Sent::with(&last, word("c", "3")), "x", &["a", "b", "c"]).await, done);
    let rest = json!({ "b": word("b", "2")["b"], "c": word("c", "3")["c"] });
    for state in forks.iter().chain([&last]) {
        world.round(&Sent::with(state, rest.clone()), "x", &["a", "b", "c"]).await.refused("used before");
    }
    // Nor does any of them lead to a state that would be taken later.
    for state in forks.iter().chain([&last, &first]) {
        world.round(&Sent::with(state, json!({})), "x", &["a", "b", "c"]).await.refused("used before");
    }
    // It is another call that begins anew.
    let other = world.round(&Sent::new(), "x", &["a"]).await.asked(&["a"]);
    assert_eq!(world.round(&Sent::with(&other, word("a", "1")), "x", &["a"]).await, Came::Answers(vec!["1".into()]));
}

#[tokio::test]
async fn answers_about_another_state_of_things_do_not_count() {
    let world = World::new();
    let state = world.round(&Sent::new(), "tag 1", &["a"]).await.asked(&["a"]);
    let anew = world.round(&Sent::with(&state, word("a", "1")), "tag 2", &["a"]).await.asked(&["a"]);
    // Neither do answers of earlier rounds.
    let more = world.round(&Sent::with(&anew, word("a", "1")), "tag 2", &["a", "b"]).await.asked(&["b"]);
    world.round(&Sent::with(&more, word("b", "2")), "tag 3", &["a", "b"]).await.asked(&["a", "b"]);
    // A question that was not asked is not answered in advance.
    world.round(&Sent::with(&anew, word("c", "1")), "tag 2", &["c"]).await.asked(&["c"]);
}

#[tokio::test]
async fn a_state_is_refused_for_everything_it_is_not_for() {
    let world = World::new();
    let state = world.round(&Sent::new(), "x", &["a"]).await.asked(&["a"]);
    let good = || Sent::with(&state, word("a", "1"));
    for sent in [
        Sent { principal: "bob", ..good() },
        Sent { name: "other", ..good() },
        Sent { arguments: json!({ "a": 1 }), ..good() },
        Sent { state: Some(json!("1x")), ..good() },
        Sent { state: Some(json!(format!("{}x", state.as_str().unwrap()))), ..good() },
        Sent { state: Some(json!(5)), ..good() },
        Sent { state: Some(json!(null)), ..good() },
    ] {
        world.round(&sent, "x", &["a"]).await.refused("params.requestState");
    }
    let other_keys = World { keys: Keyring::new(&["o".repeat(32)]).unwrap(), ..World::new() };
    other_keys.round(&good(), "x", &["a"]).await.refused("params.requestState");
    for (responses, part) in [
        (json!({ "a": 5 }), "params.inputResponses.a"),
        (json!({ "a": { "action": "accept", "content": { "w": 5 } } }), "content.w"),
        (json!({ "a": { "action": "accept", "content": {} } }), "`content`"),
        (json!(null), "params.inputResponses"),
        (json!([]), "params.inputResponses"),
    ] {
        world.round(&Sent::with(&state, responses), "x", &["a"]).await.refused(part);
    }
    assert_eq!(world.round(&good(), "x", &["a"]).await, Came::Answers(vec!["1".into()]), "none of this used it up");
}

#[tokio::test]
async fn what_reads_takes_answers_in_advance_and_states_as_often_as_they_come() {
    let world = World::new();
    let read =
        |state: Option<&Value>| Sent { writes: false, state: state.cloned(), ..Sent::with(&json!(0), word("a", "1")) };
    assert_eq!(world.round(&read(None), "x", &["a"]).await, Came::Answers(vec!["1".into()]));
    world.round(&Sent { state: None, ..Sent::with(&json!(0), word("a", "1")) }, "x", &["a"]).await.asked(&["a"]);
    let state = world.round(&Sent { writes: false, ..Sent::new() }, "x", &["a"]).await.asked(&["a"]);
    for _ in 0..2 {
        assert_eq!(world.round(&read(Some(&state)), "x", &["a"]).await, Came::Answers(vec!["1".into()]));
    }
}

#[tokio::test]
async fn a_call_does_not_ask_for_ever() {
    let world = World::new();
    let mut state = world.round(&Sent::new(), "x", &["a"]).await.asked(&["a"]);
    for _ in 1..ROUNDS_MAX {
        state = world.round(&Sent::with(&state, json!({})), "x", &["a"]).await.asked(&["a"]);
    }
    world.round(&Sent::with(&state, json!({})), "x", &["a"]).await.refused("-32602");
    let came = world.round(&Sent::with(&state, word("a", "1")), "x", &["a"]).await;
    assert_eq!(came, Came::Answers(vec!["1".into()]), "what it has asked can still be answered");
}
