//! What a single value must be, apart from all others. Messages about secrets never repeat the secret.

use std::net::{IpAddr, SocketAddr};

use crate::given::Given;
use crate::keys::{Key, Rule};
use crate::problem::{Flaw, quote};
use crate::urls::is_authority;

/// A check of one non-empty string.
pub(crate) type Check = fn(&str) -> Result<(), Flaw>;

/// Holds a value of the right type against the rule of its key.
pub(crate) fn check(key: &Key, given: &Given) -> Result<(), Flaw> {
    match (&key.rule, given) {
        (Rule::Number { min, max, unit }, Given::Number(number)) if !(min..=max).contains(&number) => {
            let side = if number < min { "small" } else { "large" };
            Err(Flaw::new(format!("{number} is too {side}"), "set a value in that range, or drop it for the default")
                .limit(format!("{min} to {max} {unit} are allowed")))
        }
        (Rule::Choice(words), Given::Text(text)) if !words.contains(&text.as_str()) => {
            Err(Flaw::new(format!("{} is not a choice here", quote(text)), "use one of these words, in lower case")
                .limit(format!("the choices are {}", words.join(", "))))
        }
        (Rule::Text { required: true, .. }, Given::Text(text)) if text.is_empty() => {
            Err(Flaw::new("is empty", "set a value, or drop the key for the default"))
        }
        (Rule::Text { check, .. }, Given::Text(text)) if !text.is_empty() => check(text),
        (Rule::List { max, .. }, Given::List(items)) if items.len() > *max => {
            Err(Flaw::new(format!("has {} entries", items.len()), "remove some")
                .limit(format!("at most {max} are allowed")))
        }
        (Rule::List { required: true, .. }, Given::List(items)) if items.is_empty() => {
            Err(Flaw::new("is an empty list", "name at least one, or drop the key for the default"))
        }
        (Rule::List { check, .. }, Given::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                let checked =
                    if item.is_empty() { Err(Flaw::new("is empty", "remove the entry")) } else { check(item) };
                checked.map_err(|flaw| Flaw { what: format!("entry {} {}", index + 1, flaw.what), ..flaw })?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Any string.
pub(crate) fn anything(_: &str) -> Result<(), Flaw> {
    Ok(())
}

/// IP address and port.
pub(crate) fn address(text: &str) -> Result<(), Flaw> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| {
        Flaw::new(
            format!("{} is not an IP address and port", quote(text)),
            "write it like 127.0.0.1:8443, 0.0.0.0:8443 or [::1]:8443; host names are not resolved",
        )
    })
}

/// A path that the system can take.
pub(crate) fn path(text: &str) -> Result<(), Flaw> {
    if text.starts_with("-----BEGIN") {
        return Err(Flaw::new("holds PEM text", "store the text in a file and give its path"));
    }
    if text.contains('\0') {
        return Err(Flaw::new("holds a zero byte", "remove it from the path"));
    }
    if text.len() > 4095 {
        return Err(Flaw::new("is too long for a path", "use a shorter path").limit("at most 4095 bytes are allowed"));
    }
    Ok(())
}

/// A bearer token: what an `Authorization` header can carry in one word (RFC 6750, section 2.1, and a little more).
pub(crate) fn token(text: &str) -> Result<(), Flaw> {
    const REMEDY: &str = "make a new one, for example with `openssl rand -hex 32`";
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::new("holds white space or a character that is not visible ASCII", REMEDY));
    }
    if text.len() > 4096 {
        return Err(Flaw::new("is too long", REMEDY).limit("at most 4096 bytes are allowed"));
    }
    Ok(())
}

/// A key that seals sessions.
pub(crate) fn sealing_key(text: &str) -> Result<(), Flaw> {
    if text.len() < 32 {
        return Err(Flaw::new("is too short", "make a new one, for example with `openssl rand -hex 32`")
            .limit("32 bytes or more are needed"));
    }
    Ok(())
}

/// An IP address or a network in CIDR notation (RFC 4632, RFC 4291).
pub(crate) fn network(text: &str) -> Result<(), Flaw> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let fits = address.parse::<IpAddr>().is_ok_and(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| is_digits(prefix) && prefix.parse::<u8>().is_ok_and(|bits| bits <= most))
    });
    if fits {
        return Ok(());
    }
    Err(Flaw::new(format!("{} is not a network", quote(text)), "write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8"))
}

/// A host and a port.
pub(crate) fn host_port(text: &str) -> Result<(), Flaw> {
    let fits = text.rsplit_once(':').is_some_and(|(_, port)| is_digits(port)) && is_authority(text);
    if fits {
        return Ok(());
    }
    Err(Flaw::new(format!("{} is not a host and a port", quote(text)), "write it like redis-1.example.com:6379"))
}

/// What keys and channels of Redis begin with. Braces would change the slot of a key (Redis cluster specification, "Hash tags").
pub(crate) fn key_prefix(text: &str) -> Result<(), Flaw> {
    const REMEDY: &str = "use A-Z, a-z, 0-9, _, -, . and : only";
    if text.len() > 64 {
        return Err(Flaw::new("is too long", REMEDY).limit("at most 64 characters are allowed"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte)) {
        return Err(Flaw::new(format!("{} holds a character that no prefix may have", quote(text)), REMEDY));
    }
    Ok(())
}

/// The name of a store's data.
pub(crate) fn store_id(text: &str) -> Result<(), Flaw> {
    if text.chars().count() > 200 {
        return Err(Flaw::new("is too long", "use a shorter name").limit("at most 200 characters are allowed"));
    }
    Ok(())
}

/// `parse` alone would also take a leading plus sign.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fails, passes};

    #[test]
    fn addresses() {
        passes(address, &["127.0.0.1:0", "[::1]:8443", "0.0.0.0:65535"]);
        fails(address, &["127.0.0.1", "localhost:80", ":80", "::1:80", "1.2.3.4:65536"]);
    }

    #[test]
    fn networks() {
        passes(network, &["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::/0", "0.0.0.0/0"]);
        fails(network, &["10.0.0.0/33", "10.0/8", "fd00::/129", "1.2.3.4/", "1.2.3.4/+8", "any"]);
    }

    #[test]
    fn places_and_names_of_redis() {
        passes(host_port, &["localhost:6379", "10.0.0.1:1", "[::1]:26379", "redis-1.example.com:6379"]);
        fails(host_port, &["localhost", ":6379", "host:", "host:+1", "host:70000", "a b:1"]);
        passes(key_prefix, &["task-mcp", "a:b.c_D-9"]);
        fails(key_prefix, &["{a}", "a b", "ä", &"x".repeat(65)]);
        passes(store_id, &["the plans of team A", &"ä".repeat(200)]);
        fails(store_id, &[&"x".repeat(201)]);
    }

    #[test]
    fn tokens_and_keys() {
        passes(token, &["x", "12345", "a,b~!"]);
        fails(token, &["a b", "tab\t", "ünï", "line\n", &"x".repeat(4097)]);
        fails(sealing_key, &[&"k".repeat(31)]);
        passes(sealing_key, &[&"k".repeat(32)]);
        fails(path, &["-----BEGIN CERTIFICATE-----", "a\0b"]);
    }
}
