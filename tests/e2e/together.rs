//! Several workers give one answer.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{Caller, Dialect, Server, Tree, eventually};

/// New connections after which each of two workers has been met, but for one chance in 2^39.
const CONNECTIONS: usize = 40;

fn active(server: &Server) -> BTreeSet<String> {
    let active = Caller::new(server, Dialect::Ndjson).call("changes.active", json!({})).ok();
    active["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn both_workers_serve() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let workers: BTreeSet<i64> = server.workers().iter().map(|worker| worker.pid.into()).collect();
    assert_eq!(workers.len(), 2);
    let caller = Caller::new(&server, Dialect::Ndjson);
    let counted: Vec<Value> = (0..CONNECTIONS).map(|_| caller.call("test_counter", json!({})).ok()).collect();
    let served: BTreeSet<i64> = counted.iter().map(|count| count["pid"].as_i64().unwrap()).collect();
    assert_eq!(served, workers, "{counted:?}");
}

#[test]
fn after_a_write_every_worker_lists_it_at_once() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let mut expected = active(&server);
    for number in 0..5 {
        let slug = format!("written-{number}");
        Caller::new(&server, Dialect::Ndjson).call("change.open", json!({"title": "W", "slug": slug})).ok();
        expected.insert(slug);
        for _ in 0..CONNECTIONS {
            assert_eq!(active(&server), expected);
        }
    }
}

#[test]
fn an_archive_leaves_every_list_at_once() {
    let tree = Tree::new();
    tree.add_ready_change("leaves");
    tree.add_ready_change("stays");
    let server = Server::build(tree.root()).start();
    for _ in 0..CONNECTIONS {
        assert_eq!(active(&server).len(), 2);
    }
    Caller::new(&server, Dialect::Ndjson).call("change.archive", json!({"slug": "leaves"})).ok();
    for _ in 0..CONNECTIONS {
        assert_eq!(active(&server), BTreeSet::from(["stays".to_owned()]));
    }
}

#[test]
fn edits_by_hand_are_seen_by_every_worker_within_two_seconds() {
    let tree = Tree::new();
    tree.add_ready_change("edited");
    let server = Server::build(tree.root()).start();
    // Both workers have an index by now, so that what follows tests its renewal.
    (0..CONNECTIONS).for_each(|_| assert_eq!(active(&server).len(), 1));
    let all_see = |promise: &str, slugs: &[&str]| {
        let slugs: BTreeSet<String> = slugs.iter().map(|slug| (*slug).to_owned()).collect();
        let mut agreed = 0;
        eventually(Duration::from_secs(2), promise, || {
            agreed = if active(&server) == slugs { agreed + 1 } else { 0 };
            (agreed == CONNECTIONS / 2).then_some(())
        });
    };
    tree.add_ready_change("by-hand");
    all_see("a new folder is listed", &["by-hand", "edited"]);
    fs::remove_dir_all(tree.path("openspec/changes/by-hand")).unwrap();
    all_see("a removed folder is not", &["edited"]);

    let tasks = "# Tasks\n\n## 1. Work\n\n- [ ] 1.1 Open\n- [x] 1.2 Done\n";
    tree.write("openspec/changes/edited/tasks.md", tasks);
    eventually(Duration::from_secs(2), "an edited file changes what is shown", || {
        let shown = Caller::new(&server, Dialect::Ndjson).call("change.show", json!({"slug": "edited"})).ok();
        shown.to_string().contains("1.1 Open").then_some(())
    });
}

#[test]
fn a_tree_that_was_replaced_is_watched_again() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let all_see = |promise: &str, count: usize| {
        let mut agreed = 0;
        eventually(Duration::from_secs(4), promise, || {
            agreed = if active(&server).len() == count { agreed + 1 } else { 0 };
            (agreed == CONNECTIONS / 2).then_some(())
        });
    };
    for round in 1..=3 {
        // The new folder may get the inode number of the old one at once.
        fs::remove_dir_all(tree.path("openspec")).unwrap();
        fs::create_dir_all(tree.path("openspec/changes")).unwrap();
        all_see("the new tree is empty", 0);
        tree.add_ready_change(&format!("by-hand-{round}"));
        all_see("an edit of the new tree is seen", 1);
    }
}

#[test]
fn a_link_does_not_lead_the_watcher_out_of_the_tree() {
    let tree = Tree::new();
    let outside = tempfile::tempdir().unwrap();
    (0..200).for_each(|number| fs::create_dir(outside.path().join(number.to_string())).unwrap());
    std::os::unix::fs::symlink(outside.path(), tree.path("openspec/changes/linked")).unwrap();
    let server = Server::build(tree.root()).start();
    let admin = server.admin_process().unwrap();
    let watches = || -> usize {
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", admin.pid)).unwrap();
        let texts = infos.filter_map(|info| fs::read_to_string(info.unwrap().path()).ok());
        texts.map(|text| text.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
    };
    let count =
        eventually(Duration::from_secs(3), "the tree is watched", || Some(watches()).filter(|count| *count > 0));
    assert!(count < 50, "{count} folders are watched");
}
