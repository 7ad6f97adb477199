//! State that outlives processes, and instances that must not share its directory.

use std::{fs, os::unix::fs::PermissionsExt, thread, time::Duration};

use serde_json::json;
use task_mcp_bench::{Request, Response, fetch};
use task_mcp_test_servers::RedisServer;

use crate::support::{Server, Signal, Tree, eventually, modern_call};

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write under an idempotency key, over a connection of its own: to any worker.
fn write(server: &Server, key: &str, name: &str) -> Response {
    server.send(&keyed(key, name))
}

fn keyed(key: &str, name: &str) -> Request {
    modern_call("test_write", json!({ "key": name })).header("Idempotency-Key", key)
}

#[test]
fn a_second_instance_with_the_same_state_directory_is_refused_and_the_directory_is_private() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 1).start();
    let state = server.folder().join("state");
    let (code, stderr) = Server::build(tree.root()).set("supervisor.state_dir", state.display()).start_refused();
    assert_eq!(code, 69, "{stderr}");
    assert!(stderr.contains("supervisor.state_dir") && stderr.contains(&server.pid().to_string()), "{stderr}");
    let mode = |path: &str| fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("records"), mode("records/data.mdb")), (0o700, 0o700, 0o600));
    let file = server.folder().join("file");
    fs::write(&file, "").unwrap();
    let (code, stderr) = Server::build(tree.root()).set("supervisor.state_dir", file.display()).start_refused();
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("supervisor.state_dir"), "{stderr}");
}

#[test]
fn what_was_answered_is_answered_again_after_every_process_was_killed() {
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let start = || {
        Server::build(tree.root())
            .fixture()
            .set("server.workers", 2)
            .set("supervisor.state_dir", state.display())
            .start()
    };
    let server = start();
    let firsts: Vec<Response> =
        (0..8).map(|number| write(&server, &format!("k-{number}"), &format!("n{number}"))).collect();
    server.kill_worker();
    server.wait_workers(2, &[]);
    for (number, first) in firsts.iter().enumerate() {
        let again = write(&server, &format!("k-{number}"), &format!("n{number}"));
        assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    }
    server.signal(Signal::SIGKILL);
    eventually(PATIENCE, "the instance is gone", || server.survivors().is_empty().then_some(()));
    let next = start();
    for (number, first) in firsts.iter().enumerate() {
        let again = write(&next, &format!("k-{number}"), &format!("n{number}"));
        assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
        assert_eq!(next.runs(&format!("test_write.n{number}")), 0);
    }
}

#[test]
fn two_instances_with_one_redis_run_a_call_once_whichever_worker_gets_it() {
    let redis = RedisServer::start();
    let tree = Tree::new();
    let start = || {
        let server = Server::build(tree.root()).fixture().set("server.workers", 2);
        server.set("state.backend", "redis").set("redis.url", redis.url()).start()
    };
    let servers = [start(), start()];
    assert!(!servers[0].folder().join("state/records").exists(), "nothing is kept here");
    thread::scope(|scope| {
        for number in 0..16_usize {
            let server = &servers[number % 2];
            scope.spawn(move || write(server, "one", "once"));
        }
    });
    let ran: usize = servers.iter().map(|server| server.runs("test_write.once")).sum();
    assert_eq!(ran, 1);
    let bodies: Vec<_> = (0..6).map(|number: usize| write(&servers[number % 2], "one", "once").body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "all get the same answer");
}

#[test]
fn a_worker_that_was_stopped_keeps_the_others_from_nothing() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 2).set("state.timeout_ms", 500).start();
    let stopped = server.workers()[0];
    stopped.signal(Signal::SIGSTOP);
    for number in 0..10 {
        let name = format!("n{number}");
        eventually(PATIENCE, "a worker that runs answers", || {
            // The stopped one is ended in the meantime, and what waited there with it; the key makes it safe to ask again.
            let answer = fetch(server.address(), &keyed(&name, &name), PATIENCE).ok()?;
            (answer.status == 200 && answer.text().contains("result")).then_some(())
        });
        assert_eq!(server.runs(&format!("test_write.{name}")), 1);
    }
}
