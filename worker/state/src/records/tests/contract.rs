//! What every place promises.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use task_mcp_test_servers::RedisServer;
use tokio::runtime::Builder;

use super::*;
use crate::testing::{eventually, in_every_place};

in_every_place!(
    what_was_put_is_found_and_only_there,
    what_has_ended_is_not_there,
    only_the_first_of_many_is_inserted,
    a_replacement_needs_the_version_it_saw,
    a_replacement_may_keep_the_end,
    one_of_many_takes_it,
    lists_go_on_where_they_ended,
    what_is_too_large_is_refused,
    a_record_is_removed_only_as_it_was_seen,
);

async fn what_was_put_is_found_and_only_there(place: Place) {
    let records = place.records;
    assert_eq!(records.get(Kind::Task, "a").await.unwrap(), None);
    let version = records.put(Kind::Task, "a", "one", HOUR).await.unwrap();
    let found = records.get(Kind::Task, "a").await.unwrap().unwrap();
    assert_eq!((found.version, &found.value[..]), (version, &b"one"[..]));
    assert_eq!(records.get(Kind::Session, "a").await.unwrap(), None);
    assert_eq!(records.get(Kind::Task, "a\0").await.unwrap(), None);
    records.put(Kind::Task, "a", "two", HOUR).await.unwrap();
    assert_eq!(records.get(Kind::Task, "a").await.unwrap().unwrap().value, "two");
    records.put(Kind::Task, "", vec![0, 255], HOUR).await.unwrap();
    assert_eq!(records.get(Kind::Task, "").await.unwrap().unwrap().value[..], [0, 255]);
}

async fn what_has_ended_is_not_there(place: Place) {
    let records = place.records;
    let version = records.put(Kind::Nonce, "n", "x", Duration::from_millis(60)).await.unwrap();
    records.put(Kind::Nonce, "o", "x", HOUR).await.unwrap();
    eventually(async || records.get(Kind::Nonce, "n").await.unwrap().is_none().then_some(())).await;
    assert_eq!(records.list(Kind::Nonce, "", "", 9).await.unwrap().len(), 1);
    assert_eq!(records.replace(Kind::Nonce, "n", version, "y", None).await.unwrap(), None);
    assert_eq!(records.take(Kind::Nonce, "n").await.unwrap(), None);
    assert!(matches!(records.insert(Kind::Nonce, "n", "z", HOUR).await.unwrap(), Inserted::New(_)));
    assert_eq!(records.get(Kind::Nonce, "n").await.unwrap().unwrap().value, "z");
}

async fn only_the_first_of_many_is_inserted(place: Place) {
    let tries = (0..16).map(|number: u8| {
        let records = place.records.clone();
        tokio::spawn(async move { records.insert(Kind::Call, "k", vec![number], HOUR).await.unwrap() })
    });
    let mut won = Vec::new();
    let mut seen = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Inserted::New(version) => won.push(version),
            Inserted::Exists(record) => seen.push(record.version),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(seen, vec![won[0]; 15]);
}

async fn a_replacement_needs_the_version_it_saw(place: Place) {
    let records = place.records;
    let first = records.put(Kind::Task, "t", "1", HOUR).await.unwrap();
    let second = records.replace(Kind::Task, "t", first, "2", Some(HOUR)).await.unwrap().unwrap();
    assert_eq!(records.replace(Kind::Task, "t", first, "3", None).await.unwrap(), None);
    assert_eq!(records.get(Kind::Task, "t").await.unwrap().unwrap().value, "2");
    assert!(records.replace(Kind::Task, "t", second, "4", None).await.unwrap().is_some());
    assert_eq!(records.replace(Kind::Task, "none", second, "5", None).await.unwrap(), None);
    assert_eq!(records.get(Kind::Task, "none").await.unwrap(), None);
}

async fn a_replacement_may_keep_the_end(place: Place) {
    let records = place.records;
    let version = records.put(Kind::Task, "t", "1", Duration::from_millis(150)).await.unwrap();
    let end_ms = records.get(Kind::Task, "t").await.unwrap().unwrap().end_ms;
    records.replace(Kind::Task, "t", version, "2", None).await.unwrap().unwrap();
    let kept = records.get(Kind::Task, "t").await.unwrap().unwrap();
    assert_eq!((kept.end_ms, &kept.value[..]), (end_ms, &b"2"[..]));
    eventually(async || records.get(Kind::Task, "t").await.unwrap().is_none().then_some(())).await;
    let version = records.put(Kind::Task, "t", "1", Duration::from_millis(150)).await.unwrap();
    records.replace(Kind::Task, "t", version, "2", Some(HOUR)).await.unwrap().unwrap();
    assert!(records.get(Kind::Task, "t").await.unwrap().unwrap().end_ms > end_ms + 1_000_000);
}

async fn one_of_many_takes_it(place: Place) {
    place.records.put(Kind::Answer, "a", "x", HOUR).await.unwrap();
    let tries = (0..16).map(|_| {
        let records = place.records.clone();
        tokio::spawn(async move { records.take(Kind::Answer, "a").await.unwrap() })
    });
    let mut taken = 0;
    for one in tries.collect::<Vec<_>>() {
        taken += usize::from(one.await.unwrap().is_some_and(|record| record.value == "x"));
    }
    assert_eq!(taken, 1);
    assert_eq!(place.records.get(Kind::Answer, "a").await.unwrap(), None);
}

async fn a_record_is_removed_only_as_it_was_seen(place: Place) {
    let records = place.records;
    let version = records.put(Kind::Call, "c", "1", HOUR).await.unwrap();
    records.put(Kind::Call, "c", "2", HOUR).await.unwrap();
    assert!(!records.remove(Kind::Call, "c", version).await.unwrap());
    let version = records.get(Kind::Call, "c").await.unwrap().unwrap().version;
    assert!(records.remove(Kind::Call, "c", version).await.unwrap());
    assert!(!records.remove(Kind::Call, "c", version).await.unwrap());
    assert!(records.list(Kind::Call, "", "", 9).await.unwrap().is_empty());
}

async fn lists_go_on_where_they_ended(place: Place) {
    let records = place.records;
    for key in ["a/3", "a/1", "b/1", "a/2", "a0", "a/", "a/\u{1f980}"] {
        records.put(Kind::Event, key, key, HOUR).await.unwrap();
    }
    records.put(Kind::Stream, "a/0", "other kind", HOUR).await.unwrap();
    let list = async |prefix, after, limit| {
        let found = records.list(Kind::Event, prefix, after, limit).await.unwrap();
        found
            .into_iter()
            .map(|(key, record)| {
                assert_eq!(key, record.value);
                key
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(list("a/", "", 3).await, ["a/", "a/1", "a/2"]);
    assert_eq!(list("a/", "a/2", 3).await, ["a/3", "a/\u{1f980}"]);
    assert_eq!(list("", "", 99).await.len(), 7);
    assert!(
        list("a/", "b", 3).await.is_empty() && list("c", "", 3).await.is_empty() && list("", "", 0).await.is_empty()
    );
}

async fn what_is_too_large_is_refused(place: Place) {
    let records = place.records;
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    assert!(matches!(records.get(Kind::Task, &long).await, Err(StateError::TooLarge { what: "key", .. })));
    assert!(matches!(records.put(Kind::Task, &long, "", HOUR).await, Err(StateError::TooLarge { .. })));
    let value = vec![0; VALUE_BYTES_MAX + 1];
    assert!(matches!(records.put(Kind::Task, "k", value, HOUR).await, Err(StateError::TooLarge { what: "value", .. })));
    let longest = "k".repeat(KEY_BYTES_MAX);
    records.put(Kind::Revocation, &longest, "x", HOUR).await.unwrap();
    records.put(Kind::Revocation, &longest, "y", HOUR).await.unwrap();
    assert_eq!(records.list(Kind::Revocation, &longest, "", 9).await.unwrap().len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Insert(u8, u8),
    Replace(u8, u8, bool),
    Take(u8),
    Ended(u8),
    List(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = || 0..4_u8;
    prop_oneof![
        (key(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        (key(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        (key(), any::<u8>(), any::<bool>()).prop_map(|(key, value, fits)| Step::Replace(key, value, fits)),
        key().prop_map(Step::Take),
        key().prop_map(Step::Ended),
        key().prop_map(Step::List),
    ]
}

/// Does a step and tells everything that a caller can see of it but versions and times.
async fn seen(records: &Records, step: &Step) -> String {
    let key = |key: &u8| format!("{key}");
    let value = |record: Option<Record>| record.map(|record| record.value);
    match step {
        Step::Put(k, v) => format!("{}", records.put(Kind::Task, &key(k), vec![*v], HOUR).await.is_ok()),
        Step::Insert(k, v) => match records.insert(Kind::Task, &key(k), vec![*v], HOUR).await.unwrap() {
            Inserted::New(_) => "new".to_owned(),
            Inserted::Exists(record) => format!("{:?}", record.value),
        },
        Step::Replace(k, v, fits) => {
            let there = records.get(Kind::Task, &key(k)).await.unwrap();
            let version = there.filter(|_| *fits).map_or(Version(7), |record| record.version);
            let replaced = records.replace(Kind::Task, &key(k), version, vec![*v], None).await.unwrap();
            format!("{}", replaced.is_some())
        }
        Step::Take(k) => format!("{:?}", value(records.take(Kind::Task, &key(k)).await.unwrap())),
        Step::Ended(k) => format!("{}", records.put(Kind::Task, &key(k), "gone", Duration::ZERO).await.is_ok()),
        Step::List(k) => {
            let found = records.list(Kind::Task, "", &key(k), 2).await.unwrap();
            format!("{:?}", found.into_iter().map(|(key, record)| (key, record.value)).collect::<Vec<_>>())
        }
    }
}

#[test]
fn all_places_behave_alike() {
    // One server for all cases, which ends with them.
    let server = RedisServer::start();
    let config = ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() };
    let steps = prop::collection::vec(any_step(), 1..24);
    let tried = TestRunner::new(config).run(&steps, |steps| {
        server.tell::<()>(&["FLUSHALL"]);
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let places = [in_memory(), in_files(), in_redis_of(&server)];
            for step in &steps {
                let mut all = Vec::new();
                for place in &places {
                    all.push(seen(&place.records, step).await);
                }
                prop_assert!(all.iter().all(|one| *one == all[0]), "{:?}: {:?}", step, all);
            }
            Ok(())
        })
    });
    tried.unwrap();
}
