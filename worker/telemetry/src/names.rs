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
