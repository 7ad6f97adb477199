//! Origins and hosts in the one form that clients send (RFC 6454, section 6.2): lower case, no port that is the scheme's
//! own, a port without leading zeros, addresses in their short form (WHATWG URL, "host
//! serializing"). Otherwise `https://IDE.example.com:443`
//! would be accepted here and never match a request.

use std::net::Ipv6Addr;

use crate::settings::Server;
use crate::urls::split_url;

/// Brings the names of the public endpoint into that form. Whatever layer they came from, they passed their checks.
pub(crate) fn apply(server: &mut Server) {
    for url in server.allowed_origins.iter_mut().chain([&mut server.public_url]) {
        url.make_ascii_lowercase();
        let own_ports: &[u16] = match split_url(url) {
            Some(("http", _)) => &[80],
            Some(("https", _)) => &[443],
            _ => &[],
        };
        let shorter = split_url(url).map(|(scheme, authority)| format!("{scheme}://{}", host(authority, own_ports)));
        if let Some(shorter) = shorter {
            *url = shorter;
        }
    }
    for name in &mut server.allowed_hosts {
        name.make_ascii_lowercase();
        // A host has no scheme, and clients of either scheme leave out its port.
        *name = host(name, &[80, 443]);
    }
}

/// `host` or `host:port` in lower case, without a port of `own_ports`.
fn host(authority: &str, own_ports: &[u16]) -> String {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, None),
    };
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    let host = match literal {
        Some(Ok(address)) => short_form(address),
        _ => host.to_owned(),
    };
    match port.filter(|port| !own_ports.contains(port)) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Unlike `Display`, browsers write an embedded IPv4 address in hexadecimal, too.
fn short_form(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
        (None, _) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_take_the_form_that_clients_send() {
        for (given, sent) in [
            ("a.b", "a.b"),
            ("a.b:443", "a.b"),
            ("a.b:0443", "a.b"),
            ("a.b:08443", "a.b:8443"),
            ("[::1]", "[::1]"),
            ("[0:0::0:1]:443", "[::1]"),
            ("[::ffff:192.0.2.1]:80", "[::ffff:c000:201]:80"),
        ] {
            assert_eq!(host(given, &[443]), sent, "{given}");
        }
    }
}
