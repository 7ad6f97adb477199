//! Environment variables of earlier releases, taken as a layer. The `TASK_MCP_` name of a key wins over its alias.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::environment::{lookup, name_of};
use crate::given::{Given, Override};
use crate::keys::{self, Rule};
use crate::problem::{Flaw, Origin, Problem, quote};

/// Aliases that stand for one key each. `HOST` and `PORT` make `server.listen` together.
const ALIASES: &[(&str, &str, Convert)] = &[
    ("AUTH_TOKENS", "auth.tokens", Convert::AsIs),
    ("ALLOWED_ORIGINS", "server.allowed_origins", Convert::AsIs),
    ("TLS_CERT", "tls.cert", Convert::AsIs),
    ("TLS_KEY", "tls.key", Convert::AsIs),
    ("RATE_LIMIT", "limits.requests_per_minute", Convert::AsIs),
    ("HEARTBEAT_MS", "server.heartbeat_ms", Convert::AsIs),
    ("HTTP_KEEP_ALIVE_TIMEOUT", "limits.keep_alive_s", Convert::MillisecondsToSeconds),
    ("HTTP_HEADERS_TIMEOUT", "limits.headers_timeout_ms", Convert::AsIs),
    ("HTTP_BODY_TIMEOUT", "limits.body_timeout_ms", Convert::AsIs),
    ("MAX_CONCURRENT_CONNECTIONS", "limits.max_connections", Convert::AsIs),
    ("MAX_CONNECTIONS_PER_IP", "limits.max_connections_per_ip", Convert::AsIs),
    ("REDIS_URL", "redis.url", Convert::AsIs),
    ("DATABASE_URL", "store.postgres.url", Convert::AsIs),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convert {
    AsIs,
    /// Up to whole seconds: a connection is never closed earlier than asked for.
    MillisecondsToSeconds,
}

/// The settings among the variables. `below` is the address of the layers underneath; it supplies what `HOST` or `PORT`
/// alone leaves open.
pub(crate) fn read(env: &[(String, String)], below: SocketAddr, problems: &mut Vec<Problem>) -> Vec<Override> {
    let mut found = Vec::new();
    let listen = listen(env, below).map_err(|(name, flaw)| flaw.at(LISTEN, Origin::Environment(name.to_owned())));
    let singles = ALIASES.iter().filter_map(|(alias, path, convert)| single(env, alias, path, *convert));
    for result in listen.transpose().into_iter().chain(singles) {
        match result {
            Ok(given) => found.push(given),
            Err(problem) => problems.push(problem),
        }
    }
    found
}

fn single(env: &[(String, String)], alias: &str, path: &str, convert: Convert) -> Option<Result<Override, Problem>> {
    let key = keys::find(path)?;
    let (_, text) = env.iter().find(|(name, _)| name == alias)?;
    let not_set = text.is_empty() && !matches!(key.rule, Rule::Number { .. });
    if not_set || lookup(env, &name_of(path)).is_some() {
        return None;
    }
    let origin = Origin::Environment(alias.to_owned());
    let given = Given::from_text(key, text).map(|given| match (convert, given) {
        (Convert::MillisecondsToSeconds, Given::Number(ms)) => Given::Number(ms.div_ceil(1000)),
        (_, given) => given,
    });
    Some(match given {
        Ok(given) => Ok(Override { key, given, origin }),
        Err(flaw) => Err(flaw.at(path, origin)),
    })
}

const LISTEN: &str = "server.listen";

/// `HOST` and `PORT`; an error names the variable at fault.
fn listen(env: &[(String, String)], below: SocketAddr) -> Result<Option<Override>, (&'static str, Flaw)> {
    let port = env.iter().find(|(name, _)| name == "PORT").map(|(_, text)| text.as_str());
    let host = lookup(env, "HOST");
    let Some(key) = keys::find(LISTEN) else { return Ok(None) };
    if (host.is_none() && port.is_none()) || lookup(env, &name_of(LISTEN)).is_some() {
        return Ok(None);
    }
    let wins = format!("correct or unset it; {} wins over it", name_of(LISTEN));
    let ip = match host.map(address) {
        None => below.ip(),
        Some(Some(ip)) => ip,
        Some(None) => {
            let what = format!("{} is not an IP address", quote(host.unwrap_or_default()));
            return Err(("HOST", Flaw::new(what, wins)));
        }
    };
    let port = match port.map(|text| (text, text.parse::<u16>())) {
        None => below.port(),
        Some((text, Ok(port))) if !text.starts_with('+') => port,
        Some((text, _)) => {
            let flaw = Flaw::new(format!("{} is not a port", quote(text)), wins).limit("0 to 65535 are allowed");
            return Err(("PORT", flaw));
        }
    };
    let name = if host.is_some() { "HOST" } else { "PORT" };
    let given = Given::List(vec![SocketAddr::new(ip, port).to_string()]);
    Ok(Some(Override { key, given, origin: Origin::Environment(name.to_owned()) }))
}

/// An address literal, with or without brackets; of names only `localhost`, whose meaning is fixed (RFC 6761, 6.3).
fn address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}
