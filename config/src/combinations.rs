//! What values must be together, and what of the outside world they name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::problem::{Flaw, shown};
use crate::settings::{CacheBackend, RedisTopology, Secret, Settings, StateBackend, StoreBackend};

/// One finding about the settings as a whole.
pub(crate) struct Finding {
    /// The keys involved; the finding is reported at the first that was given.
    pub(crate) keys: Vec<&'static str>,
    pub(crate) severity: Severity,
    pub(crate) flaw: Flaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// All findings about settings whose single values are sound.
pub(crate) fn check(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    addresses(settings, &mut findings);
    exposure(settings, &mut findings);
    tokens(settings, &mut findings);
    tls(settings, &mut findings);
    times(settings, &mut findings);
    redis(settings, &mut findings);
    sealing(settings, &mut findings);
    // PostgreSQL has no use for the directory.
    if settings.store.backend == StoreBackend::Files {
        root(&settings.store.root, &mut findings);
    }
    findings
}

fn error(keys: &[&'static str], flaw: Flaw) -> Finding {
    Finding { keys: keys.to_vec(), severity: Severity::Error, flaw }
}

fn warning(keys: &[&'static str], flaw: Flaw) -> Finding {
    Finding { keys: keys.to_vec(), severity: Severity::Warning, flaw }
}

fn addresses(settings: &Settings, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for address in &settings.server.listen {
        // Port 0 stands for another free port each time.
        if address.port() != 0 && !seen.insert(address) {
            let flaw = Flaw::new(format!("{address} is listed twice"), "remove one of the two");
            findings.push(error(&["server.listen"], flaw));
        }
    }
    let admin = settings.admin.listen;
    if let Some(public) = settings.server.listen.iter().find(|public| overlap(**public, admin)) {
        let flaw = Flaw::new(
            format!("the admin address {admin} is taken by the public address {public}"),
            "give the admin listener another port",
        );
        findings.push(error(&["admin.listen", "server.listen"], flaw));
    }
}

/// Whether binding one would take the other's address: the same port, and one of them covers the other's address.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let covers =
        |one: IpAddr, other: IpAddr| one == other || (one.is_unspecified() && (one.is_ipv6() || other.is_ipv4()));
    let (one, other) = (left.ip().to_canonical(), right.ip().to_canonical());
    left.port() != 0 && left.port() == right.port() && (covers(one, other) || covers(other, one))
}

fn exposure(settings: &Settings, findings: &mut Vec<Finding>) {
    if !settings.auth.is_configured()
        && let Some(address) = settings.server.listen.iter().find(|address| !is_loopback(address))
    {
        let flaw = Flaw::new(
            format!("{address} is reachable from other machines, and nobody is asked for a token"),
            "set auth.tokens, or listen on a loopback address like 127.0.0.1:8443",
        );
        findings.push(error(&["server.listen", "auth.tokens"], flaw));
    }
    if settings.admin.token.is_empty() && !is_loopback(&settings.admin.listen) {
        let flaw = Flaw::new(
            format!("{} is reachable from other machines, and nobody is asked for a token", settings.admin.listen),
            "set admin.token, or listen on a loopback address like 127.0.0.1:9464",
        );
        findings.push(error(&["admin.listen", "admin.token"], flaw));
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Shorter tokens can be guessed over a network.
const TOKEN_BYTES: usize = 16;

fn tokens(settings: &Settings, findings: &mut Vec<Finding>) {
    let short = |secret: &Secret| !secret.is_empty() && secret.expose().len() < TOKEN_BYTES;
    let remedy = "make a new one, for example with `openssl rand -hex 32`";
    let limit = format!("{TOKEN_BYTES} bytes or more are advised");
    let mut seen = BTreeSet::new();
    for (index, token) in settings.auth.tokens.iter().enumerate() {
        if short(token) {
            let flaw = Flaw::new(format!("entry {} is short", index + 1), remedy).limit(limit.clone());
            findings.push(warning(&["auth.tokens"], flaw));
        }
        if !seen.insert(token.expose()) {
            let flaw = Flaw::new(format!("entry {} repeats an earlier one", index + 1), "remove it");
            findings.push(warning(&["auth.tokens"], flaw));
        }
    }
    if short(&settings.admin.token) {
        findings.push(warning(&["admin.token"], Flaw::new("is short", remedy).limit(limit)));
    }
}

fn tls(settings: &Settings, findings: &mut Vec<Finding>) {
    let tls = &settings.tls;
    let set = |path: &Path| !path.as_os_str().is_empty();
    if set(&tls.cert) != set(&tls.key) {
        let flaw = Flaw::new(
            "certificate and key belong together, and only one is set",
            "set tls.cert and tls.key, or neither",
        );
        findings.push(error(&["tls.cert", "tls.key"], flaw));
    }
    if set(&tls.client_ca) && !set(&tls.cert) {
        let flaw = Flaw::new("client certificates can only be asked for over TLS", "set tls.cert and tls.key too");
        findings.push(error(&["tls.client_ca", "tls.cert"], flaw));
    }
}

/// Least resident memory at which a worker may be replaced, in bytes.
const RECYCLE_RSS_MIN_BYTES: u64 = 64 << 20;

fn redis(settings: &Settings, findings: &mut Vec<Finding>) {
    let redis = &settings.redis;
    if redis.url.is_empty() {
        let mut without = |key| {
            let flaw = Flaw::new("is \"redis\", and no Redis is named", "set redis.url, or choose \"embedded\"");
            findings.push(error(&[key, "redis.url"], flaw));
        };
        if settings.cache.backend == CacheBackend::Redis {
            without("cache.backend");
        }
        if settings.state.backend == StateBackend::Redis {
            without("state.backend");
        }
    }
    if redis.topology == RedisTopology::Sentinel && redis.sentinel_master.is_empty() {
        let flaw =
            Flaw::new("is not set, and the sentinels may watch many masters", "set it to the name of the master");
        findings.push(error(&["redis.sentinel_master", "redis.topology"], flaw));
    }
    if redis.tls_cert.as_os_str().is_empty() != redis.tls_key.as_os_str().is_empty() {
        let flaw = Flaw::new("is set without the other", "set redis.tls_cert and redis.tls_key together, or neither");
        findings.push(error(&["redis.tls_cert", "redis.tls_key"], flaw));
    }
    if redis.retry_max_ms < redis.retry_ms {
        let flaw = Flaw::new(
            format!("{} ms is below redis.retry_ms, {} ms", redis.retry_max_ms, redis.retry_ms),
            "raise it, or lower redis.retry_ms",
        );
        findings.push(error(&["redis.retry_max_ms", "redis.retry_ms"], flaw));
    }
}

/// Machines that share state are meant to share sessions, too.
fn sealing(settings: &Settings, findings: &mut Vec<Finding>) {
    let keys = &settings.auth.sealing_keys;
    if settings.state.backend == StateBackend::Redis && keys.is_empty() {
        let flaw = Flaw::new(
            "is not set, so each machine has a key of its own, and a session that began on one is unknown to the others",
            "set it to the same on all machines that share this Redis, for example to the line of sealing.key in \
             supervisor.state_dir of one of them",
        );
        findings.push(warning(&["auth.sealing_keys", "state.backend"], flaw));
    }
    let mut seen = BTreeSet::new();
    for (index, key) in keys.iter().enumerate() {
        if !seen.insert(key.expose()) {
            let flaw = Flaw::new(format!("entry {} repeats an earlier one", index + 1), "remove it");
            findings.push(warning(&["auth.sealing_keys"], flaw));
        }
    }
}

fn times(settings: &Settings, findings: &mut Vec<Finding>) {
    let (server, limits, supervisor) = (&settings.server, &settings.limits, &settings.supervisor);
    if server.heartbeat_ms >= limits.idle_timeout_s.saturating_mul(1000) {
        let flaw = Flaw::new(
            format!(
                "heartbeats every {} ms cannot keep a stream alive that ends after {} s without traffic",
                server.heartbeat_ms, limits.idle_timeout_s
            ),
            "lower server.heartbeat_ms or raise limits.idle_timeout_s",
        );
        findings.push(error(&["server.heartbeat_ms", "limits.idle_timeout_s"], flaw));
    }
    if supervisor.lame_duck_ms >= supervisor.drain_timeout_s.saturating_mul(1000) {
        let flaw = Flaw::new(
            format!(
                "a leave of {} ms leaves no time to drain within {} s",
                supervisor.lame_duck_ms, supervisor.drain_timeout_s
            ),
            "lower supervisor.lame_duck_ms or raise supervisor.drain_timeout_s",
        );
        findings.push(error(&["supervisor.lame_duck_ms", "supervisor.drain_timeout_s"], flaw));
    }
    if (1..RECYCLE_RSS_MIN_BYTES).contains(&supervisor.recycle_rss_bytes) {
        let flaw = Flaw::new(
            format!(
                "{} bytes are less than {RECYCLE_RSS_MIN_BYTES}, which a worker may need from its start: it would be replaced \
                 all the time",
                supervisor.recycle_rss_bytes
            ),
            "raise supervisor.recycle_rss_bytes, or set it to 0 for no limit",
        );
        findings.push(error(&["supervisor.recycle_rss_bytes"], flaw));
    }
    if supervisor.restart_delay_ms > supervisor.restart_delay_max_ms {
        let flaw = Flaw::new(
            format!(
                "the first delay, {} ms, is above the longest, {} ms",
                supervisor.restart_delay_ms, supervisor.restart_delay_max_ms
            ),
            "lower supervisor.restart_delay_ms or raise supervisor.restart_delay_max_ms",
        );
        findings.push(error(&["supervisor.restart_delay_ms", "supervisor.restart_delay_max_ms"], flaw));
    }
}

fn root(root: &Path, findings: &mut Vec<Finding>) {
    const KEYS: &[&str] = &["store.root"];
    let remedy = "name the directory that holds openspec/, in store.root or with --root";
    match std::fs::metadata(root) {
        Err(failed) => {
            findings.push(error(KEYS, Flaw::new(format!("cannot open {}: {failed}", shown(root)), remedy)));
        }
        Ok(found) if !found.is_dir() => {
            findings.push(error(KEYS, Flaw::new(format!("{} is not a directory", shown(root)), remedy)));
        }
        Ok(_) if !root.join("openspec").is_dir() => {
            let remedy = "run `openspec init` there, or name the directory that holds openspec/ with --root";
            findings.push(error(KEYS, Flaw::new(format!("{} holds no openspec/", shown(root)), remedy)));
        }
        Ok(_) => {}
    }
}
