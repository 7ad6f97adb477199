//! What is sent, as bytes laid out once.

use std::fmt::Write as _;

/// One HTTP/1.1 request. Nothing is escaped or checked: tests send broken ones on purpose.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A `POST` of JSON that accepts plain JSON and event streams, as MCP asks of its clients.
    pub fn post_json(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = Self::new("POST", path)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        request.body = body.into();
        request
    }

    /// The same request with one more header; a repeated name replaces the earlier value.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The bytes on the wire. `Host` is added unless it is set, `Content-Length` unless the body is framed already.
    pub fn to_bytes(&self, authority: &str, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.has("Host") {
            let _ = write!(head, "Host: {authority}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let is_framed = self.has("Content-Length") || self.has("Transfer-Encoding");
        if !is_framed && (!self.body.is_empty() || self.method == "POST") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        if !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_length_are_added_once() {
        let request = Request::post_json("/mcp", "{}").header("host", "evil.example.com");
        let text = String::from_utf8_lossy(&request.to_bytes("127.0.0.1:1", true)).into_owned();
        assert!(text.starts_with("POST /mcp HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("host: evil.example.com\r\n") && !text.contains("127.0.0.1:1"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn a_request_of_its_own_connection_says_so() {
        let text = String::from_utf8_lossy(&Request::new("GET", "/").to_bytes("h:1", false)).into_owned();
        assert_eq!(text, "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n");
    }
}
