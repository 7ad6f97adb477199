//! Tokens, Host, Origin, size of a body.

use serde_json::json;
use task_mcp_bench::Request;

use crate::support::{Caller, Dialect, Server, Tree, modern_call};

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
