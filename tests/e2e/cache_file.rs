//! Somebody spoils the file of the embedded cache, or takes its room, while the server runs or before it starts.

use std::{
    fs,
    path::PathBuf,
    process::Command,
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
    let found = fs::read_dir(server.folder().join("run/cache")).into_iter().flatten();
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

/// What readiness says of the cache.
fn told(server: &Server) -> Value {
    let ready: Value = serde_json::from_slice(&server.get("/readyz").body).expect("JSON");
    ready["dependencies"]["cache"].clone()
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
    assert_eq!(told(&server)["inForce"], "embedded");
}

#[test]
fn a_directory_removed_under_load_costs_no_call_and_all_processes_share_another() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let load = Load::start(steady(&server, &cached("k"), RATE, CONNECTIONS));
    kept(&shared, &server, "k");
    fs::remove_dir_all(server.folder().join("run/cache")).unwrap();
    eventually(AGAIN, "there is another file", || {
        files(&server).iter().any(|file| file.to_string_lossy().contains("-1-")).then_some(())
    });
    kept(&shared, &server, "k");
    load.stop_unharmed();
    let lines = server.stderr().matches("was removed or replaced").count();
    assert_eq!(lines, 1, "one of the processes tells");
}

#[test]
fn a_runtime_directory_without_room_is_served_without_the_cache_until_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    // A mount of its own, which ends with the server, with one page left.
    let mount = format!("mount -t tmpfs -o size=2m,mode=700 tmpfs {}", run.display());
    if !Command::new("unshare").args(["-m", "sh", "-c", &mount]).status().is_ok_and(|status| status.success()) {
        eprintln!("Left out: this user may not mount a file system.");
        return;
    }
    let full = run.join("full");
    let fill = format!("(head -c 8M /dev/zero > {full}; truncate -s -4096 {full}) 2> /dev/null", full = full.display());
    let start = format!("{mount} && {fill}; exec \"$0\" \"$@\"");
    let shared = Shared::new();
    let server = shared
        .instance(2)
        .set("supervisor.runtime_dir", run.display())
        .through(&["unshare", "-m", "sh", "-c", &start])
        .start();
    let load = Load::start(steady(&server, &cached("k"), RATE, CONNECTIONS));
    let workers = server.workers();
    let health = told(&server);
    assert_eq!(health["inForce"], "none", "{health}");
    assert!(health["reason"].as_str().unwrap().contains("No space left"), "{health}");
    assert!(shared.runs("test_cached", "k") > 20, "each call is computed");
    fs::remove_file(format!("/proc/{}/root{}", server.pid(), full.display())).unwrap();
    kept(&shared, &server, "k");
    load.stop_unharmed();
    assert_eq!(server.workers(), workers, "nobody died of it");
}
