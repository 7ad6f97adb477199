//! How many descriptors a process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many descriptors as the system allows; the processes inherit that. The usual soft limit of 1,024 is for programs that
/// wait with select(2), and a worker may hold all of `limits.max_connections`. Where it cannot be raised it stays as it is.
pub(crate) fn take_all() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
