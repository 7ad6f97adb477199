//! Somebody spoils the file of the embedded cache, or takes its room, while the server runs or before it starts.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use task_mcp_bench::{Outcome, Report, Request};

use crate::support::{Caller, Dialect, Load, Server, Shared, eventually, modern_call, steady};

const CONNECTIONS: usize = 8;
const RATE: f64 = 200.0;
/// From the moment the file is spoiled until results are kept again.
const AGAIN: Duration = Duration::from_secs(15);

fn cached(key: &str) -> Request {
    modern_call("test_cached", json!({"key": key, "bytes": 20_000}))
}

/// The files of the cache, without those of LMDB's locks.
fn files(server: &Server) -> Vec<PathBuf> {
    let found = fs::read_dir(server.folder().join("run/cache")).expect("the directory of the cache");
    let mut files: Vec<_> = found.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "mdb"));
    files.sort();
    files
}

/// Waits until results are kept in `key`'s place: the tool does not run again.
fn kept(shared: &Shared, server: &Server, key: &str) {
    let mut calm = 0;
    eventually(AGAIN, "results are kept again", || {
        let before = shared.runs("test_cached", key);
        let caller = Caller::new(server, Dialect::Modern);
        (0..4).for_each(|_| drop(caller.call("test_cached", json!({"key": key, "bytes": 20_000})).ok()));
        calm = if shared.runs("test_cached", key) == before { calm + 1 } else { 0 };
        (calm == 5).then_some(())
    });
}

fn lost(report: &Report) -> u64 {
    report.count(Outcome::Reset) + report.count(Outcome::Eof) + report.count(Outcome::Partial)
}

#[test]
fn a_file_truncated_under_load_costs_what_was_in_flight_and_results_are_kept_again() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let load = Load::start(steady(&server, &cached("k"), RATE, CONNECTIONS));
    kept(&shared, &server, "k");
    let before = server.workers();
    let first = files(&server);
    let truncated = Instant::now();
    fs::File::options().write(true).open(&first[0]).unwrap().set_len(8_192).unwrap();
    eventually(AGAIN, "both workers are replaced or well", || {
        files(&server).iter().any(|file| !first.contains(file)).then_some(())
    });
    server.wait_workers(2, &[]);
    let dead = before.iter().filter(|worker| !worker.is_alive()).count() as u64;
    load.wait_more(50);
    let reports = load.stop();
    for report in &reports {
        assert!(lost(report) <= dead * CONNECTIONS as u64, "{dead} died of it: {report}");
        assert_eq!(report.failed(), lost(report), "nothing else failed: {report}");
    }
    assert!(dead > 0, "a worker read beyond the end of the file");
    let load = Load::start(steady(&server, &cached("k"), RATE, CONNECTIONS));
    kept(&shared, &server, "k");
    assert!(truncated.elapsed() < 4 * AGAIN);
    let workers = server.workers();
    load.wait_more(50);
    load.stop_unharmed();
    assert_eq!(server.workers(), workers, "nobody dies of it any more");
}

#[test]
fn a_file_whose_head_is_overwritten_under_load_costs_no_call_and_results_are_kept_again() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let load = Load::start(steady(&server, &cached("k"), RATE, CONNECTIONS));
    kept(&shared, &server, "k");
    let workers = server.workers();
    let first = files(&server);
    let head = fs::File::options().write(true).open(&first[0]).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&head, &[0xa5; 8_192], 0).unwrap();
    eventually(AGAIN, "all go on with another file", || {
        files(&server).iter().any(|file| !first.contains(file)).then_some(())
    });
    kept(&shared, &server, "k");
    load.stop_unharmed();
    assert_eq!(server.workers(), workers, "nobody died of it");
    assert!(server.stderr().contains("is broken"), "it is told once");
    let ready: Value = serde_json::from_slice(&server.get("/readyz").body).expect("JSON");
    assert_eq!(ready["dependencies"]["cache"]["inForce"], "embedded", "{ready}");
}
