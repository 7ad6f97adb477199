//! Messages between the supervisor and its processes.
