//! Head and framing of an HTTP/1.1 response (RFC 9112, sections 4 to 7).

use crate::outcome::{Failure, Outcome};

/// Headers a response may have; more is counted as malformed.
const HEADERS_MAX: usize = 96;

/// A complete answer, borrowed from the buffers of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    /// Whether the server closes the connection after it.
    pub closes: bool,
    /// The body, chunks joined.
    pub body: &'a [u8],
    pub(crate) head: &'a [u8],
}

impl Answer<'_> {
    /// A copy that owns its parts.
    pub fn to_response(&self) -> Response {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        // These bytes were parsed before, so a failure here can only mean no headers to show.
        let _ = parsed.parse(self.head);
        let headers = parsed.headers.iter();
        let headers = headers.map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()));
        Response { status: self.status, headers: headers.collect(), body: self.body.to_vec() }
    }
}

/// A complete answer with its headers.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case and values, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, faulty UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// What the generator needs of a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) closes: bool,
}

/// Parses a response head; `None` when it is not complete yet.
pub(crate) fn parse_head(input: &[u8]) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Failure::new(Outcome::Malformed, format!("response head: {error}"))),
    };
    let status = response.code.unwrap_or(0);
    let mut closes = response.version == Some(0);
    let mut framing = if status < 200 || status == 204 || status == 304 { Some(Framing::Length(0)) } else { None };
    for field in response.headers.iter() {
        let value = String::from_utf8_lossy(field.value);
        let value = value.trim();
        if field.name.eq_ignore_ascii_case("connection") {
            closes |= value.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"));
        } else if framing.is_none() && field.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if framing.is_none() && field.name.eq_ignore_ascii_case("content-length") {
            let length =
                value.parse().map_err(|_| Failure::new(Outcome::Malformed, format!("content-length: {value:?}")))?;
            framing = Some(Framing::Length(length));
        }
    }
    let framing = framing.unwrap_or(Framing::UntilClose);
    closes |= framing == Framing::UntilClose;
    Ok(Some(Head { length, status, framing, closes }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn framing_and_close_intent_are_read_from_the_head() {
        let cases: [(&str, Framing, bool); 5] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Framing::Length(5), false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Chunked, false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 202 Accepted\r\n\r\n", Framing::UntilClose, true),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Length(0), false),
        ];
        for (text, framing, closes) in cases {
            let head = parse_head(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.framing, head.closes), (framing, closes), "{text}");
        }
    }

    #[test]
    fn half_a_head_is_not_an_answer_and_noise_is_malformed() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        assert_eq!(parse_head(b"\x16\x03\x01 hello").unwrap_err().outcome, Outcome::Malformed);
        let length = parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").unwrap_err();
        assert_eq!(length.outcome, Outcome::Malformed);
    }
}
