//! The server and the client against each other, and against bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::unreachable;
use super::lines::LINE_BYTES;
use super::server::{Awaits, CLIENTS_MAX, WAITING_MAX};
use rustix::event::PollFlags;

use super::*;
use crate::SupervisorError;

struct Bench {
    dir: tempfile::TempDir,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::open(&dir.path().join("control.sock")).unwrap();
        Self { dir, server }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Serves once; every request is answered with its own text.
    fn serve(&mut self, now_ms: u64) -> Vec<Request> {
        let requests = self.server.serve(now_ms);
        for (client, request) in &requests {
            self.server.answer(*client, &Response::Done { message: format!("{request:?}") });
        }
        requests.into_iter().map(|(_, request)| request).collect()
    }
}

fn line(stream: &UnixStream) -> Response {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn refusal(stream: &UnixStream) -> String {
    let Response::Refused { reason } = line(stream) else { panic!("not refused") };
    let mut rest = Vec::new();
    let _ = { stream }.read_to_end(&mut rest);
    assert!(rest.is_empty(), "and closed");
    reason
}

#[test]
fn the_wire_form_is_this() {
    let json = |request| serde_json::to_string(&request).unwrap();
    assert_eq!(json(Request::Status), r#"{"command":"status"}"#);
    assert_eq!(json(Request::Scale { workers: 3 }), r#"{"command":"scale","workers":3}"#);
    let level = Request::LogLevel { level: task_mcp_config::settings::LogLevel::Debug };
    assert_eq!(json(level), r#"{"command":"log_level","level":"debug"}"#);
    let done = Response::Done { message: "x".into() };
    assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"result":"done","message":"x"}"#);
}

#[test]
fn only_this_user_may_open_the_socket_and_its_file_goes_with_it() {
    let bench = Bench::new();
    let path = bench.dir.path().join("control.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(bench.server);
    assert!(!path.exists());
}

#[test]
fn requests_in_a_row_are_answered_in_order_also_when_the_client_ends_its_side() {
    let mut bench = Bench::new();
    let mut client = bench.connect();
    client.write_all(b"{\"command\":\"status\"}\n{\"command\":\"drain\"}\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(bench.serve(0), [Request::Status]);
    assert_eq!(bench.serve(0), [Request::Drain]);
    bench.serve(0);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn garbage_and_oversize_are_refused_with_a_reason() {
    let long = vec![b'x'; LINE_BYTES + 1];
    for (bytes, expected) in [
        (b"hello\n".as_slice(), "no request this version knows"),
        (b"{\"command\":\"explode\"}\n", "explode"),
        (b"{\"command\":\"scale\"}\n", "workers"),
        (b"{\"command\":\"scale\",\"workers\":-1}\n", "-1"),
        (b"{\"command\":\"log_level\",\"level\":\"loud\"}\n", "`error`, `warn`, `info`, `debug`, `trace`"),
        (b"{\"command\":\"scale\",\"workers\":1,\"x\":1}\n", "x"),
        (b"\xff\xfe\n", "no request"),
        (&long, "longer than 65536 bytes"),
    ] {
        let mut bench = Bench::new();
        let client = bench.connect();
        client.set_nonblocking(false).unwrap();
        let _ = { &client }.write_all(bytes);
        assert_eq!(bench.serve(0), []);
        let reason = refusal(&client);
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn there_is_room_for_sixteen_and_the_idle_make_room() {
    let mut bench = Bench::new();
    let mut clients: Vec<UnixStream> = Vec::new();
    for _ in 0..CLIENTS_MAX {
        clients.push(bench.connect());
        bench.serve(0);
    }
    let late = bench.connect();
    bench.serve(0);
    assert!(refusal(&late).contains("16 clients"));
    clients[1].write_all(b"{\"command\":\"status\"}\n").unwrap();
    assert_eq!(bench.serve(100), [Request::Status]);
    clients.push(bench.connect());
    bench.serve(100);
    assert_eq!(clients[0].read(&mut [0; 8]).unwrap(), 0, "one that has said nothing makes room for another");
    assert_eq!(bench.server.fds(100).count(), 1 + CLIENTS_MAX);
    let mut clients = [clients.swap_remove(1)];
    clients[0].write_all(b"{\"command\":\"status\"}\n").unwrap();
    assert_eq!(bench.serve(9_000), [Request::Status]);
    bench.serve(10_101);
    let fds = bench.server.fds(10_101).count();
    assert_eq!(fds, 2, "the socket, and the one client that spoke");
}

#[test]
fn who_waits_is_not_idle_and_is_told_when_it_is_done() {
    let mut bench = Bench::new();
    let mut client = bench.connect();
    client.write_all(b"{\"command\":\"restart\"}\n").unwrap();
    let requests = bench.server.serve(0);
    bench.server.await_for(requests[0].0, Awaits::Restart);
    bench.serve(60_000);
    let done = Response::Done { message: "done".into() };
    let other = Response::Failed { reason: "not for this one".into() };
    bench.server.fulfil(|awaits| awaits == Awaits::Scale { workers: 1 }, &other);
    bench.server.fulfil(|awaits| awaits == Awaits::Restart, &done);
    assert_eq!(line(&client), done);
}

#[test]
fn a_client_that_ends_its_side_is_answered_and_one_that_hangs_up_is_not_kept() {
    let mut bench = Bench::new();
    let mut client = bench.connect();
    client.write_all(b"{\"command\":\"restart\"}\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut other = bench.connect();
    other.write_all(b"{\"command\":\"restart\"}\n").unwrap();
    for (client, _) in bench.server.serve(0) {
        assert!(bench.server.await_for(client, Awaits::Restart));
    }
    bench.serve(60_000);
    let reads = |bench: &Bench| bench.server.fds(0).filter(|(_, flags)| flags.contains(PollFlags::IN)).count();
    assert_eq!((bench.server.fds(0).count(), reads(&bench)), (3, 2), "an ended stream is always readable");
    drop(other);
    bench.serve(60_000);
    assert_eq!(bench.server.fds(0).count(), 2);
    let done = Response::Done { message: "done".into() };
    bench.server.fulfil(|awaits| awaits == Awaits::Restart, &done);
    assert_eq!(line(&client), done);
    assert_eq!(bench.server.fds(0).count(), 1, "there is nothing more to say");
}

#[test]
fn who_waits_keeps_nobody_out_and_is_not_without_limit() {
    let mut bench = Bench::new();
    let ask = |bench: &mut Bench| {
        let mut client = bench.connect();
        client.write_all(b"{\"command\":\"restart\"}\n").unwrap();
        let asked = bench.server.serve(0)[0].0;
        (bench.server.await_for(asked, Awaits::Restart), client)
    };
    let waiting: Vec<UnixStream> = (0..WAITING_MAX)
        .map(|_| ask(&mut bench))
        .map(|(waits, client)| {
            assert!(waits);
            client
        })
        .collect();
    let (waits, late) = ask(&mut bench);
    assert!(!waits && refusal(&late).contains("64 clients wait"));
    let mut operator = bench.connect();
    operator.write_all(b"{\"command\":\"drain\"}\n").unwrap();
    assert_eq!(bench.serve(0), [Request::Drain]);
    drop(waiting);
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left by the dead");
    let first = Server::open(&path).unwrap();
    let error = Server::open(&path).unwrap_err();
    assert!(matches!(error, SupervisorError::ControlSocketInUse { .. }), "{error}");
    assert_eq!(error.exit_code(), 69);
    drop(first);
    fs::write(&path, "a file").unwrap();
    assert!(matches!(Server::open(&path), Err(SupervisorError::ControlSocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    let long = dir.path().join("x".repeat(120));
    assert_eq!(Server::open(&long).unwrap_err().exit_code(), 78);
}

#[test]
fn a_socket_of_another_user_is_not_taken_for_no_instance() {
    let error = |kind: std::io::ErrorKind| unreachable(Path::new("/run/x.sock"), kind.into()).to_string();
    let told = error(std::io::ErrorKind::PermissionDenied);
    assert!(told.contains("not allowed") && !told.contains("no instance"), "{told}");
    assert!(error(std::io::ErrorKind::ConnectionRefused).contains("no instance listens"));
}

#[test]
fn the_client_tells_no_instance_silence_and_nonsense_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let ask = |timeout_ms| control(&path, &Request::Status, Duration::from_millis(timeout_ms));
    assert!(matches!(ask(100), Err(ControlError::Connect { .. })));
    let silent = UnixListener::bind(&path).unwrap();
    let begun = Instant::now();
    assert!(matches!(ask(100), Err(ControlError::Timeout { timeout_ms: 100 })));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let first = silent.accept().unwrap();
    for (answer, check) in [
        (b"nonsense\n".to_vec(), (|error| matches!(error, ControlError::Answer(_))) as fn(&ControlError) -> bool),
        (Vec::new(), |error| matches!(error, ControlError::Closed)),
        (vec![b'x'; (1 << 20) + 1], |error| matches!(error, ControlError::TooLong { .. })),
    ] {
        let other = silent.try_clone().unwrap();
        let instance = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            let _ = stream.write_all(&answer);
        });
        let error = ask(10_000).unwrap_err();
        assert!(check(&error), "{error:?}");
        instance.join().unwrap();
    }
    drop(first);
}

#[test]
fn who_asks_after_it_has_begun_waits_for_the_next_time() {
    let mut bench = Bench::new();
    let (waits, begun) = (Awaits::Reload { begun: false }, Awaits::Reload { begun: true });
    fn ask(bench: &mut Bench, waits: Awaits) -> UnixStream {
        let mut client = bench.connect();
        client.write_all(b"{\"command\":\"reload\"}\n").unwrap();
        let requests = bench.server.serve(0);
        bench.server.await_for(requests[0].0, waits);
        client
    }
    let first = ask(&mut bench, waits);
    let done = |message: &str| Response::Done { message: message.into() };
    bench.server.begin(waits, begun);
    let second = ask(&mut bench, waits);
    bench.server.fulfil(|awaits| awaits == begun, &done("first"));
    bench.server.begin(waits, begun);
    bench.server.fulfil(|awaits| awaits == begun, &done("second"));
    assert_eq!((line(&first), line(&second)), (done("first"), done("second")));
}
