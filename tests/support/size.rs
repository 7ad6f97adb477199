//! Short and full forms of a test.

use std::env;

/// The number for the test command, or the one for `scripts/soak`, which sets `TASK_MCP_SOAK=1`.
pub fn sized<T>(short: T, full: T) -> T {
    if env::var_os("TASK_MCP_SOAK").is_some_and(|value| value == "1") { full } else { short }
}
