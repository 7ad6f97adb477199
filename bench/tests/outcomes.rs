//! The generator against servers that misbehave on purpose: every fault lands in its own class.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use task_mcp_bench::{Control, Freshness, Outcome, Pace, Plan, Report, Request, Reuse, fetch, run};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Serves every connection on a thread of its own until the test's process ends.
fn server(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads one request head; `false` at the end of the stream.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn plan(address: SocketAddr) -> Plan {
    let mut plan = Plan::new(address, Request::new("GET", "/"));
    plan.connections = 2;
    plan.max_requests = 10;
    plan.timeout = Duration::from_millis(500);
    plan
}

fn run_against(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> Report {
    run(&plan(server(serve))).unwrap()
}

fn always(answer: &'static [u8]) -> impl Fn(TcpStream) + Send + Clone + 'static {
    move |mut stream| {
        while read_request(&mut stream) {
            stream.write_all(answer).unwrap();
        }
    }
}

#[test]
fn good_answers_are_ok_and_connections_are_kept() {
    let report = run_against(always(OK));
    assert_eq!((report.count(Outcome::Ok), report.total()), (10, 10), "{report}");
    assert_eq!(report.count_on(Outcome::Ok, Freshness::Fresh), report.connections_opened(), "{report}");
    assert!(report.connections_opened() <= 2, "{report}");
    assert!(report.latency_us(0.5) > 0 && report.latency_us(1.0) < 500_000, "{report}");
}

#[test]
fn chunked_answers_are_joined() {
    let address = server(always(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ));
    let response = fetch(address, &Request::new("GET", "/"), Duration::from_secs(5)).unwrap();
    assert_eq!((response.text().as_str(), response.header("x-a")), ("hello", Some("b")));
    let mut plan = plan(address);
    plan.expect = Some("hello".to_owned());
    assert_eq!(run(&plan).unwrap().count(Outcome::Ok), 10);
    plan.expect = Some("goodbye".to_owned());
    assert_eq!(run(&plan).unwrap().count(Outcome::Unexpected), 10);
}

#[test]
fn other_statuses_are_http_errors_counted_by_status() {
    let report = run_against(always(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    assert_eq!((report.count(Outcome::HttpError), report.with_status(503)), (10, 10), "{report}");
    assert_eq!((report.announced_closes(), report.connections_opened()), (10, 10), "{report}");
}

#[test]
fn a_port_without_a_listener_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&plan(address)).unwrap().count(Outcome::Refused), 10);
}

#[test]
fn an_unread_request_at_close_is_a_reset() {
    // Closing a socket with unread bytes makes the kernel send RST (RFC 1122, 4.2.2.13).
    let report = run_against(|mut stream| {
        let mut byte = [0];
        let _ = stream.read(&mut byte);
    });
    assert_eq!(report.count_on(Outcome::Reset, Freshness::Fresh), 10, "{report}");
}

#[test]
fn a_close_before_the_answer_is_eof_and_inside_it_partial() {
    let eof = run_against(|mut stream| {
        read_request(&mut stream);
    });
    assert_eq!(eof.count_on(Outcome::Eof, Freshness::Fresh), 10, "{eof}");
    let partial = run_against(|mut stream| {
        read_request(&mut stream);
        stream.write_all(&OK[..OK.len() - 2]).unwrap();
    });
    assert_eq!(partial.count_on(Outcome::Partial, Freshness::Fresh), 10, "{partial}");
}

#[test]
fn a_fault_on_a_kept_connection_is_told_apart() {
    let mut plan = plan(server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK).unwrap();
        read_request(&mut stream);
    }));
    plan.connections = 1;
    let report = run(&plan).unwrap();
    assert_eq!(report.count_on(Outcome::Eof, Freshness::Reused), 5, "{report}");
    assert_eq!(report.count_on(Outcome::Ok, Freshness::Fresh), 5, "{report}");
}

#[test]
fn a_connection_closed_while_idle_is_not_used_again() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK).unwrap();
    });
    let mut plan = plan(address);
    // Slow enough that the FIN has arrived before the next request is due.
    (plan.connections, plan.pace) = (1, Pace::Open { per_s: 20.0 });
    let report = run(&plan).unwrap();
    assert_eq!((report.count(Outcome::Ok), report.connections_opened()), (10, 10), "{report}");
}

#[test]
fn silence_is_a_timeout() {
    let mut plan = plan(server(|mut stream| while read_request(&mut stream) {}));
    (plan.timeout, plan.max_requests) = (Duration::from_millis(50), 4);
    let report = run(&plan).unwrap();
    assert_eq!((report.count(Outcome::Timeout), report.latency_us(0.5)), (4, 0), "{report}");
}

#[test]
fn noise_is_malformed() {
    assert_eq!(run_against(always(b"SSH-2.0-OpenSSH\r\n\r\n")).count(Outcome::Malformed), 10);
    let chunks = run_against(always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
    assert_eq!(chunks.count(Outcome::Malformed), 10, "{chunks}");
}

#[test]
fn an_early_answer_to_a_large_body_counts() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        // Reads on, as a polite server does, so that the answer is not overtaken by a reset.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let large = Request::post_json("/", vec![b' '; 16 << 20]);
    assert_eq!(fetch(address, &large, Duration::from_secs(5)).unwrap().status, 413);

    let deaf = server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        // The connection stays open, and nothing more is read from it.
        thread::sleep(Duration::from_secs(30));
    });
    assert_eq!(fetch(deaf, &large, Duration::from_secs(5)).unwrap().status, 413);
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_it_delays() {
    // One lane, 100 requests a second, the first answer takes 400 ms: about 40 requests are late.
    let address = server(|mut stream| {
        let mut first = true;
        while read_request(&mut stream) {
            if std::mem::take(&mut first) {
                thread::sleep(Duration::from_millis(400));
            }
            stream.write_all(OK).unwrap();
        }
    });
    let mut plan = plan(address);
    (plan.connections, plan.max_requests, plan.pace) = (1, 80, Pace::Open { per_s: 100.0 });
    let open = run(&plan).unwrap();
    assert_eq!(open.count(Outcome::Ok), 80, "{open}");
    assert!(open.latency_us(0.75) > 50_000, "the delayed quarter is late: {open}");
    plan.pace = Pace::Closed;
    let closed = run(&plan).unwrap();
    assert!(closed.latency_us(0.75) < 50_000, "a closed loop sees one slow request only: {closed}");
}

#[test]
fn a_run_ends_at_its_time_limit_and_when_told() {
    let address = server(always(OK));
    let mut plan = plan(address);
    (plan.max_requests, plan.max_duration, plan.reuse) = (u64::MAX, Duration::from_millis(200), Reuse::KeepAlive);
    let started = Instant::now();
    assert!(run(&plan).unwrap().total() > 0);
    assert!(started.elapsed() < Duration::from_secs(5));

    (plan.max_duration, plan.control) = (Duration::from_secs(60), Control::default());
    let control = plan.control.clone();
    let running = thread::spawn(move || run(&plan).unwrap());
    while control.finished() < 10 {
        thread::yield_now();
    }
    control.stop();
    assert!(running.join().unwrap().total() >= 10);
}

#[test]
fn a_plan_outside_its_limits_names_field_and_limit() {
    let mut plan = plan("127.0.0.1:1".parse().unwrap());
    plan.connections = 0;
    assert_eq!(run(&plan).unwrap_err().to_string(), "plan: connections is 0, but must be 1 to 4096");
    (plan.connections, plan.pace) = (1, Pace::Open { per_s: 0.0 });
    assert!(run(&plan).unwrap_err().to_string().contains("pace.per_s"));
}

#[test]
fn three_thousand_requests_a_second_leave_when_they_are_due() {
    let address = server(always(OK));
    for reuse in [Reuse::KeepAlive, Reuse::OnePerRequest] {
        let mut plan = plan(address);
        (plan.connections, plan.pace, plan.reuse) = (64, Pace::Open { per_s: 3_000.0 }, reuse);
        (plan.max_requests, plan.max_duration) = (u64::MAX, Duration::from_secs(1));
        plan.timeout = Duration::from_secs(10);
        let report = run(&plan).unwrap();
        assert_eq!(report.total() + report.unsent(), 3_000, "every request that was due is accounted for: {report}");
        assert_eq!(report.failed(), 0, "{report}");
        // Half of them within a few grains of the timer, even when the machine has other things to do.
        assert!(report.lag_us(0.5) < 50_000, "{report}");
    }
}

#[test]
fn what_no_connection_was_free_for_is_not_forgotten() {
    // One connection, an answer takes 100 ms: of 100 due in a second, about 10 leave.
    let mut plan = plan(server(|mut stream| {
        while read_request(&mut stream) {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(OK).unwrap();
        }
    }));
    (plan.connections, plan.max_requests, plan.pace) = (1, u64::MAX, Pace::Open { per_s: 100.0 });
    plan.max_duration = Duration::from_secs(1);
    plan.timeout = Duration::from_secs(5);
    let report = run(&plan).unwrap();
    assert_eq!(report.total() + report.unsent(), 100, "{report}");
    assert!(report.unsent() >= 85 && report.lag_us(1.0) > 500_000, "{report}");
}

#[test]
fn a_mishap_tells_connection_and_moments() {
    let mut plan = plan(server(|mut stream| {
        read_request(&mut stream);
        thread::sleep(Duration::from_millis(50));
    }));
    (plan.connections, plan.max_requests) = (1, 2);
    let started = Instant::now();
    let report = run(&plan).unwrap();
    assert_eq!(report.mishaps().len(), 2, "{report}");
    for mishap in report.mishaps() {
        let sent = mishap.sent.expect("the kernel had it");
        assert!(mishap.outcome == Outcome::Eof && mishap.local_port.is_some_and(|port| port > 0), "{mishap:?}");
        assert!(started <= sent && sent + Duration::from_millis(40) < mishap.ended, "{mishap:?}");
    }
    assert!(report.failure_latency_us(0.5) >= 50_000 && report.latency_us(0.5) == 0, "{report}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    plan.address = nobody;
    let refused = run(&plan).unwrap();
    assert!(refused.mishaps().iter().all(|mishap| mishap.sent.is_none() && mishap.local_port.is_none()), "{refused}");
}
