//! Legacy sessions: any worker of any machine with the same keys serves them, nobody has to remember them, and what ends one ends it
//! everywhere.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use task_mcp_bench::{Connection, Request, Response};
use task_mcp_test_servers::RedisServer;
use tokio::runtime::Builder;

use crate::support::{Answer, Control, REQUEST_LIMIT, Server, Session, Shared, Signal, Tree, eventually, sized};

const LIMIT: Duration = Duration::from_secs(30);
/// Requests over connections of their own, of which each of three workers gets some: all but one in a hundred thousand times.
const ENOUGH: usize = 30;

fn open(server: &Server) -> String {
    Session::open(server, None).id().expect("a session").to_owned()
}

/// A request of a session, to whatever worker gets the connection.
fn request(id: &str, method: &str, params: Value) -> Request {
    let body = json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
    Request::post_json("/mcp", body.to_string())
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("Mcp-Session-Id", id)
}

fn ask(server: &Server, id: &str) -> Response {
    server.send(&request(id, "ping", json!({})))
}

fn end(server: &Server, id: &str) -> u16 {
    let request = Request::new("DELETE", "/mcp").header("MCP-Protocol-Version", "2025-11-25");
    server.send(&request.header("Mcp-Session-Id", id)).status
}

/// Every worker serves the session, and lets it change what only a session can.
#[track_caller]
fn assert_served(server: &Server, id: &str) {
    for number in 0..ENOUGH {
        let request = match number % 3 {
            0 => request(id, "logging/setLevel", json!({"level": "info"})),
            1 => request(id, "tools/list", json!({})),
            _ => request(id, "ping", json!({})),
        };
        let answer = Answer::new(server.send(&request));
        assert!(answer.status == 200 && answer.error_code().is_none(), "{} {}", answer.status, answer.message);
    }
}

/// No worker serves the session, and each says the same.
#[track_caller]
fn assert_not_found(server: &Server, id: &str) {
    for _ in 0..ENOUGH {
        let answer = Answer::new(ask(server, id));
        assert_eq!((answer.status, answer.error_code()), (404, Some(-32001)), "{}", answer.message);
        assert_eq!(answer.message["error"]["message"], "Session not found");
    }
}

#[test]
fn a_session_outlives_every_process_that_knew_it() {
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let build = || {
        let server = Server::build(tree.root()).fixture().installed().set("server.workers", 3);
        server.set("supervisor.lame_duck_ms", 0).set("supervisor.state_dir", state.display())
    };
    let server = build().start();
    let mut control = Control::new(&server);
    let id = open(&server);
    assert!(id.len() <= 512 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
    assert_served(&server, &id);
    let first = server.workers();
    first.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    server.wait_workers(3, &first);
    assert_served(&server, &id);
    control.restart();
    assert_served(&server, &id);
    server.write_settings("limits.keep_alive_s = 70\n");
    assert_eq!(control.order("reload"), (true, "The settings are in force; 3 workers were replaced.".to_owned()));
    assert_served(&server, &id);
    server.install(false);
    assert_eq!(control.order("upgrade"), (true, "The new program is in force; 3 workers were replaced.".to_owned()));
    assert_served(&server, &id);
    drop(server);
    assert_served(&build().start(), &id);
}

#[test]
fn keys_are_changed_without_an_end_of_sessions_and_without_new_workers() {
    let tree = Tree::new();
    let keys = |letters: &[&str]| {
        let keys: Vec<String> = letters.iter().map(|letter| format!("\"{}\"", letter.repeat(32))).collect();
        format!("auth.sealing_keys = [{}]\n", keys.join(", "))
    };
    let server = Server::build(tree.root()).set("server.workers", 3).settings(&keys(&["a"])).start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let mut reload = |letters: &[&str]| {
        server.write_settings(&keys(letters));
        assert!(control.order("reload").0);
        assert_eq!(control.status().pids(), before);
    };
    let old = open(&server);
    reload(&["a", "b"]);
    let also_old = open(&server);
    reload(&["b", "a"]);
    let new = open(&server);
    for id in [&old, &also_old, &new] {
        assert_served(&server, id);
    }
    reload(&["b"]);
    assert_served(&server, &new);
    assert_not_found(&server, &old);
    assert_not_found(&server, &also_old);
}

#[test]
fn a_session_that_was_ended_is_so_at_every_worker_and_at_those_born_later() {
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let start = || {
        let server = Server::build(tree.root()).set("server.workers", 3).set("supervisor.lame_duck_ms", 0);
        server.set("supervisor.state_dir", state.display()).start()
    };
    let server = start();
    let (id, other) = (open(&server), open(&server));
    assert_served(&server, &id);
    assert!((200..300).contains(&end(&server, &id)));
    assert_not_found(&server, &id);
    assert_eq!(end(&server, &id), 404);
    let victim = server.kill_worker();
    server.wait_workers(3, &[victim]);
    assert_not_found(&server, &id);
    Control::new(&server).restart();
    assert_not_found(&server, &id);
    assert_served(&server, &other);
    drop(server);
    let server = start();
    assert_not_found(&server, &id);
    assert_served(&server, &other);
}

#[test]
fn machines_that_share_keys_and_redis_share_sessions_and_their_end() {
    let mut redis = RedisServer::start();
    let shared = Shared::new();
    let start = || {
        let server = shared.instance(2).set("state.backend", "redis").set("redis.url", redis.url());
        server.set("auth.sealing_keys", "k".repeat(32)).start()
    };
    let servers = [start(), start()];
    let (id, other) = (open(&servers[0]), open(&servers[1]));
    for server in &servers {
        assert_served(server, &id);
        assert_served(server, &other);
    }
    assert!((200..300).contains(&end(&servers[0], &id)));
    // Elsewhere it may be believed for a second more that nothing was revoked.
    let ended = Instant::now();
    while ended.elapsed() < Duration::from_millis(1_500) {
        thread::sleep(Duration::from_millis(50));
        ask(&servers[1], &id);
    }
    for server in &servers {
        assert_not_found(server, &id);
        assert_served(server, &other);
    }
    redis.kill();
    let status = |server: &Server| ask(server, &other).status;
    eventually(LIMIT, "what cannot be asked is not guessed", || (status(&servers[0]) == 503).then_some(()));
    redis.restart();
    eventually(LIMIT, "sessions are served again", || (0..ENOUGH).all(|_| status(&servers[0]) == 200).then_some(()));
}

#[test]
fn a_session_is_its_principals_alone_and_what_is_no_session_looks_the_same() {
    let tree = Tree::new();
    let tokens = ["the-first-token-of-a-test", "the-second-token-of-a-test"];
    let server = Server::build(tree.root()).set("auth.tokens", tokens.join(",")).start();
    let id = Session::open(&server, Some(tokens[0])).id().expect("a session").to_owned();
    let ask = |id: &str, token: &str| {
        server.send(&request(id, "ping", json!({})).header("Authorization", &format!("Bearer {token}")))
    };
    assert_eq!(ask(&id, tokens[0]).status, 200);
    let refused = ask(&id, tokens[1]);
    assert_eq!(refused.status, 404);
    let mut swapped = id.clone().into_bytes();
    swapped.swap(20, 21);
    swapped[40] ^= 1;
    let changed = [String::from_utf8(swapped).unwrap(), id[..id.len() - 1].to_owned(), format!("{id}A")];
    for id in changed.iter().map(String::as_str).chain(["", "x", &"1".repeat(600), "not-a-session"]) {
        let answer = ask(id, tokens[0]);
        assert_eq!((answer.status, &answer.body), (404, &refused.body), "{id:?}: {}", answer.text());
    }
}

#[test]
fn a_session_ends_with_its_time() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("state.session_ttl_s", 3).start();
    let begun = Instant::now();
    let id = open(&server);
    eventually(LIMIT, "its time is over", || (ask(&server, &id).status == 404).then_some(()));
    assert!(begun.elapsed() >= Duration::from_secs(3), "not before: {:?}", begun.elapsed());
    assert_not_found(&server, &id);
    assert_eq!(ask(&server, &open(&server)).status, 200);
}

#[test]
fn a_session_that_nobody_uses_ends_and_one_that_is_used_does_not() {
    const IDLE_S: u64 = 4;
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 3).set("state.session_idle_s", IDLE_S).start();
    let (used, unused) = (open(&server), open(&server));
    // Served at workers by chance, each of which sees only some of its requests.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(IDLE_S * 2) {
        assert_eq!(ask(&server, &used).status, 200, "after {:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    assert_not_found(&server, &unused);
    assert_eq!(ask(&server, &used).status, 200);
}

/// Memory of the workers that is theirs alone, in KiB: neither files nor what processes share.
fn own_kib(server: &Server) -> u64 {
    let own = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it has memory");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    server.workers().iter().map(|worker| own(worker.pid)).sum()
}

/// Begins so many sessions over four connections and uses each once.
fn begin_many(server: &Server, count: usize) {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}});
    let hello = Request::post_json("/mcp", hello.to_string()).to_bytes("localhost", true);
    let one = async || {
        let mut connection = Connection::open(server.address(), REQUEST_LIMIT).await.expect("a connection");
        for _ in 0..count / 4 {
            let begun = connection.exchange(&hello, REQUEST_LIMIT).await.expect("an answer").to_response();
            let id = begun.header("mcp-session-id").expect("a session");
            let ping = request(id, "ping", json!({})).to_bytes("localhost", true);
            assert_eq!(connection.exchange(&ping, REQUEST_LIMIT).await.expect("an answer").status, 200);
        }
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(one(), one(), one(), one()) });
}

#[test]
fn idle_sessions_cost_no_memory() {
    /// Of ten thousand sessions: less than 110 bytes each, and an id alone has twice as many.
    const MOST_KIB: u64 = 1_024;
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    // Buffers and tables grow to what they need first.
    begin_many(&server, 2_000);
    let before = own_kib(&server);
    begin_many(&server, sized(10_000, 100_000));
    let grown = own_kib(&server).saturating_sub(before);
    assert!(grown < MOST_KIB, "{grown} KiB more than {before} KiB");
    let state = fs::metadata(server.folder().join("state/records/data.mdb")).expect("the records").len();
    begin_many(&server, 1_000);
    let after = fs::metadata(server.folder().join("state/records/data.mdb")).expect("the records").len();
    assert_eq!(after, state, "nor a record");
}
