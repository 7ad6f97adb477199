//! Archives killed with SIGKILL at any moment, in a process of their own: what the next store finds is the tree before or
//! the tree after, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use task_mcp_changes::{FilesStore, Store, StoreOptions};

use crate::world::{DELTA, Inline, MemoryEpoch, archiving};

const ROOT: &str = "TASK_MCP_TEST_KILLED_ROOT";
const ROUNDS: u32 = 60;
const BUDGET: Duration = Duration::from_secs(20);
const SPEC: &str = "# C\n\n## Purpose\nThis purpose is long enough to be accepted by the checks.\n\n## Requirements\n\n\
                    ### Requirement: A\nIt SHALL a.\n\n#### Scenario: s\n- x\n";
const RETIRE: &str = "## REMOVED Requirements\n- ### Requirement: A\n";

#[test]
#[ignore = "the process that is killed: the test below starts it"]
fn victim() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let store = open(Path::new(&root));
    eprintln!("ready");
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(store.archive(archiving("add-b", "ana")))
        .unwrap();
}

#[test]
fn killed_at_any_moment_the_tree_is_as_before_or_as_after() {
    let whole = tempfile::tempdir().unwrap();
    lay_out(whole.path());
    let before = snapshot(whole.path());
    let mut child = start(whole.path());
    let began = Instant::now();
    assert!(child.wait().unwrap().success());
    let takes = began.elapsed();
    let after = snapshot(whole.path());
    assert_ne!(before, after);

    let (mut undone, mut done, mut half_way) = (0, 0, 0);
    let began = Instant::now();
    for round in 0..ROUNDS {
        if began.elapsed() > BUDGET {
            break;
        }
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path());
        let mut child = start(dir.path());
        // The moment of the kill is the point of the test: spread over the time a whole archive takes, in no order.
        std::thread::sleep(takes * (round * 37 % ROUNDS) / ROUNDS);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = snapshot(dir.path());
        drop(open(dir.path()));
        let found = snapshot(dir.path());
        half_way += u32::from(left != before && left != after);
        match () {
            () if found == before => undone += 1,
            () if found == after => done += 1,
            () => panic!("round {round}: neither before nor after:\n{:#?}", found.keys().collect::<Vec<_>>()),
        }
        for folder in ["tmp", "journal"] {
            let folder = dir.path().join("openspec/.task-mcp").join(folder);
            assert_eq!(fs::read_dir(&folder).map(Iterator::count).unwrap_or_default(), 0, "{folder:?}");
        }
        let store = open(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.archive(archiving("add-b", "ana"))).unwrap();
        assert_eq!(snapshot(dir.path()), after, "it can be archived afterwards");
    }
    assert!(undone > 0 && half_way > 0, "undone {undone}, done {done}, found half-way {half_way}");
}

/// Eight capabilities: new ones, changed ones and one that is retired.
fn lay_out(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join("openspec").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for i in 0..8 {
        if i % 2 == 1 {
            write(&format!("specs/area/c{i}/spec.md"), SPEC);
        }
        write(&format!("changes/add-b/specs/area/c{i}/spec.md"), DELTA);
    }
    write("changes/add-b/specs/area/c7/spec.md", RETIRE);
    write("changes/add-b/.openspec.yaml", "schema: spec-driven\nretire_capabilities: true\n");
    write("changes/add-b/proposal.md", "# Change: b\n");
    write("changes/archive/2025-01-01-old/proposal.md", "# Change: old\n");
}

/// A process that is about to archive.
fn start(root: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::victim", "--exact", "--ignored", "--nocapture"])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the process came up");
    child
}

fn open(root: &Path) -> FilesStore {
    let options = StoreOptions { document_bytes: 1 << 20, changes: 1000 };
    FilesStore::open(root, options, Arc::new(MemoryEpoch::default()), Arc::new(Inline::default())).unwrap()
}

/// Every file and folder but our own, with its text; receipts differ by their time.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.file_name() != ".task-mcp") {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                found.insert(name, "a folder".to_owned());
                walk(root, &path, found);
            } else {
                let text = if name.ends_with("/receipt.json") {
                    "a receipt".to_owned()
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                found.insert(name, text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, &root.join("openspec"), &mut found);
    found
}
