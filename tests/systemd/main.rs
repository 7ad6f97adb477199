//! The service under a real systemd, in namespaces of its own, and what is told to a service manager.
//!
//! - `machine`: a systemd that lives as long as its test; installs the service as docs/systemd.md says
//! - `boot.sh`: how it is booted
//! - `unit`: the unit is valid, hardened, started and stopped
//! - `reload`: all workers are replaced, or the reload fails and nothing is
//! - `crash`: a worker, the supervisor; hangs
//! - `transcript`: every message of sd_notify(3), in order
//!
//! Where the host allows no namespaces, or without root, all but the last say SKIPPED and why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr, unreachable_pub)]
// Each test program uses its part of it.
#![allow(dead_code, unused_imports)]

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod machine;
mod reload;
mod transcript;
mod unit;
