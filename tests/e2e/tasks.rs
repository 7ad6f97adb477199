//! The tasks extension: durable work, told of by any worker, whatever becomes of the one that does it.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use task_mcp_bench::Request;
use task_mcp_test_servers::RedisServer;

use crate::support::{Answer, Control, Server, Shared, Signal, Stream, eventually, modern_as, signal, sized};

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);
/// Until a task whose worker died on this machine is looked after.
const LOOKED_AFTER: Duration = Duration::from_secs(5);
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// A request of a client with these capabilities.
fn request_with(capabilities: &Value, method: &str, params: Value) -> Request {
    modern_as(json!(7), capabilities, method, params)
}

fn request(method: &str, params: Value) -> Request {
    request_with(&json!({ "elicitation": {}, "extensions": { EXTENSION: {} } }), method, params)
}

/// Over a connection of its own, so to any worker.
fn ask(server: &Server, method: &str, params: Value) -> Answer {
    Answer::new(server.send(&request(method, params)))
}

fn call(server: &Server, tool: &str, arguments: Value) -> Answer {
    ask(server, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn create(server: &Server, tool: &str, arguments: Value) -> String {
    let answer = call(server, tool, arguments);
    let result = answer.result();
    assert_eq!(result["resultType"], "task", "{result}");
    result["taskId"].as_str().expect("an id").to_owned()
}

fn get(server: &Server, id: &str) -> Value {
    ask(server, "tasks/get", json!({ "taskId": id })).result().clone()
}

fn acked(server: &Server, method: &str, params: Value) {
    let answer = ask(server, method, params);
    let mut result = answer.result().clone();
    result.as_object_mut().expect("an object").remove("_meta");
    assert_eq!(result, json!({ "resultType": "complete" }));
}

fn cancel(server: &Server, id: &str) {
    acked(server, "tasks/cancel", json!({ "taskId": id }));
}

fn wait(server: &Server, id: &str, status: &str) -> Value {
    wait_within(PATIENCE, server, id, status)
}

fn wait_within(limit: Duration, server: &Server, id: &str, status: &str) -> Value {
    eventually(limit, &format!("the task is {status}"), || {
        let task = get(server, id);
        (task["status"] == status).then_some(task)
    })
}

/// Of a time as tasks tell it, within its day.
fn unix_ms(at: &Value) -> u64 {
    let at = at.as_str().expect("a time");
    let (_, time) = at.trim_end_matches('Z').split_once('T').expect("a time of a day");
    let seconds = time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"));
    (seconds * 1_000.0).round() as u64
}

fn accept(confirm: bool) -> Value {
    json!({ "action": "accept", "content": { "confirm": confirm } })
}

fn answer_both(server: &Server, id: &str) {
    let task = wait(server, id, "input_required");
    let keys: Vec<String> = task["inputRequests"].as_object().expect("requests").keys().cloned().collect();
    let responses: Value = keys.into_iter().map(|key| (key, accept(true))).collect::<serde_json::Map<_, _>>().into();
    acked(server, "tasks/update", json!({ "taskId": id, "inputResponses": responses }));
}

#[test]
fn a_task_is_there_at_every_worker_of_every_instance_as_soon_as_its_client_hears_of_it() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let start = || shared.over_redis(2, &redis, "strict").set("state.backend", "redis").start();
    let servers = [start(), start()];
    for number in 0..12 {
        let (one, other) = (&servers[number % 2], &servers[1 - number % 2]);
        let answer = call(one, "test_task", json!({ "key": format!("k{number}"), "ms": 300 }));
        let made = answer.result();
        assert!(made["ttlMs"].as_u64() == Some(86_400_000) && made["pollIntervalMs"] == 500, "{made}");
        assert!(made["createdAt"].as_str().is_some_and(|at| at.ends_with('Z')) && made["status"] == "working");
        assert!(made.get("task").is_none() && made.get("requestState").is_none(), "it is flat: {made}");
        let id = made["taskId"].as_str().expect("an id");
        for _ in 0..4 {
            let task = get(other, id);
            assert_eq!((&task["taskId"], &task["resultType"]), (&json!(id), &json!("complete")));
            assert_eq!(task["createdAt"], made["createdAt"]);
        }
        let done = wait(other, id, "completed");
        assert_eq!(done["result"]["structuredContent"]["run"], 1, "{done}");
        assert_eq!(done["result"]["isError"], false);
        assert!(done.get("error").is_none() && done.get("inputRequests").is_none());
    }
    let id = create(&servers[0], "test_task", json!({ "key": "asks", "asks": true }));
    answer_both(&servers[1], &id);
    assert_eq!(wait(&servers[1], &id, "completed")["result"]["structuredContent"]["confirmed"]["first"], accept(true));
    let id = create(&servers[0], "test_task", json!({ "key": "given-up", "ms": 60_000 }));
    cancel(&servers[1], &id);
    wait(&servers[1], &id, "cancelled");
    assert_eq!(shared.ended("test_task", "given-up"), 0);
}

#[test]
fn who_cannot_take_a_task_gets_a_result_or_is_told_what_is_missing() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let plain = json!({ "elicitation": {} });
    let send =
        |capabilities: &Value, method, params| Answer::new(server.send(&request_with(capabilities, method, params)));
    let sync = send(&plain, "tools/call", json!({ "name": "test_task", "arguments": { "key": "sync" } }));
    assert_eq!((&sync.result()["resultType"], &sync.result()["isError"]), (&json!("complete"), &json!(false)));
    let id = create(&server, "test_task", json!({ "key": "made" }));
    let required = json!({ "name": "test_task_required", "arguments": { "key": "x" } });
    for (method, params) in [
        ("tools/call", required),
        ("tasks/get", json!({ "taskId": id })),
        ("tasks/cancel", json!({ "taskId": id })),
        ("tasks/update", json!({ "taskId": id, "inputResponses": {} })),
    ] {
        let refused = send(&plain, method, params);
        assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)), "{method}");
        let extensions = &refused.message["error"]["data"]["requiredCapabilities"]["extensions"];
        assert_eq!(extensions, &json!({ EXTENSION: {} }));
    }
    let unknown = ["0123456789abcdef0123456789abcdef", "nonsense", "../x"];
    for id in unknown {
        for (method, params) in [
            ("tasks/get", json!({ "taskId": id })),
            ("tasks/cancel", json!({ "taskId": id })),
            ("tasks/update", json!({ "taskId": id, "inputResponses": { "a": {} } })),
        ] {
            let refused = ask(&server, method, params);
            assert_eq!((refused.status, refused.error_code()), (400, Some(-32602)), "{method} {id}");
        }
    }
    let bad = call(&server, "test_task", json!({ "key": "a b" }));
    assert_eq!(bad.result()["isError"], true, "what fits no schema becomes no task");
    let failed = wait(&server, &create(&server, "test_task", json!({ "key": "f", "fail": "protocol" })), "failed");
    assert_eq!((&failed["error"]["code"], &failed["error"]["message"]), (&json!(-32603), &json!("on purpose")));
    assert!(failed.get("result").is_none() && failed["statusMessage"] == "on purpose", "{failed}");
    let error = wait(&server, &create(&server, "test_task", json!({ "key": "e", "fail": "error" })), "completed");
    assert_eq!(error["result"]["isError"], true);
    let large = create(&server, "test_task", json!({ "key": "l", "bytes": 2_000_000 }));
    let large = wait(&server, &large, "completed");
    assert!(large["result"].to_string().contains("RESPONSE_TOO_LARGE"), "{large}");
}

#[test]
fn what_a_tool_must_know_before_is_asked_before_the_task_is_made() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let params = json!({ "name": "test_task_required", "arguments": { "key": "who" } });
    let first = ask(&server, "tools/call", params.clone());
    let first = first.result();
    assert_eq!(first["resultType"], "input_required", "{first}");
    assert_eq!(first["inputRequests"]["who"]["method"], "elicitation/create");
    assert_eq!(shared.runs("test_task_required", "who"), 0);
    let mut second = params;
    second["inputResponses"] = json!({ "who": { "action": "accept", "content": { "name": "Alice" } } });
    if let Some(state) = first.get("requestState") {
        second["requestState"] = state.clone();
    }
    let made = ask(&server, "tools/call", second);
    let made = made.result();
    assert_eq!(made["resultType"], "task", "{made}");
    assert!(made.get("requestState").is_none() && made.get("inputRequests").is_none());
    let done = wait(&server, made["taskId"].as_str().expect("an id"), "completed");
    assert_eq!(done["result"]["structuredContent"]["who"]["content"]["name"], "Alice");
}

#[test]
fn a_tasks_questions_are_answered_one_by_one_at_any_worker() {
    let shared = Shared::new();
    let server = shared.instance(3).start();
    let id = create(&server, "test_task", json!({ "key": "q", "asks": true }));
    let task = wait(&server, &id, "input_required");
    let requests = task["inputRequests"].as_object().expect("requests");
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["first", "second"]);
    assert!(requests.values().all(|request| request["method"] == "elicitation/create"));
    for bad in [json!({ "first": "yes" }), json!({ "first": { "action": "perhaps" } })] {
        let refused = ask(&server, "tasks/update", json!({ "taskId": id, "inputResponses": bad }));
        assert_eq!((refused.status, refused.error_code()), (400, Some(-32602)), "{bad}");
    }
    let answers = json!({ "first": accept(false), "unknown-key": { "ignored": true } });
    acked(&server, "tasks/update", json!({ "taskId": id, "inputResponses": answers }));
    let task = get(&server, &id);
    assert_eq!(
        (&task["status"], task["inputRequests"].as_object().map(serde_json::Map::len)),
        (&json!("input_required"), Some(1))
    );
    assert!(task["inputRequests"].get("second").is_some());
    // Too late: it was answered.
    acked(&server, "tasks/update", json!({ "taskId": id, "inputResponses": { "first": accept(true) } }));
    acked(&server, "tasks/update", json!({ "taskId": id, "inputResponses": { "second": accept(true) } }));
    let done = wait(&server, &id, "completed");
    let confirmed = &done["result"]["structuredContent"]["confirmed"];
    assert_eq!((&confirmed["first"], &confirmed["second"]), (&accept(false), &accept(true)));
    cancel(&server, &id);
    assert_eq!(get(&server, &id)["status"], "completed", "what has ended stays");
}

#[test]
fn who_listens_to_a_task_hears_of_each_change_whatever_worker_runs_it() {
    let shared = Shared::new();
    let server = shared.instance(3).start();
    let id = create(&server, "test_task", json!({ "key": "q", "asks": true }));
    wait(&server, &id, "input_required");
    let unknown = "0123456789abcdef0123456789abcdef";
    let params = json!({ "notifications": { "taskIds": [id, unknown] } });
    let refused = request_with(&json!({}), "subscriptions/listen", params.clone());
    let refused = Answer::new(server.send(&refused));
    assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)));
    let listens = request("subscriptions/listen", params);
    let mut stream = Stream::open(server.address(), &listens);
    let acknowledged = &stream.messages(1)[0];
    assert_eq!(acknowledged["params"]["notifications"]["taskIds"], json!([id]), "{acknowledged}");
    answer_both(&server, &id);
    stream.read_until("\"status\":\"completed\"", 1);
    let messages = stream.messages(2);
    let last = messages.last().expect("messages");
    assert_eq!((&last["method"], &last["params"]["taskId"]), (&json!("notifications/tasks"), &json!(id)));
    assert_eq!(last["params"]["result"], get(&server, &id)["result"], "it is told whole");
}

#[test]
fn a_task_tells_how_far_it_is() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let id = create(&server, "test_task", json!({ "key": "p", "ms": 4_000 }));
    let mut told: Vec<(String, u64)> = Vec::new();
    let task = eventually(PATIENCE, "it is done", || {
        let task = get(&server, &id);
        if let Some(message) = task["statusMessage"].as_str()
            && told.last().is_none_or(|(last, _)| last != message)
        {
            told.push((message.to_owned(), unix_ms(&task["lastUpdatedAt"])));
        }
        (task["status"] == "completed").then_some(task)
    });
    assert!(told.iter().all(|(message, _)| message.contains(" of 4000 ms in process ")), "{told:?}");
    assert!(told.len() >= 2, "it goes on: {told:?}");
    // Less what one write may take longer than the next one.
    let at_most_once_a_second = told.windows(2).all(|two| two[1].1 - two[0].1 >= 900);
    assert!(at_most_once_a_second, "{told:?}");
    assert!(task.get("statusMessage").is_none());
}

/// The process id of the worker that runs the task.
fn runner(server: &Server, id: &str) -> i32 {
    eventually(PATIENCE, "it says where it runs", || {
        get(server, id)["statusMessage"].as_str()?.split_once(" in process ")?.1.parse().ok()
    })
}

fn kill(pid: i32) {
    signal(pid, Signal::SIGKILL);
}

/// Kills all workers.
fn kill_workers(server: &Server, count: usize) {
    let workers = server.wait_workers(count, &[]);
    workers.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    server.wait_workers(count, &workers);
}

#[test]
fn a_task_whose_worker_died_fails_soon_and_says_so() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let reads = create(&server, "test_task", json!({ "key": "r", "ms": 60_000 }));
    let writes = create(&server, "test_task_write", json!({ "key": "w", "ms": 60_000 }));
    let runners = [&reads, &writes].map(|id| runner(&server, id));
    runners.into_iter().for_each(kill);
    for id in [&reads, &writes] {
        let failed = wait_within(LOOKED_AFTER, &server, id, "failed");
        assert_eq!(failed["error"]["code"], -32603);
        assert!(failed["statusMessage"].as_str().is_some_and(|text| text.contains("worker that ran the task died")));
    }
    assert_eq!((shared.runs("test_task", "r"), shared.runs("test_task_write", "w")), (1, 1), "neither ran again");
}

#[test]
fn a_resumable_task_is_run_again_by_another_worker_and_done_once_with_the_answers_so_far() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let id = create(&server, "test_task_resumable", json!({ "key": "k", "asks": true, "ms": 2_000 }));
    wait(&server, &id, "input_required");
    answer_both(&server, &id);
    eventually(PATIENCE, "it goes on", || (shared.runs("test_task_resumable", "k.asked") == 1).then_some(()));
    kill(runner(&server, &id));
    // Nobody asks after it: the worker that is left looks by itself.
    eventually(LOOKED_AFTER, "it is run again", || (shared.runs("test_task_resumable", "k.asked") == 2).then_some(()));
    let done = wait(&server, &id, "completed");
    assert_eq!(done["result"]["structuredContent"]["confirmed"]["second"], accept(true));
    assert_eq!((shared.runs("test_task_resumable", "k"), shared.ended("test_task_resumable", "k")), (2, 1));
    let metrics = server.metrics();
    assert_eq!(metrics.sum("task_mcp_tasks_total", &[("outcome", "resumed")]), 1.0);
    assert_eq!(metrics.sum("task_mcp_tasks_total", &[("outcome", "completed")]), 1.0);
}

#[test]
fn a_task_that_kills_its_workers_fails_in_the_end() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    let id = create(&server, "test_task_resumable", json!({ "key": "k", "ms": 60_000 }));
    for run in 1..=4 {
        eventually(PATIENCE, "it runs", || (shared.runs("test_task_resumable", "k") == run).then_some(()));
        kill_workers(&server, 1);
    }
    wait_within(LOOKED_AFTER, &server, &id, "failed");
    assert_eq!(shared.runs("test_task_resumable", "k"), 4);
}

#[test]
fn a_task_that_is_given_up_stops_and_a_write_that_has_begun_does_not() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let reads = create(&server, "test_task_resumable", json!({ "key": "r", "ms": 1_500 }));
    let writes = create(&server, "test_task_write", json!({ "key": "w", "ms": 1_500 }));
    let waits = create(&server, "test_task_write", json!({ "key": "q", "asks": true }));
    wait(&server, &waits, "input_required");
    eventually(PATIENCE, "they run", || {
        (shared.runs("test_task_resumable", "r") + shared.runs("test_task_write", "w") == 2).then_some(())
    });
    let given_up = Instant::now();
    [&reads, &writes, &waits].iter().for_each(|id| cancel(&server, id));
    let cancelled = wait_within(Duration::from_secs(2), &server, &reads, "cancelled");
    assert!(cancelled.get("result").is_none() && cancelled.get("error").is_none());
    wait_within(Duration::from_secs(2), &server, &waits, "cancelled");
    wait(&server, &writes, "completed");
    thread::sleep(Duration::from_secs(2).saturating_sub(given_up.elapsed()));
    assert_eq!((shared.ended("test_task_resumable", "r"), shared.runs("test_task_resumable", "r")), (0, 1));
    assert_eq!((shared.ended("test_task_write", "w"), shared.ended("test_task_write", "q")), (1, 0));
    [&reads, &writes, &waits].iter().for_each(|id| cancel(&server, id));
    // What was given up is not run again either.
    let id = create(&server, "test_task_write", json!({ "key": "x", "ms": 60_000 }));
    eventually(PATIENCE, "it runs", || (shared.runs("test_task_write", "x") == 1).then_some(()));
    cancel(&server, &id);
    kill_workers(&server, 2);
    // Nor is it said to have done nothing.
    let failed = wait_within(LOOKED_AFTER, &server, &id, "failed");
    assert_eq!(failed["error"]["code"], -32603);
    assert!(failed["statusMessage"].as_str().is_some_and(|text| text.contains("look what was done")), "{failed}");
    assert_eq!(shared.runs("test_task_write", "x"), 1);
}

#[test]
fn a_task_whose_result_finds_no_room_fails_and_says_so_and_the_server_stops_in_time() {
    let shared = Shared::new();
    let server = shared.instance(1).set("state.max_bytes", 4_000_000).start();
    let arguments = |number| json!({ "key": format!("k{number}"), "ms": 500, "bytes": 900_000 });
    let ids: Vec<String> = (0..8).map(|number| create(&server, "test_task", arguments(number))).collect();
    let ended = |id: &String| {
        eventually(PATIENCE, "it ends", || {
            let task = get(&server, id);
            (task["status"] != "working").then_some(task)
        })
    };
    let ends: Vec<Value> = ids.iter().map(ended).collect();
    let failed: Vec<&Value> = ends.iter().filter(|task| task["status"] == "failed").collect();
    assert!(!failed.is_empty() && failed.len() < ids.len(), "some found room: {ends:?}");
    for task in failed {
        assert_eq!(task["error"]["code"], -32603);
        assert!(task["error"]["message"].as_str().is_some_and(|text| text.contains("state.max_bytes")), "{task}");
    }
    // No run is left to wait for.
    server.terminate();
    server.wait_exit(Duration::from_secs(10));
}

#[test]
fn tasks_that_wait_for_their_client_hold_no_worker_that_leaves() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    let waits = [("test_task", "r"), ("test_task_write", "w")].map(|(tool, key)| {
        let id = create(&server, tool, json!({ "key": key, "asks": true }));
        wait(&server, &id, "input_required");
        id
    });
    let asks_late = json!({ "key": "l", "asks": true, "asks_after_ms": 3_000 });
    let late = create(&server, "test_task", asks_late);
    let begun = Instant::now();
    Control::new(&server).restart();
    assert!(begun.elapsed() < Duration::from_secs(15), "nothing runs: {:?}", begun.elapsed());
    for id in waits.iter().chain([&late]) {
        let failed = get(&server, id);
        assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(-32603)), "{failed}");
        assert!(failed["statusMessage"].as_str().is_some_and(|text| text.contains("the server stopped")), "{failed}");
    }
    assert_eq!((shared.ended("test_task", "r"), shared.ended("test_task_write", "w")), (0, 0));
    let again = create(&server, "test_task_write", json!({ "key": "w", "asks": true }));
    wait(&server, &again, "input_required");
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(15)), 0, "nothing is cut");
}

#[test]
fn tasks_outlast_the_replacement_of_all_workers() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let reads = create(&server, "test_task", json!({ "key": "r", "ms": 3_000 }));
    let waits = create(&server, "test_task_resumable", json!({ "key": "q", "asks": true }));
    wait(&server, &waits, "input_required");
    let begun = Instant::now();
    Control::new(&server).restart();
    assert!(begun.elapsed() < Duration::from_secs(20), "nobody waits for a client: {:?}", begun.elapsed());
    wait(&server, &reads, "completed");
    assert_eq!((shared.runs("test_task", "r"), shared.ended("test_task", "r")), (1, 1), "its worker waited for it");
    answer_both(&server, &waits);
    wait(&server, &waits, "completed");
    assert_eq!(shared.ended("test_task_resumable", "q"), 1);
    assert!(shared.runs("test_task_resumable", "q") >= 2, "another worker took it");
}

#[test]
fn what_is_not_done_when_the_server_stops_fails_or_goes_on_when_it_starts_again() {
    let shared = Shared::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let start = || {
        let server = shared.instance(2).set("supervisor.state_dir", state.display());
        server.set("supervisor.drain_timeout_s", 2).start()
    };
    let server = start();
    let reads = create(&server, "test_task", json!({ "key": "r", "ms": 60_000 }));
    let resumes = create(&server, "test_task_resumable", json!({ "key": "k", "ms": 4_000 }));
    eventually(PATIENCE, "both run", || {
        (shared.runs("test_task", "r") + shared.runs("test_task_resumable", "k") == 2).then_some(())
    });
    server.terminate();
    server.wait_exit(PATIENCE);
    drop(server);
    let server = start();
    let failed = get(&server, &reads);
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["statusMessage"].as_str().is_some_and(|text| text.contains("server stopped")), "{failed}");
    wait(&server, &resumes, "completed");
    assert_eq!((shared.runs("test_task_resumable", "k"), shared.ended("test_task_resumable", "k")), (2, 1));
}

#[test]
fn a_task_ends_with_its_time() {
    let shared = Shared::new();
    let server = shared.instance(2).set("state.task_ttl_s", 1).start();
    let id = create(&server, "test_task", json!({ "key": "k", "ms": 2_500 }));
    assert_eq!(get(&server, &id)["ttlMs"], 1_000);
    eventually(PATIENCE, "it is forgotten", || {
        let answer = ask(&server, "tasks/get", json!({ "taskId": id }));
        (answer.error_code() == Some(-32602)).then_some(())
    });
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!((shared.runs("test_task", "k"), shared.ended("test_task", "k")), (1, 0), "and its work with it");
}

#[test]
fn a_principal_may_have_so_many_tasks_and_nobody_sees_anothers() {
    const TOKENS: [&str; 2] = ["0123456789abcdef-one", "0123456789abcdef-two"];
    let shared = Shared::new();
    let limit = sized(60, 1_000);
    let server = shared
        .instance(2)
        .set("limits.tasks_per_principal", limit)
        .set("supervisor.drain_timeout_s", 2)
        .set("auth.tokens", format!("[\"{}\",\"{}\"]", TOKENS[0], TOKENS[1]))
        .start();
    let send = |token: &str, method: &str, params: Value| {
        Answer::new(server.send(&request(method, params).header("Authorization", &format!("Bearer {token}"))))
    };
    let make = |token: &str, number: usize| {
        let arguments = json!({ "key": format!("k{number}"), "ms": 600_000 });
        send(token, "tools/call", json!({ "name": "test_task", "arguments": arguments }))
    };
    let ids: Vec<Value> = (0..limit)
        .map(|number| {
            let made = make(TOKENS[0], number);
            assert_eq!(made.result()["resultType"], "task", "{number}: {}", made.message);
            made.result()["taskId"].clone()
        })
        .collect();
    let refused = make(TOKENS[0], limit);
    assert_eq!(refused.result()["isError"], true);
    let text = refused.message.to_string();
    assert!(text.contains("OVERLOADED") && text.contains("limits.tasks_per_principal"), "{text}");
    assert_eq!(make(TOKENS[1], limit).result()["resultType"], "task", "another one has its own");
    for method in ["tasks/get", "tasks/cancel"] {
        assert_eq!(send(TOKENS[1], method, json!({ "taskId": ids[0] })).error_code(), Some(-32602), "{method}");
    }
    assert_eq!(send(TOKENS[0], "tasks/get", json!({ "taskId": ids[0] })).result()["status"], "working");
    send(TOKENS[0], "tasks/cancel", json!({ "taskId": ids[0] })).result();
    eventually(PATIENCE, "there is room for another one", || {
        (make(TOKENS[0], limit).result()["resultType"] == "task").then_some(())
    });
}
