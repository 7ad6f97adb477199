//! Checks of URLs and hosts under which clients come, and the parts of a URL that they share with other checks.

use crate::checks::is_digits;
use crate::problem::{Flaw, quote};

/// `http(s)://authority`, nothing after it.
pub(crate) fn public_url(text: &str) -> Result<(), Flaw> {
    match split_url(text) {
        Some((scheme, rest)) if is_web(scheme) && is_authority(rest) => Ok(()),
        _ => Err(Flaw::new(
            format!("{} is not an http or https URL without a path", shown_url(text)),
            "write scheme and authority only, like https://mcp.example.com or https://mcp.example.com:8443",
        )),
    }
}

/// An http or https URL.
pub(crate) fn web_url(text: &str) -> Result<(), Flaw> {
    match split_url(text) {
        Some((scheme, rest)) if is_web(scheme) && is_authority(rest.split(['/', '?', '#']).next().unwrap_or("")) => {
            Ok(())
        }
        _ => Err(Flaw::new(
            format!("{} is not an http or https URL", shown_url(text)),
            "write it like https://issuer.example.com/keys.json",
        )),
    }
}

/// An origin as browsers send it (RFC 6454, section 6.2): scheme, host, port if it is not the scheme's own.
pub(crate) fn origin(text: &str) -> Result<(), Flaw> {
    const REMEDY: &str = "write each origin in full, like https://ide.example.com";
    if text == "*" || text == "null" {
        return Err(Flaw::new(format!("{} would let any page call", quote(text)), REMEDY));
    }
    match split_url(text) {
        Some((_, rest)) if is_authority(rest) => Ok(()),
        _ => Err(Flaw::new(format!("{} is not an origin", shown_url(text)), format!("{REMEDY}, without a path"))),
    }
}

/// A host with or without a port.
pub(crate) fn host(text: &str) -> Result<(), Flaw> {
    if is_authority(text) {
        return Ok(());
    }
    Err(Flaw::new(
        format!("{} is not a host or host:port", shown_url(text)),
        "write it like mcp.example.com or mcp.example.com:8443, without a scheme",
    ))
}

/// Scheme and the rest after `://`.
pub(crate) fn split_url(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    (letters && scheme.starts_with(|first: char| first.is_ascii_alphabetic())).then_some((scheme, rest))
}

/// `host` or `host:port` (RFC 3986, section 3.2) without user information, the port from 1 to 65535.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let host_fits = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        (1..=253).contains(&host.len())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    host_fits && port.is_none_or(|port| is_digits(port) && port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// Schemes are the same in upper and lower case (RFC 3986, section 3.1).
fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// A URL for a message: user information and a query may hold a secret.
fn shown_url(text: &str) -> String {
    if text.contains(['@', '?', '#']) { "the value".to_owned() } else { quote(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Check;
    use crate::testing::{fails, passes};

    #[test]
    fn urls_and_origins() {
        passes(public_url, &["http://a", "HTTPS://A.b:443", "https://mcp.example.com:8443", "https://[::1]:1"]);
        fails(public_url, &["https://a/", "https://a?x", "ftp://a", "a.b", "https://", "https://u:p@a", "https://a:0"]);
        passes(origin, &["https://a.b", "vscode-webview://abc123", "http://localhost:3000"]);
        fails(origin, &["*", "null", "localhost:3000", "https://a/", "https://a b"]);
        passes(web_url, &["https://a/b.json?c=d", "http://a"]);
        fails(web_url, &["file:///etc/passwd", "https:///b"]);
        passes(host, &["a", "a.b:80", "[::1]:80", "127.0.0.1"]);
        fails(host, &["http://a", "a:", "a:+8", "a/b", "::1", "[a]", "[::1]80"]);
    }

    #[test]
    fn a_password_in_a_wrong_url_is_not_repeated() {
        for check in [public_url as Check, web_url, origin, host] {
            for value in ["ftp:/u:hunter2@a", "ftp:/a?token=hunter2", "ftp:/a#hunter2"] {
                let flaw = check(value).unwrap_err();
                assert!(!format!("{flaw:?}").contains("hunter2"), "{flaw:?}");
            }
        }
    }
}
