//! What waits in the queue of a slot that nobody serves is served by a sibling.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use task_mcp_bench::{Request, fetch};

use crate::support::{Process, Server, Signal, Tree, eventually, run_alone};

/// Of so many connections, none in the queue of one of two workers would be a coin that falls on the same side every time.
const CLIENTS: usize = 40;
/// Far above what adoption takes, and far below what a broken slot takes to be tried again (30 s).
const ADOPTED_WITHIN: Duration = Duration::from_secs(12);
const TAKEN_OVER: &str = "Connections of a slot that nobody serves were taken over.";

/// Connects and asks, without waiting for the answer.
fn ask(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn sleep_call(ms: u64) -> String {
    let body = format!(r#"{{"tool":"test_sleep","input":{{"ms":{ms}}}}}"#);
    let length = body.len();
    format!(
        "POST /sse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The answers, each with the time it took from `since`.
fn answers(clients: Vec<TcpStream>, since: Instant) -> Vec<(String, Duration)> {
    let readers = clients.into_iter().map(|mut client| {
        thread::spawn(move || {
            let mut text = String::new();
            let read = client.read_to_string(&mut text);
            assert!(read.is_ok(), "{read:?} after {text:?}");
            (text, since.elapsed())
        })
    });
    readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect()
}

/// Stops a worker and sends requests at once, so that some of them wait in its queue: the worker, the clients.
fn strand(server: &Server, request: &str) -> (Process, Vec<TcpStream>) {
    let victim = server.wait_workers(2, &[])[0];
    victim.signal(Signal::SIGSTOP);
    // Each thread stops at its own next chance, and one of them accepts.
    while !victim.is_wholly_stopped() {
        thread::yield_now();
    }
    (victim, (0..CLIENTS).map(|_| ask(server, request)).collect())
}

/// Makes it impossible for new workers to start, then kills this one: its slot is broken.
fn break_slot(server: &Server, tree: &Tree, victim: Process) {
    fs::rename(tree.path("openspec"), tree.path("openspec.away")).unwrap();
    victim.signal(Signal::SIGKILL);
    eventually(Duration::from_secs(10), "the slot is broken", || {
        let socket = server.folder().join("run/control.sock");
        let ran = run_alone(server.folder(), &["ctl", "--socket", socket.to_str().unwrap(), "status", "--json"]);
        ran.stdout.contains("\"broken\"").then_some(())
    });
}

#[test]
fn what_waits_in_a_broken_slot_is_answered_by_its_sibling_long_before_the_slot_comes_back() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let (victim, clients) = strand(&server, HEALTH);
    let stranded = Instant::now();
    break_slot(&server, &tree, victim);
    for (text, took) in answers(clients, stranded) {
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(took < ADOPTED_WITHIN, "{took:?}");
    }
    assert!(server.stderr().contains(TAKEN_OVER));
    // Nothing was left behind that the sibling would stumble over.
    assert_eq!(fetch(server.address(), &Request::new("GET", "/healthz"), ADOPTED_WITHIN).unwrap().status, 200);
    assert_eq!(server.metrics().sum("task_mcp_http_requests_in_flight", &[]), 0.0);
}

#[test]
fn what_waits_for_a_stopped_worker_is_answered_before_its_successor_is_there() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let (_victim, clients) = strand(&server, HEALTH);
    for (text, _) in answers(clients, Instant::now()) {
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
    let log = eventually(ADOPTED_WITHIN, "the successor takes over", || {
        Some(server.stderr()).filter(|log| log.contains("A successor has taken over."))
    });
    let (adopted, succeeded) = (log.find(TAKEN_OVER), log.find("A successor has taken over."));
    assert!(adopted.is_some() && adopted < succeeded, "{adopted:?} {succeeded:?}");
}

#[test]
fn adopted_calls_are_finished_when_the_instance_drains() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.lame_duck_ms", 0).start();
    let (victim, clients) = strand(&server, &sleep_call(3_000));
    break_slot(&server, &tree, victim);
    server.wait_in_flight(CLIENTS);
    server.terminate();
    for (text, _) in answers(clients, Instant::now()) {
        assert!(text.contains("event: result") && text.ends_with("0\r\n\r\n"), "{text}");
    }
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
    assert!(server.stderr().contains(TAKEN_OVER));
}

#[test]
fn what_there_is_no_room_for_waits_where_it_is_and_nothing_is_refused() {
    /// More than wait in the queue of the sibling, of two, and fewer than all.
    const MOST: usize = 32;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("limits.max_connections", MOST).start();
    let (victim, clients) = strand(&server, &sleep_call(4_000));
    break_slot(&server, &tree, victim);
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut most = 0.0;
            while !done.load(Ordering::Relaxed) {
                most = server.metrics().sum("task_mcp_http_requests_in_flight", &[]).max(most);
                thread::sleep(Duration::from_millis(10));
            }
            most
        });
        let answers = answers(clients, Instant::now());
        done.store(true, Ordering::Relaxed);
        assert!(answers.iter().all(|(text, _)| text.contains("event: result")), "{answers:?}");
        watched.join().unwrap()
    });
    assert_eq!(most, MOST as f64, "all the room there is was used, and no more");
    assert_eq!(server.metrics().sum("task_mcp_connections_refused_total", &[]), 0.0);
    assert!(server.stderr().contains(TAKEN_OVER));
}
