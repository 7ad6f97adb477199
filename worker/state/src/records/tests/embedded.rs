//! What files promise beyond that.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::testing::eventually;

/// Closes the files and waits until they are.
pub(super) async fn closed(records: Records, folder: &Path) {
    drop(records);
    let folder = folder.join("records").canonicalize().unwrap();
    eventually(async || heed::env_closing_event(&folder).is_none().then_some(())).await;
}

#[tokio::test]
async fn the_files_are_private_and_records_are_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let state_dir = root.path().join("new/state");
    let records = embedded_in(&state_dir, 1 << 20);
    let version = records.put(Kind::Task, "t", "kept", HOUR).await.unwrap();
    closed(records, &state_dir).await;
    let mode = |path: &str| fs::metadata(state_dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("records")), (0o700, 0o700));
    for file in ["data.mdb", "lock.mdb", "open.lock", "users.lock"] {
        assert_eq!(mode(&format!("records/{file}")), 0o600, "{file}");
    }
    let records = embedded_in(&state_dir, 1 << 20);
    let found = records.get(Kind::Task, "t").await.unwrap().unwrap();
    assert_eq!((found.version, &found.value[..]), (version, &b"kept"[..]));
}

#[tokio::test]
async fn what_is_full_refuses_and_takes_again_when_something_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 1 << 20);
    let value = vec![7; 90_000];
    let mut kept = 0;
    let error = loop {
        match records.put(Kind::Task, &kept.to_string(), value.clone(), HOUR).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 11, "more than there is room for");
    };
    assert!(matches!(error, StateError::Full { limit_bytes: 1_048_576 }), "{error}");
    assert!(kept > 5, "{kept}");
    for round in 0..200 {
        let key = (round % kept).to_string();
        assert!(records.take(Kind::Task, &key).await.unwrap().is_some(), "removing needs no room: {round}");
        records.put(Kind::Task, &key, value.clone(), HOUR).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_done_takes_nothing_else_of_its_transaction_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 1 << 20);
    let tries = (0..40_u8).map(|number| {
        let records = records.clone();
        let value = vec![number; if number % 4 == 0 { 2_000_000 } else { 10 }];
        tokio::spawn(async move { records.put(Kind::Task, &number.to_string(), value, HOUR).await.is_ok() })
    });
    let mut done = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        done.push(one.await.unwrap());
    }
    let expected: Vec<bool> = (0..40).map(|number| number % 4 != 0).collect();
    assert_eq!(done, expected);
    assert_eq!(records.list(Kind::Task, "", "", 99).await.unwrap().len(), 30);
}

#[tokio::test]
async fn what_has_ended_is_swept_out_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 64 << 20);
    let all: Vec<_> = (0..600)
        .map(|number| {
            let records = records.clone();
            let ttl = if number % 3 == 0 { HOUR } else { Duration::ZERO };
            tokio::spawn(async move { records.put(Kind::Nonce, &number.to_string(), "x", ttl).await.unwrap() })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    let Backend::Embedded(embedded) = &records.backend else { panic!("embedded") };
    let limit = Duration::from_secs(20);
    let swept = [embedded.sweep(limit).await, embedded.sweep(limit).await, embedded.sweep(limit).await];
    assert_eq!(swept.map(Result::unwrap), [256, 144, 0]);
    assert_eq!(records.list(Kind::Nonce, "", "", 999).await.unwrap().len(), 200);
}

#[tokio::test]
async fn damaged_files_are_set_aside_and_not_thrown_away() {
    for damage in [garbage as fn(&Path), half, beginning] {
        let folder = tempfile::tempdir().unwrap();
        let records = embedded_in(folder.path(), 8 << 20);
        for number in 0..200 {
            records.put(Kind::Task, &number.to_string(), vec![1; 3_000], HOUR).await.unwrap();
        }
        closed(records, folder.path()).await;
        damage(&folder.path().join("records/data.mdb"));
        let records = embedded_in(folder.path(), 8 << 20);
        assert!(records.list(Kind::Task, "", "", 9).await.unwrap().is_empty());
        records.put(Kind::Task, "t", "x", HOUR).await.unwrap();
        let names = fs::read_dir(folder.path().join("records")).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = names.filter(|name| name.to_str().unwrap().starts_with("data.mdb.damaged-")).count();
        assert_eq!(aside, 1);
        drop(records);
    }
}

fn garbage(data: &Path) {
    fs::write(data, vec![b'x'; 100_000]).unwrap();
}

fn half(data: &Path) {
    let file = fs::File::options().write(true).open(data).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn beginning(data: &Path) {
    fs::File::options().write(true).open(data).unwrap().set_len(100).unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = Records::embedded(&folder.path().join("file"), 1 << 20, HOUR, metrics()).unwrap_err();
    assert!(error.to_string().contains("supervisor.state_dir"), "{error}");
}

#[tokio::test]
async fn a_writer_that_was_stopped_keeps_reads_from_nobody_and_writes_no_longer_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(50);
    let records = Records::embedded(folder.path(), 1 << 20, limit, metrics()).unwrap();
    eventually(async || records.put(Kind::Task, "t", "before", HOUR).await.ok()).await;
    let Backend::Embedded(embedded) = &records.backend else { panic!("embedded") };
    let stopped = embedded.holds_the_lock();
    for key in ["t", "u"] {
        let error = records.put(Kind::Task, key, "after", HOUR).await.unwrap_err();
        assert!(matches!(error, StateError::Timeout { .. }), "{error}");
    }
    assert_eq!(records.get(Kind::Task, "t").await.unwrap().unwrap().value, "before");
    drop(stopped);
    eventually(async || records.put(Kind::Task, "v", "later", HOUR).await.ok()).await;
    assert_eq!(records.get(Kind::Task, "u").await.unwrap(), None, "nobody waited for it any more");
}

#[tokio::test]
async fn the_last_tenth_is_for_what_must_not_fail() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 1 << 20);
    let Inserted::New(begun) = records.insert(Kind::Call, "begun", "", HOUR).await.unwrap() else { panic!("new") };
    let mut number = 0;
    while records.put(Kind::Task, &number.to_string(), vec![7; 3_000], HOUR).await.is_ok() {
        number += 1;
    }
    assert_eq!(records.trouble(), Some("full"));
    let refused = records.insert(Kind::Call, "later", vec![1; 3_000], HOUR).await;
    assert!(matches!(refused, Err(StateError::Full { .. })), "there is no room for its answer: {refused:?}");
    records.replace(Kind::Call, "begun", begun, vec![1; 20_000], Some(HOUR)).await.unwrap().unwrap();
    records.put(Kind::Revocation, "r", "", HOUR).await.unwrap();
    for number in 0..50 {
        records.take(Kind::Task, &number.to_string()).await.unwrap();
    }
    eventually(async || {
        records.probe().await;
        records.trouble().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_that_were_removed_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let records = embedded_in(folder.path(), 1 << 20);
    records.in_place().unwrap();
    fs::remove_dir_all(folder.path().join("records")).unwrap();
    let ledger = crate::Ledger::new(records.clone(), HOUR, metrics());
    assert!(matches!(ledger.begin("k", [1; 32]).await, Err(StateError::Replaced { .. })));
    records.probe().await;
    assert_eq!(records.trouble(), Some("replaced"));
}
