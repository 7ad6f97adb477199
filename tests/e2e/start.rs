//! From the command to the first answer; what refuses to start.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Caller, Dialect, Server, Tree, eventually, finish};

#[test]
fn it_serves_within_three_seconds_of_its_start() {
    let tree = Tree::new();
    let started = Instant::now();
    let server = Server::build(tree.root()).start();
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(3), "the banner took {elapsed:?}");
    assert_eq!(server.get("/readyz").status, 200, "whoever reads the banner is served");
}

#[test]
fn the_call_it_prints_succeeds_when_pasted() {
    let tree = Tree::new();
    tree.add_ready_change("pasted");
    let server = Server::build(tree.root()).start();
    let stdout = server.stdout();
    let call = stdout.lines().find_map(|line| line.get(line.find("curl ")?..));
    let call = call.unwrap_or_else(|| panic!("no curl call in the banner:\n{stdout}"));

    let mut shell = Command::new("sh");
    shell.arg("-c").arg(call);
    let pasted = finish(shell, Duration::from_secs(10));
    assert_eq!(pasted.code, 0, "{call}\n{}", pasted.stderr);
    assert!(pasted.stdout.contains("pasted"), "it lists the tree's changes: {}", pasted.stdout);
    assert!(!pasted.stdout.contains("\"error\""), "{}", pasted.stdout);
}

#[test]
fn the_demo_serves_the_sample_and_leaves_the_shipped_one_alone() {
    let server = Server::bare().argument("--demo").start();
    let caller = Caller::new(&server, Dialect::Modern);
    let active = caller.call("changes.active", json!({})).ok();
    assert!(active["total"].as_u64().unwrap() > 0, "{active}");
    caller.call("change.open", json!({"title": "Try it", "slug": "try-it"})).ok();
    let other = Server::bare().argument("--demo").start();
    let fresh = Caller::new(&other, Dialect::Modern).call("changes.active", json!({})).ok();
    assert_eq!(fresh["total"], active["total"], "each demo has a copy of its own");

    let stdout = other.stdout();
    let tree = stdout.lines().find_map(|line| line.trim_start().strip_prefix("tree")).map(str::trim).unwrap();
    assert!(Path::new(tree).is_dir(), "{tree}");
    other.terminate();
    assert_eq!(other.wait_exit(Duration::from_secs(3)), 0);
    assert!(!Path::new(tree).exists(), "the copy is removed at the end");
}

#[test]
fn health_is_told_in_three_depths() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let json_of = |path: &str| -> Value {
        let response = server.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", response.text()))
    };
    assert!(json_of("/healthz")["status"].is_string());
    assert_eq!(json_of("/readyz")["ready"], true);
    let health = json_of("/health");
    let checks = health["checks"].as_object().unwrap_or_else(|| panic!("named checks: {health}"));
    assert!(!checks.is_empty());
    for (name, check) in checks {
        assert!(check["status"].is_string() && check["duration"].is_number(), "{name}: {check}");
        assert!(check["timestamp"].is_string() || check["timestamp"].is_number(), "{name}: {check}");
    }
    let service = json_of("/");
    assert!(service["name"].is_string() && service["version"].is_string(), "{service}");
}

#[test]
fn a_tree_that_goes_away_is_not_a_tree_without_changes() {
    let tree = Tree::new();
    tree.add_ready_change("still-there");
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, Dialect::Ndjson);
    assert_eq!(caller.call("changes.active", json!({})).ok()["total"], 1);
    let all_say = |status: u16| {
        let mut agreed = 0;
        eventually(Duration::from_secs(4), &format!("every worker's health is {status}"), || {
            let answer = server.get("/health");
            agreed = if answer.status == status { agreed + 1 } else { 0 };
            (agreed == 20).then(|| answer.text())
        })
    };
    let away = tree.path("away");
    std::fs::rename(tree.path("openspec"), &away).unwrap();
    let health = all_say(503);
    assert!(health.contains("ENOTREE") && !health.contains(&tree.root().display().to_string()), "{health}");
    let fault = caller.call("changes.active", json!({})).fault();
    assert!(fault.text.contains("ENOTREE"), "{}", fault.text);
    std::fs::rename(&away, tree.path("openspec")).unwrap();
    all_say(200);
    assert_eq!(caller.call("changes.active", json!({})).ok()["total"], 1);
}

#[test]
fn strangers_learn_no_path() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings("[auth]\ntokens = [\"a-token-of-some-length\"]\n").start();
    for path in ["/", "/healthz", "/readyz", "/health"] {
        let text = server.get(path).text();
        assert!(!text.contains(&tree.root().display().to_string()), "{path}: {text}");
    }
}

#[test]
fn health_answers_whatever_host_a_probe_names() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    for path in ["/healthz", "/readyz", "/health"] {
        let probe = task_mcp_bench::Request::new("GET", path).header("Host", "10.1.2.3:8443");
        assert_eq!(server.send(&probe).status, 200, "{path}");
    }
}

#[test]
fn a_second_server_on_the_same_port_is_refused_and_the_first_serves_on() {
    let tree = Tree::new();
    let first = Server::build(tree.root()).start();
    let (code, stderr) = Server::build(tree.root()).set("server.listen", first.address()).start_refused();
    assert_ne!(code, 0);
    assert!(stderr.contains(&first.address().port().to_string()), "the address is named: {stderr}");
    assert_served_by_both_workers(&first);
}

#[test]
fn a_second_server_in_the_same_runtime_folder_is_refused_and_the_first_serves_on() {
    let tree = Tree::new();
    let first = Server::build(tree.root()).start();
    let runtime = first.folder().join("run");
    let (code, stderr) = Server::build(tree.root()).set("supervisor.runtime_dir", runtime.display()).start_refused();
    assert_ne!(code, 0);
    assert!(stderr.contains(&runtime.display().to_string()), "the folder is named: {stderr}");
    assert_served_by_both_workers(&first);
}

#[test]
fn two_servers_with_folders_and_ports_of_their_own_run_side_by_side() {
    let (one, two) = (Tree::new(), Tree::new());
    one.add_ready_change("only-in-one");
    let (first, second) = (Server::build(one.root()).start(), Server::build(two.root()).start());
    let total =
        |server: &Server| Caller::new(server, Dialect::Modern).call("changes.active", json!({})).ok()["total"].clone();
    assert_eq!((total(&first), total(&second)), (json!(1), json!(0)));
}

/// Twenty connections: a stranger in the port's group of sockets would have got some of them.
fn assert_served_by_both_workers(server: &Server) {
    for _ in 0..20 {
        Caller::new(server, Dialect::Modern).call("changes.active", json!({})).ok();
    }
}

#[test]
fn descriptors_that_were_promised_and_not_passed_harm_nobody() {
    let tree = Tree::new();
    let lie = "LISTEN_PID=$$ LISTEN_FDS=30 exec \"$0\" \"$@\"";
    let server = Server::build(tree.root()).through(&["/bin/sh", "-c", lie]).start();
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.stderr().contains("could not be taken over"), "{}", server.stderr());
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
}
