//! Tokens, Host, Origin, size of a body.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;
use task_mcp_bench::Request;

use crate::support::{Caller, Dialect, Server, Session, Tree, modern_call};

const TOKENS: &str = "[auth]\ntokens = [\"correct-horse-battery-staple-0001\", \"12345678901234567890123456789012\"]\n";
const TOKEN: &str = "correct-horse-battery-staple-0001";

fn call() -> Request {
    modern_call("changes.active", json!({}))
}

#[test]
fn a_token_opens_every_dialect() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings(TOKENS).start();
    for token in [TOKEN, "12345678901234567890123456789012"] {
        for dialect in Dialect::ALL {
            Caller::new(&server, dialect).with_token(token).call("changes.active", json!({})).ok();
        }
    }
}

#[test]
fn without_the_whole_token_nothing_is_served() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings(TOKENS).start();
    let prefix = &TOKEN[..TOKEN.len() - 1];
    let longer = format!("{TOKEN}1");
    let wrong = [None, Some("wrong"), Some(prefix), Some(longer.as_str()), Some("")];
    for token in wrong {
        for request in [call(), plain("/mcp"), plain("/sse")] {
            let request = match token {
                Some(token) => request.header("Authorization", &format!("Bearer {token}")),
                None => request,
            };
            let answer = server.send(&request);
            assert_eq!(answer.status, 401, "{token:?} {request:?}: {}", answer.text());
            assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{answer:?}");
            assert!(!answer.text().contains("correct-horse"), "{}", answer.text());
        }
    }
    let basic = server.send(&call().header("Authorization", &format!("Basic {TOKEN}")));
    assert_eq!(basic.status, 401, "{}", basic.text());
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "probes need no token");
    }
}

#[test]
fn foreign_hosts_and_origins_are_forbidden() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let port = server.address().port();
    for request in [call(), plain("/mcp"), plain("/sse")] {
        for (name, value) in [
            ("Host", "evil.example.com".to_owned()),
            ("Host", format!("127.0.0.1.evil.example.com:{port}")),
            ("Origin", "http://evil.example.com".to_owned()),
            ("Origin", format!("http://127.0.0.1:{port}@evil.example.com")),
            ("Origin", "null".to_owned()),
        ] {
            let answer = server.send(&request.clone().header(name, &value));
            assert_eq!(answer.status, 403, "{name}: {value}: {}", answer.text());
        }
        for (name, value) in [
            ("Host", format!("localhost:{port}")),
            ("Origin", format!("http://127.0.0.1:{port}")),
            ("Origin", format!("http://localhost:{port}")),
        ] {
            let answer = server.send(&request.clone().header(name, &value));
            assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.text());
        }
    }
}

#[test]
fn an_allowed_origin_is_allowed() {
    let tree = Tree::new();
    let settings = "[server]\nallowed_origins = [\"https://ide.example.com\"]\n";
    let server = Server::build(tree.root()).settings(settings).start();
    assert_eq!(server.send(&call().header("Origin", "https://ide.example.com")).status, 200);
    assert_eq!(server.send(&call().header("Origin", "https://ide.example.com.evil.com")).status, 403);
}

#[test]
fn a_body_of_two_megabytes_is_too_large() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let filler = "x".repeat(2 * 1024 * 1024);
    for dialect in Dialect::ALL {
        let path = dialect.path();
        let body = Caller::new(&server, dialect).body("change.open", &json!({"title": filler, "slug": "too-large"}));
        let answer = server.send(&Request::post_json(path, body.clone()));
        assert_eq!(answer.status, 413, "{dialect:?}: {}", answer.text());
        let chunked = Request::post_json(path, format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
            .header("Transfer-Encoding", "chunked");
        let answer = server.send(&chunked);
        assert_eq!(answer.status, 413, "{dialect:?}, no length announced: {}", answer.text());
    }
    assert!(!tree.path("openspec/changes/too-large").exists());
    Caller::new(&server, Dialect::Modern).call("changes.active", json!({})).ok();
}

fn plain(path: &str) -> Request {
    Request::post_json(path, json!({"tool": "changes.active", "input": {}, "apiVersion": "1.0.0"}).to_string())
}

#[test]
fn a_header_that_decides_must_come_once() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings(TOKENS).start();
    let good = || call().header("Authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(server.send(&good()).status, 200);
    for (name, value) in [
        ("Authorization", "Bearer wrong"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Name", "change.archive"),
        ("Content-Type", "text/plain"),
    ] {
        let mut head = String::from_utf8(good().to_bytes(&server.address().to_string(), false)).unwrap();
        let end_of_first_line = head.find("\r\n").unwrap() + 2;
        head.insert_str(end_of_first_line, &format!("{name}: {value}\r\n"));
        let answer = raw(&server, &head);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
    }
}

#[test]
fn a_target_in_absolute_form_does_not_get_round_the_host_check() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let body = r#"{"tool":"changes.active","input":{}}"#;
    for (target, status) in [("http://evil.example.com/mcp", 403), ("http://localhost/mcp", 200), ("/mcp", 200)] {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        let answer = raw(&server, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

#[test]
fn a_body_that_is_late_is_a_timeout_and_a_stream_needs_http_1_1() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("limits.body_timeout_ms", 200).start();
    let answer = raw(&server, "POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("limits.body_timeout_ms"), "{answer}");
    let body = r#"{"tool":"changes.active","input":{}}"#;
    let head = "POST /sse HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let answer = raw(&server, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    assert!(answer.contains(" 505 "), "{answer}");
    let session = Session::open(&server, None);
    let head = "GET /mcp HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n";
    let answer = raw(&server, &format!("{head}Mcp-Session-Id: {}\r\n\r\n", session.id().unwrap()));
    assert!(answer.contains(" 505 ") && answer.contains("HTTP_VERSION_NOT_SUPPORTED"), "{answer}");
}

#[test]
fn the_admin_token_guards_the_metrics() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings("[admin]\ntoken = \"an-admin-token-of-length\"\n").start();
    assert!(server.try_metrics().is_none(), "without the token nothing is told");
    let url = server.stdout().lines().find_map(|line| line.trim().strip_prefix("metrics").map(str::to_owned)).unwrap();
    let address = url.trim().trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap();
    let asked = |token: &str| {
        let request = Request::new("GET", "/metrics").header("Authorization", &format!("Bearer {token}"));
        task_mcp_bench::fetch(address, &request, std::time::Duration::from_secs(5)).unwrap()
    };
    assert_eq!(asked("an-admin-token-of-lengt").status, 401);
    let told = asked("an-admin-token-of-length");
    assert!(told.status == 200 && told.text().contains("task_mcp_processes"), "{}", told.text());
}

/// Sends these bytes and reads to the end of the connection.
fn raw(server: &Server, text: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset behind the answer takes nothing away from it.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
