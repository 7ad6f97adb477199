//! Limits that hold over all workers: requests of a principal, connections of an address, connections in all; and connections on
//! which nothing happens.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use task_mcp_bench::{Request, Response, fetch};

use crate::support::{Caller, Control, Dialect, Server, ServerBuilder, Signal, Tree, eventually, modern, modern_call};

const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);
/// Two clients that are not the tests' own.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A kept connection from an address of the test's choice.
struct Client(TcpStream);

/// What came of a request on a kept connection.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// An answer: the status, and everything of it.
    Answer(u16, String),
    /// The end of the connection, or its reset.
    Nothing,
}

impl Client {
    fn connect(server: &Server, from: Ipv4Addr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // The kernel takes a port for the whole address and port of both sides, not for this side alone.
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&server.address().into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket.into())
    }

    fn send(&mut self, server: &Server, request: &Request) {
        // A server that has refused the connection may have closed it by now; what it said is read all the same.
        let _ = self.0.write_all(&request.to_bytes(&server.address().to_string(), true));
    }

    /// Sends a probe and reads its answer.
    fn probe(&mut self, server: &Server) -> Came {
        self.send(server, &Request::new("GET", "/healthz"));
        self.read()
    }

    /// Reads one answer with a `Content-Length`.
    fn read(&mut self) -> Came {
        let mut text = String::new();
        let mut piece = [0; 4096];
        loop {
            let length =
                text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            if body.is_some() && body == length {
                return Came::Answer(text[9..12].parse().unwrap(), text);
            }
            match self.0.read(&mut piece) {
                Ok(0) => return Came::Nothing,
                Ok(read) => text.push_str(&String::from_utf8_lossy(&piece[..read])),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Came::Nothing,
                Err(error) => panic!("{error} after {text:?}"),
            }
        }
    }

    /// Reads until the text is there.
    fn read_until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        let mut piece = [0; 4096];
        while !text.contains(wanted) {
            let read = self.0.read(&mut piece).unwrap();
            assert!(read > 0, "it ended before {wanted:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        text
    }

    /// Whether the server has not closed it. What it has sent meanwhile is read.
    fn is_open(&self) -> bool {
        let mut piece = [0; 4096];
        self.0.set_nonblocking(true).unwrap();
        let is_open = loop {
            match (&self.0).read(&mut piece) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        self.0.set_nonblocking(false).unwrap();
        is_open
    }

    /// Reads to the end: everything, and whether the end was a clean one.
    fn read_out(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let clean = self.0.read_to_end(&mut bytes);
        if let Err(error) = &clean {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        (String::from_utf8_lossy(&bytes).into_owned(), clean.is_ok())
    }
}

impl Came {
    fn is_ok(&self) -> bool {
        matches!(self, Self::Answer(200, _))
    }
}

/// Connections from an address that were let in, and have had an answer.
fn fill(server: &Server, from: Ipv4Addr, count: usize) -> Vec<Client> {
    let open = |_| {
        let mut client = Client::connect(server, from);
        let came = client.probe(server);
        assert!(came.is_ok(), "{came:?}");
        client
    };
    (0..count).map(open).collect()
}

/// A connection that was let in, or what the server said.
fn try_one(server: &Server, from: Ipv4Addr) -> Result<Client, Came> {
    let mut client = Client::connect(server, from);
    match client.probe(server) {
        came if came.is_ok() => Ok(client),
        came => Err(came),
    }
}

fn plain(path: &str, tool: &str, input: &Value) -> Request {
    let accept = if path == "/sse" { "text/event-stream" } else { "application/x-ndjson" };
    Request::post_json(path, json!({"tool": tool, "input": input}).to_string()).header("Accept", accept)
}

fn list(token: &str) -> Request {
    modern("tools/list", json!({})).header("Authorization", &format!("Bearer {token}"))
}

fn number(response: &Response, name: &str) -> i64 {
    response.header(name).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

const TOKENS: [&str; 2] = ["0123456789abcdef-one", "0123456789abcdef-two"];

#[test]
fn a_rate_holds_over_all_workers_and_each_principal_has_its_own() {
    const BURST: usize = 60;
    const THREADS: usize = 8;
    const EACH: usize = 50;
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .set("server.workers", WORKERS)
        .set("auth.tokens", format!("{TOKENS:?}"))
        .set("limits.requests_per_minute", 60)
        .set("limits.burst", BURST)
        .start();
    server.wait_workers(WORKERS, &[]);
    let started = Instant::now();
    let answers: Vec<Response> = thread::scope(|scope| {
        // A connection for each request: any worker may get it.
        let ask = || (0..EACH).map(|_| server.send(&list(TOKENS[0]))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let given_back = started.elapsed().as_secs() as usize + 1;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((BURST..=BURST + given_back).contains(&passed), "{passed} passed in {given_back} s");
    assert!(answers.len() - passed > 2 * BURST, "a limit for each worker would have let them pass");
    for answer in &answers {
        assert_eq!(number(answer, "x-ratelimit-limit"), BURST as i64);
        assert!((0..BURST as i64).contains(&number(answer, "x-ratelimit-remaining")));
        let reset_s = number(answer, "x-ratelimit-reset") - jiff::Timestamp::now().as_second();
        assert!((-30..=BURST as i64 + 2).contains(&reset_s), "{reset_s}");
        if answer.status != 200 {
            assert_eq!(answer.status, 429);
            assert_eq!(number(answer, "x-ratelimit-remaining"), 0);
            assert!((1..=2).contains(&number(answer, "retry-after")));
            let message: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(message["error"]["code"], -32_000);
            let data = &message["error"]["data"];
            assert_eq!(data["code"], "RATE_LIMIT_EXCEEDED");
            assert!((1..=1_000).contains(&data["retryAfterMs"].as_u64().unwrap()), "{data}");
        }
    }
    assert_eq!(server.send(&list(TOKENS[1])).status, 200, "another principal has its own");
    assert_eq!(server.get("/healthz").status, 200, "probes have no limit");
    let refused = server.metrics().sum("task_mcp_rate_limited_total", &[]);
    assert_eq!(refused, (answers.len() - passed) as f64);
    let waited =
        eventually(PATIENCE, "one is given back", || Some(server.send(&list(TOKENS[0]))).filter(|it| it.status == 200));
    assert_eq!(waited.header("retry-after"), None);
}

#[test]
fn where_nobody_has_a_name_each_address_has_a_rate_and_a_refusal_keeps_the_connection() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("limits.requests_per_minute", 1).set("limits.burst", 3).start();
    let mut client = Client::connect(&server, ONE);
    let statuses = (0..6).map(|_| {
        client.send(&server, &modern("tools/list", json!({})));
        match client.read() {
            Came::Answer(status, _) => status,
            Came::Nothing => panic!("the connection was closed"),
        }
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [200, 200, 200, 429, 429, 429]);
    let mut other = Client::connect(&server, OTHER);
    other.send(&server, &modern("tools/list", json!({})));
    assert!(other.read().is_ok());
    for path in ["/sse", "/mcp"] {
        client.send(&server, &plain(path, "changes.active", &json!({})));
        let Came::Answer(429, text) = client.read() else { panic!("{path}") };
        let retry_s = text.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
        assert!((50..=60).contains(&retry_s.parse::<u32>().unwrap()), "{text}");
        assert!(text.contains(r#""code":"RATE_LIMIT_EXCEEDED""#) && text.contains("\"requestId\""), "{text}");
    }
}

#[test]
fn a_rate_changes_while_the_workers_run() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let workers = server.wait_workers(2, &[]);
    let ask = || server.send(&modern("tools/list", json!({})));
    assert_eq!(ask().header("x-ratelimit-limit"), None, "there is no limit, so nothing is said of one");
    server.write_settings("[limits]\nrequests_per_minute = 1\nburst = 2\n");
    server.signal(Signal::SIGHUP);
    eventually(PATIENCE, "the limit is in force", || (ask().status == 429).then_some(()));
    server.write_settings("");
    server.signal(Signal::SIGHUP);
    eventually(PATIENCE, "it is not", || (0..8).all(|_| ask().status == 200).then_some(()));
    assert_eq!(server.workers(), workers);
}

/// A server of four workers where an address may have so many connections.
fn limited_by_address(tree: &Tree, most: usize) -> Server {
    let server =
        Server::build(tree.root()).set("server.workers", WORKERS).set("limits.max_connections_per_ip", most).start();
    server.wait_workers(WORKERS, &[]);
    server
}

#[test]
fn an_address_has_its_connections_over_all_workers_and_others_have_theirs() {
    const MOST: usize = 20;
    let tree = Tree::new();
    let server = limited_by_address(&tree, MOST);
    // At once, on random workers: some may meet at the limit, but never do more than that get in.
    let mut open: Vec<Client> = thread::scope(|scope| {
        let tries: Vec<_> = (0..4 * MOST).map(|_| scope.spawn(|| try_one(&server, ONE))).collect();
        tries.into_iter().filter_map(|one| one.join().unwrap().ok()).collect()
    });
    assert!(open.len() <= MOST, "{} were let in", open.len());
    while open.len() < MOST {
        open.push(eventually(PATIENCE, "there is room for the rest", || try_one(&server, ONE).ok()));
    }
    for _ in 0..3 * WORKERS {
        let Err(Came::Answer(429, text)) = try_one(&server, ONE) else { panic!("it was not refused") };
        assert!(text.contains("TOO_MANY_CONNECTIONS") && text.contains("Retry-After: 1\r\n"), "{text}");
    }
    assert!(try_one(&server, OTHER).is_ok());
    assert!(open.iter_mut().all(|client| client.probe(&server).is_ok()), "nobody who was in is concerned");
    open.pop();
    open.push(eventually(PATIENCE, "a place that was left is given", || try_one(&server, ONE).ok()));
    assert!(try_one(&server, ONE).is_err());
    assert!(server.metrics().sum("task_mcp_connections_refused_total", &[("reason", "address")]) >= 12.0);
    assert!(server.stderr().matches("Connections are refused.").count() <= WORKERS, "one line, not one for each");
}

#[test]
fn what_a_killed_worker_had_open_is_given_back_exactly() {
    const MOST: usize = 24;
    let tree = Tree::new();
    let server = limited_by_address(&tree, MOST);
    let mut open = fill(&server, ONE, MOST);
    assert!(try_one(&server, ONE).is_err());
    server.kill_worker();
    server.wait_workers(WORKERS, &[]);
    open.retain_mut(|client| client.probe(&server).is_ok());
    assert!(open.len() < MOST, "of {MOST} none was on that worker");
    while open.len() < MOST {
        open.push(eventually(PATIENCE, "its share is given back", || try_one(&server, ONE).ok()));
    }
    assert!(try_one(&server, ONE).is_err(), "no more than that");
}

/// A server of four workers that may have so many connections in all.
fn limited_in_all(tree: &Tree, most: usize) -> Server {
    let server = in_all(tree, most).start();
    server.wait_workers(WORKERS, &[]);
    server
}

fn in_all(tree: &Tree, most: usize) -> ServerBuilder {
    // Successors come at once, and their predecessors have calls to finish.
    let server = Server::build(tree.root()).fixture().set("supervisor.lame_duck_ms", 0);
    server.set("server.workers", WORKERS).set("limits.max_connections", most)
}

/// Begins a call that outlasts the test; what the server said if it was not let in.
fn try_busy(server: &Server, from: Ipv4Addr) -> Result<Client, Came> {
    let mut client = Client::connect(server, from);
    client.send(server, &plain("/sse", "test_sleep", &json!({"ms": 60_000})));
    let mut status = [0; 12];
    let read = client.0.read_exact(&mut status);
    if read.is_ok() && status == *b"HTTP/1.1 200" {
        return Ok(client);
    }
    match read {
        Ok(()) => Err(Came::Answer(String::from_utf8_lossy(&status[9..]).parse().unwrap(), client.read_out().0)),
        Err(_) => Err(Came::Nothing),
    }
}

/// Exactly so many busy connections are let in by the workers together, wherever they land; the rest is refused with the reason.
fn assert_allows(server: &Server, most: usize) -> Vec<Client> {
    let busy =
        (0..most).map(|at| try_busy(server, ONE).unwrap_or_else(|came| panic!("number {at} of {most}: {came:?}")));
    let busy = busy.collect();
    for _ in 0..2 * WORKERS {
        let Err(Came::Answer(503, text)) = try_busy(server, OTHER) else { panic!("one too many was let in") };
        assert!(text.contains("SERVER_BUSY") && text.contains("(limits.max_connections)"), "{text}");
    }
    busy
}

#[test]
fn the_workers_together_have_all_connections_wherever_they_land_and_a_killed_one_gives_back_its_own() {
    const MOST: usize = 40;
    let tree = Tree::new();
    let server = limited_in_all(&tree, MOST);
    let busy = assert_allows(&server, MOST);
    let refused = server.metrics().sum("task_mcp_connections_refused_total", &[("reason", "full")]);
    assert_eq!(refused, 2.0 * WORKERS as f64);
    let victim = server.kill_worker();
    server.wait_workers(WORKERS, &[victim]);
    let mut busy: Vec<Client> = busy.into_iter().filter(Client::is_open).collect();
    assert!(busy.len() < MOST, "of {MOST} none was on that worker");
    while busy.len() < MOST {
        busy.push(eventually(PATIENCE, "its share is given back", || try_busy(&server, ONE).ok()));
    }
    assert!((0..2 * WORKERS).all(|_| try_busy(&server, OTHER).is_err()), "no more than that");
    drop(busy);
    server.wait_in_flight(0);
    assert_allows(&server, MOST);
}

#[test]
fn idle_connections_make_room_on_every_worker() {
    const MOST: usize = 40;
    let tree = Tree::new();
    let server = limited_in_all(&tree, MOST);
    let idle = fill(&server, ONE, MOST);
    let busy: Vec<Client> = (0..WORKERS).map(|_| try_busy(&server, OTHER).unwrap()).collect();
    let closed = server.metrics().sum("task_mcp_connections_closed_total", &[("reason", "room")]);
    assert_eq!(closed, busy.len() as f64, "one for each");
    eventually(PATIENCE, "they are gone, and no others", || {
        let open = idle.iter().filter(|client| client.is_open()).count();
        (open == MOST - busy.len()).then_some(())
    });
}

#[test]
fn counts_stay_right_over_rolling_restarts_and_upgrades() {
    const MOST: usize = 16;
    let tree = Tree::new();
    let server = in_all(&tree, MOST).installed().start();
    let mut control = Control::new(&server);
    server.wait_workers(WORKERS, &[]);
    for order in ["restart", "upgrade", "restart"] {
        let mut busy = assert_allows(&server, MOST);
        busy.truncate(MOST / 2);
        server.wait_in_flight(MOST / 2);
        let before = server.workers();
        thread::scope(|scope| {
            let done = scope.spawn(|| control.order(order));
            eventually(PATIENCE, "a successor serves", || {
                server.workers().iter().any(|worker| !before.contains(worker)).then_some(())
            });
            // Those that predecessors still serve count.
            drop((assert_allows(&server, MOST - busy.len()), busy));
            let (done, told) = done.join().unwrap();
            assert!(done, "{order}: {told}");
        });
        server.wait_workers(WORKERS, &before);
        server.wait_in_flight(0);
        drop(assert_allows(&server, MOST));
        server.wait_in_flight(0);
    }
}

#[test]
fn the_connection_idle_longest_makes_room_busy_ones_never_do_and_then_the_new_one_is_refused() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).set("limits.max_connections", 4).start();
    let busy = |mut client: Client| {
        client.send(&server, &plain("/sse", "test_sleep", &json!({"ms": 4_000})));
        client.read_until(": keep-alive");
        client
    };
    let [first_busy, second_busy] = [(); 2].map(|()| busy(Client::connect(&server, ONE)));
    let mut idle = fill(&server, ONE, 2);
    assert!(idle[0].probe(&server).is_ok(), "now it is the second that is idle longest");
    let third = try_one(&server, OTHER).unwrap();
    assert_eq!(idle[1].read(), Came::Nothing);
    let fourth = try_one(&server, OTHER).unwrap();
    assert_eq!(idle[0].read(), Came::Nothing);
    let rest = [third, fourth].map(busy);
    let Err(Came::Answer(503, text)) = try_one(&server, ONE) else { panic!("it was not refused") };
    assert!(text.contains("SERVER_BUSY") && text.contains("Retry-After: 1\r\n"), "{text}");
    assert!(text.contains("Connection: close\r\n"), "{text}");
    let metrics = server.metrics();
    assert_eq!(metrics.sum("task_mcp_connections_closed_total", &[("reason", "room")]), 2.0);
    assert_eq!(metrics.sum("task_mcp_connections_refused_total", &[("reason", "full")]), 1.0);
    for mut stream in [first_busy, second_busy].into_iter().chain(rest) {
        stream.read_until("event: result");
    }
}

#[test]
fn who_sends_a_head_by_the_byte_makes_room() {
    const MOST: usize = 8;
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 1).set("limits.max_connections", MOST).start();
    let mut slow: Vec<Client> = (0..MOST).map(|_| Client::connect(&server, ONE)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A head that does not end.
            for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ".iter().chain(std::iter::repeat(&b'x')) {
                slow.retain_mut(|client| client.0.write_all(&[*byte]).is_ok());
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(300));
            }
        });
        let started = Instant::now();
        let came = loop {
            match try_one(&server, OTHER) {
                Ok(client) => break Some(client),
                Err(_) if started.elapsed() > PATIENCE => break None,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        is_over.store(true, Ordering::Relaxed);
        assert!(came.is_some(), "nobody got in for {PATIENCE:?}");
    });
}

#[test]
fn one_that_has_just_come_is_not_sent_away_for_the_next() {
    const COME: usize = 24;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).set("limits.max_connections", 4).start();
    let come: Vec<Came> = thread::scope(|scope| {
        let ask = || {
            let mut client = Client::connect(&server, ONE);
            client.send(&server, &modern_call("test_sleep", json!({"ms": 700})));
            client.read()
        };
        let clients: Vec<_> = (0..COME).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let count = |status| come.iter().filter(|came| matches!(came, Came::Answer(found, _) if *found == status)).count();
    assert_eq!((count(200), count(503)), (4, COME - 4), "{come:?}");
}

#[test]
fn a_silent_stream_ends_and_one_with_heartbeats_or_a_call_that_waits_does_not() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("server.workers", 1)
        .set("limits.idle_timeout_s", 1)
        .set("server.heartbeat_ms", 200)
        .start();
    let open = |request: &Request| {
        let mut client = Client::connect(&server, ONE);
        client.send(&server, request);
        client
    };
    let mut silent = open(&plain("/mcp", "test_sleep", &json!({"ms": 60_000})));
    let mut beating = open(&plain("/sse", "test_sleep", &json!({"ms": 2_500})));
    // Who takes no events is told nothing until the answer.
    let waiting = modern_call("test_sleep", json!({"ms": 2_500})).header("Accept", "application/json");
    let mut waiting = open(&waiting);
    let mut idle = fill(&server, ONE, 1);
    let started = Instant::now();
    let (text, _) = silent.read_out();
    assert!(text.contains(r#""type":"start""#) && !text.contains("0\r\n\r\n"), "it was cut, not ended: {text}");
    assert_eq!(idle[0].read(), Came::Nothing);
    assert!(started.elapsed() >= Duration::from_millis(900), "not before its time");
    let came = waiting.read();
    assert!(came.is_ok(), "{came:?}");
    beating.read_until("event: result");
    eventually(PATIENCE, "both were counted, and the call of the stream is no longer in flight", || {
        let metrics = server.try_metrics()?;
        let closed = metrics.sum("task_mcp_connections_closed_total", &[("reason", "idle")]);
        (closed >= 2.0 && metrics.sum("task_mcp_http_requests_in_flight", &[]) == 0.0).then_some(())
    });
}

#[test]
fn a_server_without_limits_says_nothing_of_them() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    assert!(Caller::new(&server, Dialect::Sse).call("changes.active", json!({})).ok()["total"].is_u64());
    let answer = fetch(server.address(), &plain("/sse", "changes.active", &json!({})), PATIENCE).unwrap();
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("x-ratelimit")), "{:?}", answer.headers);
}
