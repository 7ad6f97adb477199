//! What processes that share a file do to each other. The others are this program again, with one ignored test of this file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use task_mcp_telemetry::CacheFault;

use super::*;
use crate::testing::{eventually, faults};
use crate::tier::Lease;

const DIRECTORY: &str = "TASK_MCP_TEST_CACHE_DIRECTORY";
const COMMONS: &str = "TASK_MCP_TEST_CACHE_COMMONS";
const NUMBER: &str = "TASK_MCP_TEST_CACHE_NUMBER";
const PROCESSES: usize = 16;

/// Another process; it dies with the test.
struct Other {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Other {
    /// Starts `test` of this file over the same directory and commons.
    fn start(test: &str, dir: &Path, commons: &Commons, number: usize) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), test, dir, commons, number)
    }

    fn start_by(mut command: Command, test: &str, dir: &Path, commons: &Commons, number: usize) -> Self {
        let memory = format!("/proc/{}/fd/{}", std::process::id(), commons.as_fd().as_raw_fd());
        let mut child = command
            .args(["--exact", &format!("embedded::tests::processes::{test}"), "--ignored", "--nocapture"])
            .env(DIRECTORY, dir)
            .env(COMMONS, memory)
            .env(NUMBER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until it has said so.
    fn says(&mut self, what: &str) {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(what) {
                return;
            }
            line.clear();
        }
        panic!("it ended before it said {what:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn succeeds(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In another process: what it was started with.
fn given() -> (std::path::PathBuf, Commons, usize) {
    let memory = File::options().read(true).write(true).open(std::env::var(COMMONS).unwrap()).unwrap();
    let number = std::env::var(NUMBER).unwrap().parse().unwrap();
    (std::env::var(DIRECTORY).unwrap().into(), Commons::open(OwnedFd::from(memory)).unwrap(), number)
}

#[tokio::test]
#[ignore = "run by others"]
async fn stores_one_and_finds_all() {
    let (dir, commons, number) = given();
    let (tier, _scoreboard) = open(&dir, &commons, |_| {});
    assert_eq!(tier.health().reason, None);
    tier.store(&key(&number.to_string()), entry(&tier, &number.to_string()), None).await.unwrap();
    for other in 0..PROCESSES {
        let found = eventually("what others store is found", async || found(&tier, &other.to_string()).await).await;
        assert_eq!(found.value, value(&other.to_string()));
    }
}

#[test]
fn many_processes_that_start_at_once_share_one_file() {
    let (dir, commons) = (tempfile::tempdir().unwrap(), Commons::create().unwrap());
    let start = |number| Other::start("stores_one_and_finds_all", dir.path(), &commons, number);
    let others: Vec<_> = (0..PROCESSES).map(start).collect();
    others.into_iter().for_each(Other::succeeds);
    assert_eq!(commons.cache_generation(), 0);
}

#[tokio::test]
#[ignore = "run by others"]
async fn holds_the_write_lock() {
    let (dir, commons, _) = given();
    let (tier, _scoreboard) = open(&dir, &commons, |_| {});
    let file = tier.shared.file().unwrap();
    file.as_ref().unwrap().while_writing(|| {
        println!("holding");
        let _ = std::io::stdin().read_line(&mut String::new());
    });
}

#[tokio::test]
async fn a_writer_that_is_stopped_with_the_lock_keeps_nobody_from_reading_and_no_caller_waiting() {
    let fixture = start(|settings| settings.cache.budget_ms = 50);
    fixture.tier.store(&key("before"), fixture.entry("v"), None).await.unwrap();
    let mut other = Other::start("holds_the_write_lock", fixture.dir.path(), &fixture.commons, 0);
    other.says("holding");
    other.signal(Signal::STOP);
    for number in 0..3 {
        let began = Instant::now();
        let stored = fixture.tier.store(&key(&number.to_string()), fixture.entry("v"), None).await;
        assert_eq!(stored, Err(CacheFault::Timeout));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(fixture.found("before").await.is_some());
        assert!(matches!(fixture.tier.lease(&key(&number.to_string())).await, Lease::Mine(_)));
    }
    let told = async |what: &str, entry: Entry| {
        eventually(what, async || {
            let _ = fixture.tier.store(&key("large"), entry.clone(), None).await;
            fixture.tier.health().reason.filter(|reason| reason.contains(what))
        })
        .await;
    };
    told("write lock", fixture.entry("v")).await;
    let large = fixture.entry(&"x".repeat(1 << 19));
    eventually("fills that wait are bounded", async || {
        let stored = fixture.tier.store(&key("large"), large.clone(), None).await;
        (stored == Err(CacheFault::Queue)).then_some(())
    })
    .await;
    assert!(faults(&fixture.scoreboard, "timeout") >= 3 && faults(&fixture.scoreboard, "queue") > 0);
    told("queue", large).await;
    assert_eq!(fixture.tier.health().in_force, "embedded");

    // A process that starts meanwhile reads at once.
    Other::start("reads_what_was_there", fixture.dir.path(), &fixture.commons, 0).succeeds();

    other.signal(Signal::CONT);
    drop(other.child.stdin.take());
    eventually("it goes on as before", async || fixture.tier.store(&key("after"), fixture.entry("w"), None).await.ok())
        .await;
    eventually("it is well without another store", async || fixture.tier.health().reason.is_none().then_some(())).await;
    assert_eq!(fixture.found("2").await, None, "nobody waited for it any more");
}

#[tokio::test]
#[ignore = "run by others"]
async fn reads_what_was_there() {
    let (dir, commons, _) = given();
    let began = Instant::now();
    let (tier, _scoreboard) = open(&dir, &commons, |_| {});
    assert!(found(&tier, "before").await.is_some());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_writer_killed_in_the_middle_of_a_transaction_leaves_what_was_there() {
    let fixture = start(|_| {});
    fixture.tier.store(&key("before"), fixture.entry("v"), None).await.unwrap();
    let mut other = Other::start("holds_the_write_lock", fixture.dir.path(), &fixture.commons, 0);
    other.says("holding");
    let (tier, entry) = (&fixture.tier, fixture.entry("w"));
    let waiting_key = key("waiting");
    let waiting = tier.store(&waiting_key, entry, None);
    let killing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.signal(Signal::KILL);
    };
    let began = Instant::now();
    let (stored, ()) = tokio::join!(waiting, killing);
    stored.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50), "it waited for the lock");
    assert!(fixture.found("before").await.is_some() && fixture.found("waiting").await.is_some());
    assert!(fixture.tier.stats().await.entries == Some(2), "nothing of its transaction is seen");
}

#[tokio::test]
#[ignore = "run by others"]
async fn fills_a_small_disk() {
    let (dir, commons, _) = given();
    let (tier, scoreboard) = open(&dir, &commons, |settings| settings.cache.compress_bytes = 0);
    tier.store(&key("before"), entry(&tier, "v"), None).await.unwrap();
    let full = dir.join("full");
    // The last byte of the disk is somebody else's.
    let _ = fs::write(&full, vec![0; 8 << 20]);
    let mut refused = 0;
    for number in 0..50 {
        let began = Instant::now();
        let text = format!("{number}{}", "x".repeat(20_000));
        match tier.store(&key(&number.to_string()), entry(&tier, &text), None).await {
            Ok(()) => {}
            Err(fault) => {
                assert_eq!(fault, CacheFault::Full);
                refused += 1;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(found(&tier, "before").await.is_some());
    }
    assert!(refused > 10 && faults(&scoreboard, "full") == refused, "{refused}");
    let large = entry(&tier, &"x".repeat(20_000));
    eventually("it is told", async || {
        let _ = tier.store(&key("large"), large.clone(), None).await;
        tier.health().reason.filter(|reason| reason.contains("no room"))
    })
    .await;
    fs::remove_file(full).unwrap();
    eventually("there is room again", async || tier.store(&key("after"), entry(&tier, "w"), None).await.ok()).await;
    assert!(found(&tier, "after").await.is_some());
    eventually("all is well again", async || tier.health().reason.is_none().then_some(())).await;
    println!("filled");
}

#[tokio::test]
#[ignore = "run by others"]
async fn starts_on_a_full_disk() {
    let (dir, commons, _) = given();
    let full = dir.join("full");
    let _ = fs::write(&full, vec![0; 8 << 20]);
    let filled = File::options().write(true).open(&full).unwrap();
    let bytes = filled.metadata().unwrap().len();
    for pages_left in [0, 1, 2, 3, 8] {
        filled.set_len(bytes - pages_left * rustix::param::page_size() as u64).unwrap();
        let (tier, _scoreboard) = open(&dir, &commons, |_| {});
        let health = tier.health();
        assert_eq!(health.in_force, "none", "{pages_left} pages are left");
        assert!(health.reason.as_ref().unwrap().contains("No space left"), "{health:?}");
        assert!(matches!(tier.look(&key("k"), &tags()).await, Looked::Untrusted));
    }
    assert_eq!(commons.cache_generation(), 0, "there is nothing wrong with the file");
    drop(filled);
    let (tier, _scoreboard) = open(&dir, &commons, |_| {});
    fs::remove_file(full).unwrap();
    let house = tier.keep_house(Duration::from_millis(5));
    let usable = eventually("it is tried again", async || tier.health().reason.is_none().then_some(()));
    tokio::select! { () = house => {}, () = usable => {} }
    tier.store(&key("k"), entry(&tier, "v"), None).await.unwrap();
    println!("recovered");
}

/// Runs `test` of this file on a disk of its own of 600 KiB, which ends with the process.
fn on_a_small_disk(test: &str, says: &str) {
    let (dir, commons) = (tempfile::tempdir().unwrap(), Commons::create().unwrap());
    let mounted = "mount -t tmpfs -o size=600k,mode=700 tmpfs \"$TASK_MCP_TEST_CACHE_DIRECTORY\"";
    let may = Command::new("unshare")
        .args(["-m", "sh", "-c", mounted])
        .env(DIRECTORY, dir.path())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        println!("Left out: this user may not mount a file system.");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{mounted} && exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    let mut other = Other::start_by(command, test, dir.path(), &commons, 0);
    other.says(says);
    other.succeeds();
}

#[test]
fn a_full_disk_refuses_fills_and_nothing_else() {
    on_a_small_disk("fills_a_small_disk", "filled");
}

#[test]
fn a_disk_that_is_full_at_the_start_is_done_without_until_there_is_room() {
    on_a_small_disk("starts_on_a_full_disk", "recovered");
}
