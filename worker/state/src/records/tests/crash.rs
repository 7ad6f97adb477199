//! A process that writes without pause is killed: what it was told is kept is there. The process is this test program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::embedded::closed;
use super::*;
use crate::testing::eventually;

/// What the process is told in its environment: the directory, and what its keys begin with.
const DIRECTORY: &str = "STATE_TEST_DIRECTORY";
const ROUND: &str = "STATE_TEST_ROUND";
/// What its lines begin with: the harness writes others.
const KEPT: &str = "kept ";
/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process, which does not survive its test.
struct Writes(Child);

impl Writes {
    fn start(folder: &Path, round: usize) -> (Self, mpsc::Receiver<String>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records::tests::crash::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(DIRECTORY, folder)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // It ends with the process. The last line may be cut off in the middle.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(key) = line.strip_prefix(KEPT).and_then(|key| key.strip_suffix('.')) {
                    let _ = sender.send(key.to_owned());
                }
            }
        });
        (Self(child), lines)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a record of that key holds: some fit into a page of LMDB, some do not.
fn value(key: &str) -> Vec<u8> {
    let number: usize = key.rsplit('-').next().unwrap().parse().unwrap();
    key.bytes().cycle().take([20, 700, 9_000][number % 3]).collect()
}

#[test]
#[ignore = "plays the process of the other tests, which start it"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let records = embedded_in(Path::new(&folder), 256 << 20);
        // Several at a time, so that transactions hold more than one.
        let all: Vec<_> = (0..8)
            .map(|writer| {
                let (records, round) = (records.clone(), round.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        let key = format!("{round}-{writer}-{number}");
                        records.put(Kind::Call, &key, value(&key), HOUR).await.unwrap();
                        std::io::stdout().lock().write_all(format!("{KEPT}{key}.\n").as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
    });
}

/// Lets a process write and kills it meanwhile; what it was told is kept.
fn killed(folder: &Path, round: usize) -> Vec<String> {
    let (mut process, lines) = Writes::start(folder, round);
    let enough = 40 + rand::random_range(0..40);
    let mut kept: Vec<String> = (0..enough).map(|_| lines.recv_timeout(PATIENCE).unwrap()).collect();
    process.kill();
    kept.extend(lines.iter());
    kept
}

async fn all_are_there(records: &Records, kept: &[String]) {
    for key in kept {
        let found = records.get(Kind::Call, key).await.unwrap();
        assert_eq!(found.map(|record| record.value), Some(value(key).into()), "{key}");
    }
}

fn set_aside(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder.join("records")).unwrap();
    files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("damaged")).count()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_process_was_killed_while_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for round in 0..8 {
        kept.extend(killed(folder.path(), round));
        let records = embedded_in(folder.path(), 256 << 20);
        all_are_there(&records, &kept).await;
        closed(records, folder.path()).await;
    }
    assert_eq!(set_aside(folder.path()), 0);
}

#[tokio::test]
async fn others_go_on_at_once_when_a_process_was_killed_while_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 256 << 20);
    for round in 0..8 {
        let kept = killed(folder.path(), round);
        all_are_there(&records, &kept).await;
        let key = format!("mine-{round}");
        eventually(async || records.put(Kind::Call, &key, value(&key), HOUR).await.ok()).await;
        all_are_there(&records, &[key]).await;
    }
    assert_eq!(set_aside(folder.path()), 0);
}
