//! The typed settings. Field order and sections follow `default.toml`, which documents every key.
//!
//! An empty string or an empty list stands for "not set"; the accessors below turn that into `Option`s where it helps.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All settings of one instance, complete and validated. It is what the supervisor snapshots for its processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The public endpoint.
    pub server: Server,
    /// The admin listener: metrics and statistics.
    pub admin: Admin,
    /// Limits on what clients may ask for.
    pub limits: Limits,
    /// Transport security.
    pub tls: Tls,
    /// Who may call.
    pub auth: Auth,
    /// Shared result cache.
    pub cache: Cache,
    /// State that outlives a worker.
    pub state: State,
    /// The Redis connection.
    pub redis: Redis,
    /// Where changes and specs live.
    pub store: Store,
    /// Tool execution.
    pub tools: Tools,
    /// Processes.
    pub supervisor: Supervisor,
    /// Logs.
    pub telemetry: Telemetry,
}

/// Section `[server]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Addresses of the public endpoint, at least one; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Worker processes; 0 = one for each processor this process may use.
    pub workers: u16,
    /// The URL under which clients reach this server, without a path; empty = not told.
    pub public_url: String,
    /// Origins of browser pages that may call, beside the server's own.
    pub allowed_origins: Vec<String>,
    /// Names (with or without a port) accepted in `Host`, beside `localhost`, address literals and `public_url`.
    pub allowed_hosts: Vec<String>,
    /// Interval of keep-alive comments on event streams, in milliseconds.
    pub heartbeat_ms: u64,
}

/// Section `[admin]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of the admin listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer token of the admin listener; empty = none.
    pub token: Secret,
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections of the instance, over all its workers.
    pub max_connections: u32,
    /// Open connections of one client address.
    pub max_connections_per_ip: u32,
    /// How long an HTTP/1.1 connection may wait for its next request, in seconds.
    pub keep_alive_s: u64,
    /// How long a client may take to send the headers of a request, in milliseconds.
    pub headers_timeout_ms: u64,
    /// How long a client may take to send the body of a request, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a stream may stay without traffic, in seconds.
    pub idle_timeout_s: u64,
    /// Size of a request body, in bytes.
    pub body_bytes: u64,
    /// Size of a tool's result, in bytes.
    pub response_bytes: u64,
    /// Nesting depth of a JSON body.
    pub json_depth: u32,
    /// Requests a minute for one principal; 0 = unlimited.
    pub requests_per_minute: u32,
    /// Requests one principal may send at once; 0 = half as much again as a minute's.
    pub burst: u32,
    /// Open event streams of one principal in one worker.
    pub streams_per_principal: u32,
    /// Resources one stream or session may watch.
    pub subscriptions: u32,
    /// What may wait for a client that reads a stream too slowly, in bytes.
    pub stream_buffer_bytes: u64,
    /// Tasks of one principal that have not ended.
    pub tasks_per_principal: u32,
    /// Networks whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<String>,
}

/// Section `[tls]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM file.
    pub cert: PathBuf,
    /// Private key, PEM file.
    pub key: PathBuf,
    /// Certificate authority that client certificates must come from, PEM file.
    pub client_ca: PathBuf,
}

/// Section `[auth]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Bearer tokens; a plain token holds all scopes.
    pub tokens: Vec<Secret>,
    /// File of hashed tokens.
    pub tokens_file: PathBuf,
    /// Keys that seal sessions, 32 bytes or more each; the first seals, all open.
    pub sealing_keys: Vec<Secret>,
    /// JWT verification.
    pub jwt: Jwt,
}

/// Section `[auth.jwt]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Expected `iss`.
    pub issuer: String,
    /// Expected `aud`.
    pub audience: String,
    /// Where the keys are.
    pub jwks_url: String,
}

/// Section `[cache]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Which tier is shared.
    pub backend: CacheBackend,
    /// How long an entry lives, in seconds.
    pub ttl_s: u64,
    /// How long after that it may be answered while it is computed anew, in seconds.
    pub stale_s: u64,
    /// How long an error declared to be a fact is kept, in seconds; 0 = not at all.
    pub negative_ttl_s: u64,
    /// How reads over Redis check their tags.
    pub coherence: Coherence,
    /// Size of the embedded tier, in bytes.
    pub max_bytes: u64,
    /// Entries each worker keeps in process in front of Redis.
    pub entries: u32,
    /// Size of one entry, in bytes.
    pub entry_bytes: u64,
    /// Size from which entries are compressed, in bytes; 0 = none.
    pub compress_bytes: u64,
    /// How long one operation of the shared tier may take, in milliseconds.
    pub budget_ms: u64,
    /// How long others wait for a worker that computes and does not renew its lease, in milliseconds.
    pub lease_ms: u64,
}

/// The shared tier of the result cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheBackend {
    /// LMDB in the runtime directory.
    Embedded,
    /// Redis.
    Redis,
    /// No result is kept.
    None,
}

/// How reads over Redis check their tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coherence {
    /// One round trip per read.
    Strict,
    /// Epochs pushed to the machine.
    Tracked,
}

/// Section `[state]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where state is kept.
    pub backend: StateBackend,
    /// Size of the embedded state, in bytes.
    pub max_bytes: u64,
    /// How long one operation may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long the first answer to an idempotency key is kept, in seconds.
    pub idempotency_ttl_s: u64,
    /// How long a session may last, in seconds.
    pub session_ttl_s: u64,
    /// How long a session may go without a request, in seconds.
    pub session_idle_s: u64,
    /// How long a task is kept from its creation, in seconds.
    pub task_ttl_s: u64,
    /// How long the events of a stream are kept, in seconds.
    pub event_ttl_s: u64,
}

/// Where state that outlives a worker is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateBackend {
    /// In the state directory.
    Embedded,
    /// Redis.
    Redis,
}

/// Section `[redis]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Connection URL; it may hold a password.
    pub url: Secret,
    /// What is at the address.
    pub topology: RedisTopology,
    /// Further sentinels or cluster nodes, `host:port`.
    pub nodes: Vec<String>,
    /// Name of the master the sentinels watch.
    pub sentinel_master: String,
    /// Password of the sentinels.
    pub sentinel_password: Secret,
    /// Authority of the server's certificate, PEM file; empty = the system's.
    pub tls_ca: PathBuf,
    /// Own certificate chain, PEM file.
    pub tls_cert: PathBuf,
    /// Own private key, PEM file.
    pub tls_key: PathBuf,
    /// What every key and channel begins with.
    pub prefix: String,
    /// How long a connection may take to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// First delay between probes, in milliseconds.
    pub retry_ms: u64,
    /// Longest delay between probes, in milliseconds.
    pub retry_max_ms: u64,
}

/// What is at the address of `redis.url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisTopology {
    /// One server.
    Standalone,
    /// Sentinels that name the server.
    Sentinel,
    /// Nodes of a cluster.
    Cluster,
}

/// Section `[store]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Which implementation serves changes.
    pub backend: StoreBackend,
    /// The directory that holds `openspec/`.
    pub root: PathBuf,
    /// Name of the data in a cache that machines share; empty = from the machine and the root.
    pub id: String,
    /// Size of one document of a change or spec, in bytes.
    pub document_bytes: u64,
    /// Number of changes an index holds.
    pub changes: u32,
    /// Bound after which an edit by hand is seen, in milliseconds, where the system has no file notification.
    pub poll_ms: u64,
    /// PostgreSQL.
    pub postgres: Postgres,
}

/// Which implementation serves changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreBackend {
    /// An `openspec/` tree.
    Files,
    /// PostgreSQL.
    Postgres,
}

/// Section `[store.postgres]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Connection URL; it may hold a password.
    pub url: Secret,
}

/// Section `[tools]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// How long one call may take, in milliseconds.
    pub deadline_ms: u64,
    /// Threads for parsing, merging and file work, divided over the workers; 0 = one for each processor.
    pub threads: u16,
    /// Jobs that may wait for such a thread in one worker.
    pub queue: u32,
    /// Calls of one tool that may run in one worker at the same time.
    pub concurrency: u32,
    /// How long a client may take to answer a question, in seconds.
    pub ask_timeout_s: u64,
}

/// Section `[supervisor]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// Sockets and caches of the running instance; empty = chosen as `config/default.toml` says.
    pub runtime_dir: PathBuf,
    /// Keys and ledgers that survive a restart; empty = chosen as `config/default.toml` says.
    pub state_dir: PathBuf,
    /// The control socket; empty = `control.sock` in the runtime directory.
    pub control_socket: PathBuf,
    /// How long calls in flight may take to finish after SIGTERM, in seconds.
    pub drain_timeout_s: u64,
    /// How long a draining worker goes on serving while clients take leave, in milliseconds.
    pub lame_duck_ms: u64,
    /// How long a process may take from its start to ready, in seconds.
    pub boot_timeout_s: u64,
    /// First delay of the restart back-off, in milliseconds; it doubles with every early death.
    pub restart_delay_ms: u64,
    /// Longest delay of the restart back-off, in milliseconds.
    pub restart_delay_max_ms: u64,
    /// Early deaths of one slot within a minute that open its breaker.
    pub restart_limit: u32,
    /// Age at which a worker is replaced, in seconds; 0 = none.
    pub recycle_after_s: u64,
    /// Requests after which a worker is replaced; 0 = none.
    pub recycle_requests: u64,
    /// Resident memory over which a worker is replaced, in bytes; 0 = none.
    pub recycle_rss_bytes: u64,
}

/// Section `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Least severe level that is logged.
    pub log_level: LogLevel,
    /// File that all processes of the instance append to; empty = standard error.
    pub log_file: PathBuf,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Also what an operator should look at.
    Warn,
    /// Also the life of the processes.
    Info,
    /// Also what a developer wants.
    Debug,
    /// Everything.
    Trace,
}

/// A string that `Debug` never shows. It is serialised in full: a snapshot for a process of ours needs it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not appear in logs.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. The name makes every use findable.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the key is not set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"(redacted)\"" })
    }
}
