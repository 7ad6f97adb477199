//! Names, help texts and buckets. The names of the document the project started from are kept where it gives one.

/// Requests by method, route and status.
pub const HTTP_REQUESTS: &str = "http_requests_total";
/// Time from a request's head to its response's head.
pub const HTTP_DURATION: &str = "http_request_duration_seconds";
/// Event streams open now.
pub const SSE_ACTIVE: &str = "sse_active_connections";
/// Time a tool took.
pub const TOOL_DURATION: &str = "tool_execution_duration_seconds";
/// Failed calls by tool and code.
pub const TOOL_ERRORS: &str = "tool_errors_total";
/// Tools that panicked.
pub const TOOL_PANICS: &str = "task_mcp_tool_panics_total";
/// Rescans of the tree.
pub const TREE_CHANGES_SEEN: &str = "task_mcp_tree_changes_seen_total";

/// Calls that run now, by tool.
pub const TOOL_RUNNING: &str = "task_mcp_tool_calls_running";
/// Jobs that wait for a thread of the pool now.
pub const POOL_QUEUE: &str = "task_mcp_pool_queue";
/// Time a job waited for a thread of the pool.
pub const POOL_WAIT: &str = "task_mcp_pool_wait_seconds";
/// Calls of cached tools, by tool and where the answer came from: hit, stale, miss, coalesced, bypassed.
pub const CACHE_CALLS: &str = "task_mcp_cache_calls_total";
/// Age of the entries that were answered.
pub const CACHE_HIT_AGE: &str = "task_mcp_cache_hit_age_seconds";
/// Time an operation of the shared tier took.
pub const CACHE_OPERATION: &str = "task_mcp_cache_operation_duration_seconds";
/// Operations of the shared tier that did not do what they were to do, by reason; the calls went on without.
pub const CACHE_FAULTS: &str = "task_mcp_cache_faults_total";
/// Entries removed because their time was over or room was needed.
pub const CACHE_EVICTED: &str = "task_mcp_cache_evicted_total";
/// Entries of the embedded tier, as the last sweep found them.
pub const CACHE_ENTRIES: &str = "task_mcp_cache_entries";
/// Bytes the embedded tier uses, as the last sweep found them.
pub const CACHE_BYTES: &str = "task_mcp_cache_bytes";
/// Processes that do without the shared tier of the settings now.
pub const CACHE_DEGRADED: &str = "task_mcp_cache_degraded";
/// Invalidations that could not be sent to Redis yet.
pub const CACHE_PENDING_BUMPS: &str = "task_mcp_cache_pending_bumps";
/// Time a command took, for cache or state.
pub const REDIS_COMMAND: &str = "task_mcp_redis_command_duration_seconds";
/// Commands that failed, by reason, for cache or state.
pub const REDIS_FAULTS: &str = "task_mcp_redis_faults_total";
/// Connections made, for cache or state.
pub const REDIS_CONNECTS: &str = "task_mcp_redis_connects_total";
/// Processes that leave Redis alone until a probe succeeds, for cache or state.
pub const REDIS_BREAKER_OPEN: &str = "task_mcp_redis_breaker_open";
/// Time reading or writing a record took.
pub const STATE_OPERATION: &str = "task_mcp_state_operation_duration_seconds";
/// Operations on records that failed or took too long.
pub const STATE_FAULTS: &str = "task_mcp_state_faults_total";
/// Calls with an idempotency key, by what became of them.
pub const IDEMPOTENT_CALLS: &str = "task_mcp_idempotent_calls_total";
/// Events published on the bus.
pub const BUS_PUBLISHED: &str = "task_mcp_bus_published_total";
/// Events handed to subscribers.
pub const BUS_DELIVERED: &str = "task_mcp_bus_delivered_total";
/// Events a subscriber had no room for; it was told to look at everything anew.
pub const BUS_DROPPED: &str = "task_mcp_bus_dropped_total";
/// Sessions that legacy clients began.
pub const SESSIONS_BEGUN: &str = "task_mcp_sessions_begun_total";
/// Sessions their clients ended.
pub const SESSIONS_ENDED: &str = "task_mcp_sessions_ended_total";
/// Requests of sessions that are not, or no longer, known.
pub const SESSIONS_UNKNOWN: &str = "task_mcp_sessions_unknown_total";
/// Open event streams of the protocol, by what they are for.
pub const STREAMS_OPEN: &str = "task_mcp_streams_open";
/// Messages sent on streams before an answer.
pub const STREAM_MESSAGES: &str = "task_mcp_stream_messages_total";
/// Streams cut because their client read too slowly.
pub const STREAMS_CUT: &str = "task_mcp_streams_cut_total";
/// Questions of tools to clients, by what became of them.
pub const QUESTIONS: &str = "task_mcp_questions_total";
/// Tasks of the tasks extension, by what became of them.
pub const TASKS: &str = "task_mcp_tasks_total";
/// Requests refused because their principal sent too many.
pub const RATE_LIMITED: &str = "task_mcp_rate_limited_total";
/// Requests judged by this machine's share because the shared limit could not be asked.
pub const RATE_LOCAL: &str = "task_mcp_rate_local_total";
/// Connections refused: their address has too many, or all are busy.
pub const CONNECTIONS_REFUSED: &str = "task_mcp_connections_refused_total";
/// Connections closed: to make room for another, or because nothing happened on them.
pub const CONNECTIONS_CLOSED: &str = "task_mcp_connections_closed_total";

/// Requests being served now.
pub const IN_FLIGHT: &str = "task_mcp_http_requests_in_flight";
/// Live processes by role.
pub const PROCESSES: &str = "task_mcp_processes";
/// Resident memory by process.
pub const RESIDENT_BYTES: &str = "task_mcp_process_resident_memory_bytes";
/// Processor time by process.
pub const CPU_SECONDS: &str = "task_mcp_process_cpu_seconds_total";
/// Open descriptors by process.
pub const OPEN_FDS: &str = "task_mcp_process_open_fds";
/// Seconds since the instance started.
pub const UPTIME: &str = "task_mcp_uptime_seconds";
/// Version of the software.
pub const BUILD_INFO: &str = "task_mcp_build_info";

/// The help text of a name above.
pub(crate) fn help(name: &str) -> &'static str {
    match name {
        HTTP_REQUESTS => "Requests answered, by method, route and status code.",
        HTTP_DURATION => {
            "Time from the head of a request to the head of its response; the life of a stream is not in it."
        }
        SSE_ACTIVE => "Event streams that are open now.",
        TOOL_DURATION => "Time a tool call took in the executor, whatever its outcome.",
        TOOL_ERRORS => "Tool calls that failed, by tool and error code; they travel inside HTTP 200.",
        TOOL_PANICS => "Tool calls that ended in a panic; the caller got an error and the process lived on.",
        TREE_CHANGES_SEEN => "Times the watcher saw an edit of the tree that no tool made, or could not tell.",
        TOOL_RUNNING => "Calls of a tool that run now, those whose caller has left among them.",
        POOL_QUEUE => "Jobs that wait for a thread of the pool now.",
        POOL_WAIT => "Time a job waited for a thread of the pool.",
        CACHE_CALLS => {
            "Calls of cached tools, by tool and where the answer came from: hit, stale, miss, coalesced, bypassed."
        }
        CACHE_HIT_AGE => "Age of the entries that were answered.",
        CACHE_OPERATION => "Time an operation of the shared tier took.",
        CACHE_FAULTS => {
            "Operations of the shared tier that did not do what they were to do, by reason; the calls went on without."
        }
        CACHE_EVICTED => "Entries removed because their time was over or room was needed.",
        CACHE_ENTRIES => "Entries of the embedded tier, as the last sweep found them.",
        CACHE_BYTES => "Bytes the embedded tier uses, as the last sweep found them.",
        CACHE_DEGRADED => "Processes that do without the shared tier of the settings now.",
        CACHE_PENDING_BUMPS => "Invalidations that could not be sent to Redis yet.",
        REDIS_COMMAND => "Time a command took, for cache or state.",
        REDIS_FAULTS => "Commands that failed, by reason, for cache or state.",
        REDIS_CONNECTS => "Connections made, for cache or state.",
        REDIS_BREAKER_OPEN => "Processes that leave Redis alone until a probe succeeds, for cache or state.",
        STATE_OPERATION => "Time reading or writing a record took.",
        STATE_FAULTS => "Operations on records that failed or took too long.",
        IDEMPOTENT_CALLS => "Calls with an idempotency key, by what became of them.",
        BUS_PUBLISHED => "Events published on the bus.",
        BUS_DELIVERED => "Events handed to subscribers.",
        BUS_DROPPED => "Events a subscriber had no room for; it was told to look at everything anew.",
        SESSIONS_BEGUN => "Sessions that legacy clients began.",
        SESSIONS_ENDED => "Sessions their clients ended.",
        SESSIONS_UNKNOWN => "Requests of sessions that are not, or no longer, known.",
        STREAMS_OPEN => "Open event streams of the protocol, by what they are for.",
        STREAM_MESSAGES => "Messages sent on streams before an answer.",
        STREAMS_CUT => "Streams cut because their client read too slowly.",
        QUESTIONS => "Questions of tools to clients, by what became of them.",
        TASKS => "Tasks of the tasks extension, by what became of them.",
        RATE_LIMITED => "Requests refused because their principal sent too many.",
        RATE_LOCAL => "Requests judged by this machine's share because the shared limit could not be asked.",
        CONNECTIONS_REFUSED => "Connections refused: their address has too many, or all are busy.",
        CONNECTIONS_CLOSED => "Connections closed: to make room for another, or because nothing happened on them.",
        IN_FLIGHT => "Requests that are being served now.",
        PROCESSES => "Processes that are live now, by role.",
        RESIDENT_BYTES => "Resident memory of a process, by role, slot and generation.",
        CPU_SECONDS => "Processor time of a process in user and kernel mode, by role, slot and generation.",
        OPEN_FDS => "Open descriptors of a process, by role, slot and generation.",
        UPTIME => "Time since the instance started.",
        BUILD_INFO => "Always 1; the label tells the version.",
        _ => "",
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Buckets of [`HTTP_DURATION`], in nanoseconds: from microseconds to seconds, those of the original document among them.
pub const HTTP_BOUNDS_NS: &[u64] = &[
    10 * US,
    25 * US,
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    300 * MS,
    500 * MS,
    700 * MS,
    S,
    3 * S,
    5 * S,
    7 * S,
    10 * S,
];

/// Buckets of [`TOOL_DURATION`], in nanoseconds, likewise.
pub const TOOL_BOUNDS_NS: &[u64] = &[
    US,
    5 * US,
    10 * US,
    25 * US,
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    500 * MS,
    S,
    2 * S,
    5 * S,
    10 * S,
    30 * S,
];

/// Buckets of [`CACHE_HIT_AGE`], in nanoseconds.
pub const AGE_BOUNDS_NS: &[u64] =
    &[10 * MS, 100 * MS, S, 5 * S, 10 * S, 30 * S, 60 * S, 120 * S, 300 * S, 600 * S, 1_800 * S, 3_600 * S];
