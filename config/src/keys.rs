//! Every key with its rule. What a key is for stands in `default.toml`.

use crate::checks::{self, Check};
use crate::{connections, urls};

use Takes::{InPlace, NewAdmin, NewInstance, NewWorkers};

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Section and name, dotted.
    pub(crate) path: &'static str,
    /// What its value must be.
    pub(crate) rule: Rule,
    /// Whether any part of the server acts on it; a key without effect warns when it is set.
    pub(crate) has_effect: bool,
    /// What a running instance does for another value.
    pub(crate) takes: Takes,
}

/// What it takes to put another value of a key in force while the instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: the processes take it over in place.
    InPlace,
    /// New worker processes.
    NewWorkers,
    /// A new admin process.
    NewAdmin,
    /// Both.
    NewProcesses,
    /// It cannot be done: the instance has to be started again.
    NewInstance,
}

/// What the value of a key must be.
#[derive(Debug)]
pub(crate) enum Rule {
    /// A whole number within bounds.
    Number { min: u64, max: u64, unit: &'static str },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A string; only a required one may not be empty.
    Text { check: Check, required: bool },
    /// Strings, each of which passes the check.
    List { check: Check, max: usize, required: bool },
}

/// All keys, in the order of `default.toml`.
pub(crate) const KEYS: &[Key] = &[
    list("server.listen", checks::address, 16).required().takes(NewWorkers),
    number("server.workers", 0, 256, "processes").takes(NewWorkers),
    text("server.public_url", urls::public_url).takes(InPlace),
    list("server.allowed_origins", urls::origin, ENTRIES).takes(InPlace),
    list("server.allowed_hosts", urls::host, ENTRIES).takes(InPlace),
    number("server.heartbeat_ms", 50, 600_000, "milliseconds").takes(InPlace),
    text("admin.listen", checks::address).required().takes(NewAdmin),
    text("admin.token", checks::token).takes(InPlace),
    number("limits.max_connections", 1, 1_000_000, "connections").takes(NewWorkers),
    number("limits.max_connections_per_ip", 1, 1_000_000, "connections").takes(NewWorkers),
    number("limits.keep_alive_s", 1, 86_400, "seconds").takes(NewWorkers),
    number("limits.headers_timeout_ms", 10, 600_000, "milliseconds").takes(NewWorkers),
    number("limits.body_timeout_ms", 10, 3_600_000, "milliseconds").takes(InPlace),
    number("limits.idle_timeout_s", 1, 86_400, "seconds").takes(NewWorkers),
    number("limits.body_bytes", 256, 268_435_456, "bytes").takes(InPlace),
    number("limits.response_bytes", 256, 268_435_456, "bytes").takes(InPlace),
    // serde_json itself gives up at 128 levels; ours must be reached first.
    number("limits.json_depth", 4, 120, "levels").takes(InPlace),
    number("limits.requests_per_minute", 0, 1_000_000, "requests a minute").takes(InPlace),
    number("limits.burst", 0, 1_000_000, "requests").takes(InPlace),
    number("limits.streams_per_principal", 1, 1_000_000, "streams").takes(InPlace),
    number("limits.subscriptions", 1, 1000, "resources").takes(InPlace),
    number("limits.stream_buffer_bytes", 65_536, 268_435_456, "bytes").takes(InPlace),
    number("limits.tasks_per_principal", 1, 100_000, "tasks").takes(InPlace),
    list("limits.trusted_proxies", checks::network, ENTRIES).no_effect_yet().takes(NewWorkers),
    text("tls.cert", checks::path).no_effect_yet().takes(NewWorkers),
    text("tls.key", checks::path).no_effect_yet().takes(NewWorkers),
    text("tls.client_ca", checks::path).no_effect_yet().takes(NewWorkers),
    list("auth.tokens", checks::token, ENTRIES).takes(InPlace),
    text("auth.tokens_file", checks::path).no_effect_yet().takes(NewWorkers),
    list("auth.sealing_keys", checks::sealing_key, ENTRIES).takes(InPlace),
    text("auth.jwt.issuer", checks::anything).no_effect_yet().takes(NewWorkers),
    text("auth.jwt.audience", checks::anything).no_effect_yet().takes(NewWorkers),
    text("auth.jwt.jwks_url", urls::web_url).no_effect_yet().takes(NewWorkers),
    choice("cache.backend", &["embedded", "redis", "none"]),
    number("cache.ttl_s", 1, 604_800, "seconds"),
    number("cache.stale_s", 0, 604_800, "seconds"),
    number("cache.negative_ttl_s", 0, 3600, "seconds"),
    choice("cache.coherence", &["strict", "tracked"]),
    number("cache.max_bytes", 1_048_576, 1_099_511_627_776, "bytes"),
    number("cache.entries", 0, 1_000_000, "entries"),
    number("cache.entry_bytes", 1024, 268_435_456, "bytes"),
    number("cache.compress_bytes", 0, 268_435_456, "bytes"),
    number("cache.budget_ms", 1, 10_000, "milliseconds"),
    number("cache.lease_ms", 100, 600_000, "milliseconds"),
    choice("state.backend", &["embedded", "redis"]).takes(NewInstance),
    number("state.max_bytes", 1_048_576, 1_099_511_627_776, "bytes"),
    number("state.timeout_ms", 1, 60_000, "milliseconds"),
    number("state.idempotency_ttl_s", 60, 2_592_000, "seconds"),
    number("state.session_ttl_s", 1, 31_536_000, "seconds").takes(InPlace),
    number("state.session_idle_s", 1, 31_536_000, "seconds").takes(InPlace),
    number("state.task_ttl_s", 1, 2_592_000, "seconds").takes(InPlace),
    number("state.event_ttl_s", 120, 86_400, "seconds").takes(InPlace),
    text("redis.url", connections::redis_url),
    choice("redis.topology", &["standalone", "sentinel", "cluster"]),
    list("redis.nodes", checks::host_port, 64),
    text("redis.sentinel_master", checks::anything),
    text("redis.sentinel_password", checks::anything),
    text("redis.tls_ca", checks::path),
    text("redis.tls_cert", checks::path),
    text("redis.tls_key", checks::path),
    text("redis.prefix", checks::key_prefix).required(),
    number("redis.connect_timeout_ms", 10, 60_000, "milliseconds"),
    number("redis.breaker_failures", 1, 1000, "failures"),
    number("redis.retry_ms", 10, 60_000, "milliseconds"),
    number("redis.retry_max_ms", 10, 600_000, "milliseconds"),
    choice("store.backend", &["files", "postgres"]).no_effect_yet(),
    text("store.root", checks::path).required(),
    text("store.id", checks::store_id),
    number("store.document_bytes", 1024, 67_108_864, "bytes"),
    number("store.changes", 1, 10_000_000, "changes"),
    number("store.poll_ms", 50, 600_000, "milliseconds"),
    text("store.postgres.url", connections::postgres_url).no_effect_yet(),
    number("tools.deadline_ms", 10, 3_600_000, "milliseconds").takes(InPlace),
    number("tools.threads", 0, 1024, "threads").takes(NewWorkers),
    number("tools.queue", 1, 65_536, "jobs").takes(NewWorkers),
    number("tools.concurrency", 1, 65_536, "calls").takes(InPlace),
    number("tools.ask_timeout_s", 1, 86_400, "seconds").takes(InPlace),
    text("supervisor.runtime_dir", checks::path).takes(NewInstance),
    text("supervisor.state_dir", checks::path).takes(NewInstance),
    text("supervisor.control_socket", checks::path).takes(NewInstance),
    number("supervisor.drain_timeout_s", 1, 3600, "seconds").takes(InPlace),
    number("supervisor.lame_duck_ms", 0, 60_000, "milliseconds").takes(InPlace),
    number("supervisor.boot_timeout_s", 1, 600, "seconds").takes(InPlace),
    number("supervisor.restart_delay_ms", 1, 60_000, "milliseconds").takes(InPlace),
    number("supervisor.restart_delay_max_ms", 1, 600_000, "milliseconds").takes(InPlace),
    number("supervisor.restart_limit", 1, 1000, "deaths").takes(InPlace),
    number("supervisor.recycle_after_s", 0, 31_536_000, "seconds").takes(InPlace),
    number("supervisor.recycle_requests", 0, 1_000_000_000_000, "requests").takes(InPlace),
    number("supervisor.recycle_rss_bytes", 0, 1_099_511_627_776, "bytes").takes(InPlace),
    choice("telemetry.log_format", &["text", "json"]).takes(InPlace),
    choice("telemetry.log_level", &["error", "warn", "info", "debug", "trace"]).takes(InPlace),
    text("telemetry.log_file", checks::path).takes(InPlace),
];

/// The key with this dotted path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Entries of a list that has no tighter bound.
const ENTRIES: usize = 1024;

const fn key(path: &'static str, rule: Rule) -> Key {
    Key { path, rule, has_effect: true, takes: Takes::NewProcesses }
}

const fn number(path: &'static str, min: u64, max: u64, unit: &'static str) -> Key {
    key(path, Rule::Number { min, max, unit })
}

const fn choice(path: &'static str, words: &'static [&'static str]) -> Key {
    key(path, Rule::Choice(words))
}

const fn text(path: &'static str, check: Check) -> Key {
    key(path, Rule::Text { check, required: false })
}

const fn list(path: &'static str, check: Check, max: usize) -> Key {
    key(path, Rule::List { check, max, required: false })
}

impl Key {
    const fn no_effect_yet(mut self) -> Self {
        self.has_effect = false;
        self
    }

    const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    const fn required(mut self) -> Self {
        match &mut self.rule {
            Rule::Text { required, .. } | Rule::List { required, .. } => *required = true,
            Rule::Number { .. } | Rule::Choice(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use serde_json::Value;

    use super::*;
    use crate::DEFAULT_TOML;
    use crate::given::Given;
    use crate::settings::Settings;

    /// Dotted path, comment and value of every key of `default.toml`, in order.
    fn documented() -> Vec<(String, String, String)> {
        let (mut section, mut comment, mut keys) = (String::new(), Vec::new(), Vec::new());
        for line in DEFAULT_TOML.lines() {
            if let Some(text) = line.strip_prefix('#') {
                comment.push(text.trim());
            } else if let Some(name) = line.strip_prefix('[') {
                assert!(!comment.is_empty(), "section {line} has no comment");
                section = name.trim_end_matches(']').to_owned();
                comment.clear();
            } else if let Some((name, value)) = line.split_once(" = ") {
                keys.push((format!("{section}.{name}"), comment.join(" "), value.to_owned()));
                comment.clear();
            } else {
                assert!(line.is_empty(), "{line}");
                comment.clear();
            }
        }
        keys
    }

    fn leaves(prefix: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| leaves(&format!("{prefix}.{name}"), value, found))
            }
            _ => found.push(prefix.trim_start_matches('.').to_owned()),
        }
    }

    #[test]
    fn the_table_the_file_and_the_types_name_the_same_keys() {
        let settings: Settings = toml::from_str(DEFAULT_TOML).unwrap();
        let mut typed = Vec::new();
        leaves("", &settings.to_json(), &mut typed);
        typed.sort();
        let file: Vec<_> = documented().into_iter().map(|(path, _, _)| path).collect();
        let table: Vec<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(table, file);
        let mut sorted = file;
        sorted.sort();
        assert_eq!(typed, sorted);
    }

    #[test]
    fn every_comment_tells_default_bounds_unit_and_effect() {
        for ((path, comment, value), key) in documented().iter().zip(KEYS) {
            let said = comment.to_lowercase();
            let must = |wanted: &str| assert!(said.contains(wanted), "{path}: the comment lacks {wanted:?}");
            must("default");
            match &key.rule {
                Rule::Number { min, max, unit } => {
                    must(&format!("{min} to {max}"));
                    must(unit);
                    must(&format!("default {value}"));
                }
                Rule::Choice(words) => words.iter().for_each(|word| must(&format!("\"{word}\""))),
                Rule::List { max, .. } => must(&format!("at most {max}")),
                Rule::Text { .. } => {}
            }
            assert_eq!(key.has_effect, !said.contains("no effect yet"), "{path}: what the comment says of the effect");
        }
    }

    #[test]
    fn every_default_keeps_the_rule_of_its_key() {
        for ((path, _, value), key) in documented().iter().zip(KEYS) {
            let value = toml::de::DeValue::parse(value).unwrap();
            let given = Given::from_toml(key, value.get_ref()).expect(path);
            assert_eq!(checks::check(key, &given), Ok(()), "{path}");
        }
    }
}
