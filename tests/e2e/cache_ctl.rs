//! `task-mcp ctl cache`: operators look at the shared cache and change it.

use std::time::Duration;

use serde_json::{Value, json};
use task_mcp_test_servers::RedisServer;

use crate::control::ctl;
use crate::support::{Caller, Dialect, Server, Signal, Tree, eventually};

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

fn asked(server: &Server, arguments: &[&str]) -> Value {
    let mut all = vec!["cache"];
    all.extend(arguments);
    all.push("--json");
    let (code, text) = ctl(server, &all);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str::<Value>(&text).unwrap()["answer"].clone()
}

/// The entries of a tool that would be answered.
fn fresh(server: &Server) -> usize {
    let answer = asked(server, &["get", "*changes.active*"]);
    let entries = answer["entries"].as_array().unwrap();
    entries.iter().filter(|entry| entry["state"] == "fresh").count()
}

/// Calls until the result is in the cache.
fn filled(server: &Server) {
    eventually(PATIENCE, "a result is kept", || {
        Caller::new(server, Dialect::Modern).call("changes.active", json!({}));
        (fresh(server) > 0).then_some(())
    });
}

#[test]
fn entries_are_shown_and_removed_by_pattern_by_tag_and_all() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 2).start();
    filled(&server);
    let stats = asked(&server, &["stats"]);
    assert_eq!((&stats["answer"], &stats["stats"]["in_force"]), (&json!("stats"), &json!("embedded")));
    let (code, text) = ctl(&server, &["cache", "get", "*changes.active*"]);
    assert!(code == 0 && text.contains("changes.active") && text.contains("fresh"), "{text}");
    let removed = asked(&server, &["invalidate", "--pattern", "*changes.active*"]);
    assert!(removed["entries"].as_u64().unwrap() >= 1, "{removed}");
    assert_eq!(fresh(&server), 0);
    filled(&server);
    assert!(asked(&server, &["flush"])["entries"].as_u64().unwrap() >= 1);
    assert_eq!(fresh(&server), 0);
    assert_eq!(asked(&server, &["invalidate", "change:none"])["answer"], "invalidated");
    let (code, text) = ctl(&server, &["cache", "get", "no such entry"]);
    assert_eq!((code, text.as_str()), (0, "No entry matches.\n"));
}

#[test]
fn over_redis_no_instance_answers_what_another_removed() {
    let redis = RedisServer::start();
    let tree = Tree::new();
    let start = || {
        let server = Server::build(tree.root()).fixture().set("server.workers", 2);
        server.set("cache.backend", "redis").set("redis.url", redis.url()).start()
    };
    let servers = [start(), start()];
    let runs = || servers.iter().map(|server| server.runs("test_cached_public.k")).sum::<usize>();
    let call =
        |server: &Server| Caller::new(server, Dialect::Modern).call("test_cached_public", json!({"key": "k"})).ok();
    let calls = || (0..12).for_each(|number: usize| drop(call(&servers[number % 2])));
    eventually(PATIENCE, "both share what is kept", || {
        let before = runs();
        calls();
        (runs() == before).then_some(())
    });
    let removals: [&[&str]; 3] =
        [&["invalidate", "cached:k"], &["invalidate", "--pattern", "*test_cached_public*"], &["flush"]];
    for removal in removals {
        let before = runs();
        let answer = asked(&servers[0], removal);
        calls();
        assert_eq!(runs(), before + 1, "{removal:?}: {answer}");
    }
    let found = asked(&servers[1], &["get", "*test_cached_public*"]);
    assert!(found["entries"].as_array().unwrap().iter().any(|entry| entry["state"] == "fresh"), "{found}");
    let stats = asked(&servers[1], &["stats"]);
    assert_eq!((&stats["stats"]["configured"], &stats["stats"]["in_force"]), (&json!("redis"), &json!("redis")));
    // Redis is there and does not answer: operators are told, and not after a minute.
    redis.stop();
    for question in [&["flush"][..], &["get", "*"], &["invalidate", "--pattern", "x*"]] {
        let all: Vec<&str> = ["cache"].iter().chain(question).copied().collect();
        let (code, text) = ctl(&servers[0], &all);
        assert!(code == 1 && text.starts_with("task-mcp: "), "{question:?}: {code} {text}");
    }
    assert_eq!(ctl(&servers[0], &["cache", "stats"]).0, 0, "that it is away is an answer");
    redis.cont();
    eventually(PATIENCE, "it is asked again", || (ctl(&servers[0], &["cache", "flush"]).0 == 0).then_some(()));
}

#[test]
fn an_admin_process_that_dies_is_no_reason_to_wait() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 1).start();
    let admin = server.admin_process().unwrap();
    admin.signal(Signal::SIGSTOP);
    let asking = std::thread::scope(|scope| {
        let asks = scope.spawn(|| ctl(&server, &["cache", "stats"]));
        // Whether it is asked before its end or after: there is an answer.
        admin.signal(Signal::SIGKILL);
        asks.join().unwrap()
    });
    assert!(asking.0 == 1 && asking.1.contains("admin process") || asking.0 == 0, "{asking:?}");
    eventually(PATIENCE, "the next admin process answers", || (ctl(&server, &["cache", "stats"]).0 == 0).then_some(()));
}

#[test]
fn what_is_no_question_is_refused() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 1).start();
    let answer =
        crate::support::Control::new(&server).ask(&json!({"command": "ask", "question": {"cache": "explode"}}));
    assert_eq!((&answer["result"], &answer["answer"]["answer"]), (&json!("answer"), &json!("failed")), "{answer}");
    assert_eq!(ctl(&server, &["cache", "invalidate"]).0, 64);
    assert_eq!(ctl(&server, &["cache", "invalidate", "t", "--pattern", "*"]).0, 64);
}
