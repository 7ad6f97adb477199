//! What one process sees.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rand::{RngExt, SeedableRng};
use task_mcp_scoreboard::Sample;
use task_mcp_telemetry::{CacheFault, names};

use super::*;
use crate::embedded::data_file::DataFile;
use crate::testing::{counted, eventually, faults};

/// Text that does not get smaller.
fn noise(random: &mut rand::rngs::StdRng, bytes: usize) -> String {
    (0..bytes).map(|_| char::from(random.random_range(b' '..b'~'))).collect()
}

/// Waits until entries are kept again, in the file of another generation.
async fn goes_on_with_the_next_file(fixture: &Fixture) {
    eventually("the next file is in use", async || {
        let _ = fixture.found("k").await;
        fixture.tier.store(&key("k"), fixture.entry("w"), None).await.ok()
    })
    .await;
    assert_eq!(fixture.found("k").await.unwrap().value, value("w"));
}

fn gauge(scoreboard: &Scoreboard, name: &str) -> i64 {
    match scoreboard.total(scoreboard.find(name, &[]).unwrap()) {
        Some(Sample::Gauge(value)) => value,
        other => panic!("{name} is no gauge: {other:?}"),
    }
}

/// How often an operation was timed.
fn operations(scoreboard: &Scoreboard, operation: &str) -> u64 {
    let series = scoreboard.find(names::CACHE_OPERATION, &[("operation", operation)]).unwrap();
    match scoreboard.total(series) {
        Some(Sample::Histogram { counts, .. }) => counts.iter().sum(),
        other => panic!("{operation} has no histogram: {other:?}"),
    }
}

#[tokio::test]
async fn room_is_made_for_new_entries_whatever_their_size() {
    let fixture = start(|settings| settings.cache.compress_bytes = 0);
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for round in 0..1_500 {
        let bytes = if round % 10 == 0 { 300_000 } else { random.random_range(10..20_000) };
        let text = noise(&mut random, bytes);
        let stored = fixture.tier.store(&key(&round.to_string()), fixture.entry(&text), None).await;
        assert_eq!(stored, Ok(()), "round {round}, {bytes} bytes");
        assert_eq!(fixture.found(&round.to_string()).await.unwrap().value, value(&text));
    }
    let stats = fixture.tier.stats().await;
    assert!(stats.used_bytes.unwrap() < 4 << 20, "{stats:?}");
    assert!(stats.entries.unwrap() > 20, "{stats:?}");
    assert_eq!(fixture.found("0").await, None, "the oldest went");
    assert!(counted(&fixture.scoreboard, names::CACHE_EVICTED, &[]) > 1_000);
    for file in fs::read_dir(fixture.dir.path().join("cache")).unwrap() {
        let file = file.unwrap();
        let found = file.metadata().unwrap();
        assert!(found.len() <= 4 << 20, "{file:?} has {} bytes", found.len());
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn the_housekeeper_removes_what_is_over_and_counts() {
    let fixture = start(|_| {});
    for number in 0..1_000 {
        let created_ms = if number < 900 { unix_ms() - 200_000 } else { unix_ms() };
        let entry = Entry { created_ms, ..fixture.entry("v") };
        fixture.tier.store(&key(&number.to_string()), entry, None).await.unwrap();
    }
    let old = fixture.dir.path().join("cache/0000000000000001-0-400000.mdb");
    fs::write(&old, "").unwrap();
    let tidy = tokio::time::timeout(Duration::from_secs(10), fixture.tier.keep_house(Duration::from_millis(5)));
    let seen = async {
        eventually("only what is not over is left", async || {
            (gauge(&fixture.scoreboard, names::CACHE_ENTRIES) == 100).then_some(())
        })
        .await;
    };
    tokio::select! { _ = tidy => panic!("it never ends"), () = seen => {} }
    assert!(gauge(&fixture.scoreboard, names::CACHE_BYTES) > 0);
    assert!(!old.exists(), "files of other incarnations are removed");
    assert!(fixture.found("950").await.is_some());
}

#[tokio::test]
async fn a_file_that_is_none_of_lmdb_is_left_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let commons = Commons::create().unwrap();
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    let path = cache.join(format!("{:016x}-0-400000.mdb", commons.incarnation()));
    fs::write(&path, "no database\n".repeat(10_000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let fixture = start_in(dir, commons, |_| {});
    assert_eq!(fixture.commons.cache_generation(), 1);
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    assert!(fixture.found("k").await.is_some());
    assert_eq!(fixture.tier.health().reason, None);
}

#[tokio::test]
async fn entries_that_are_not_what_was_stored_are_misses_and_after_some_the_file_is_left() {
    let fixture = start(|_| {});
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    {
        let file = fixture.tier.shared.file().unwrap();
        let file = file.as_ref().unwrap();
        let mut bytes = file.read(&key("k"), |bytes| bytes.unwrap().to_vec()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        file.store(&key("k"), &bytes, u64::MAX, 0).unwrap();
        bytes[4] = 9;
        file.store(&key("of another version"), &bytes, u64::MAX, 0).unwrap();
    }
    assert_eq!(fixture.found("of another version").await, None);
    assert_eq!((faults(&fixture.scoreboard, "foreign"), faults(&fixture.scoreboard, "corrupt")), (1, 0));
    for _ in 0..8 {
        assert_eq!(fixture.found("k").await, None);
    }
    assert_eq!(faults(&fixture.scoreboard, "corrupt"), 8);
    assert_eq!(fixture.commons.cache_generation(), 1);
    goes_on_with_the_next_file(&fixture).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_trusted_is_told_and_does_without() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), dir.path().join("cache")).unwrap();
    let fixture = start_in(dir, Commons::create().unwrap(), |_| {});
    let health = fixture.tier.health();
    assert_eq!((health.configured, health.in_force), ("embedded", "none"));
    assert!(health.reason.as_ref().unwrap().ends_with("cache is no directory"), "{health:?}");
    assert!(matches!(fixture.tier.look(&key("k"), &tags()).await, Looked::Untrusted));
    assert_eq!(fixture.tier.store(&key("k"), fixture.entry("v"), None).await, Err(CacheFault::Unavailable));
    assert_eq!(gauge(&fixture.scoreboard, names::CACHE_DEGRADED), 1);
    fs::remove_file(fixture.dir.path().join("cache")).unwrap();
    let house = fixture.tier.keep_house(Duration::from_millis(5));
    let usable = eventually("it is tried again", async || fixture.tier.health().reason.is_none().then_some(()));
    tokio::select! { () = house => {}, () = usable => {} }
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    assert_eq!(gauge(&fixture.scoreboard, names::CACHE_DEGRADED), 0);
}

#[tokio::test]
async fn operators_see_and_remove_entries_by_name_or_key() {
    let fixture = start(|_| {});
    for number in 0..3_000 {
        let name = format!("{}{number}", if number % 2 == 0 { "even" } else { "odd" });
        fixture.tier.store(&key(&name), fixture.entry(&name), None).await.unwrap();
    }
    let error = Entry { value: crate::Value::Error(bytes::Bytes::from_static(b"{}")), ..fixture.entry("x") };
    fixture.tier.store(&key("x"), error, None).await.unwrap();
    assert_eq!(fixture.tier.stats().await.entries, Some(3_001));
    let seen = fixture.tier.inspect("t even*", 10).await.unwrap();
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|one| one.name.starts_with("t even") && one.state == "fresh" && !one.error), "{seen:?}");
    let by_key = fixture.tier.inspect(&key("x").to_string(), 10).await.unwrap();
    assert_eq!((by_key.len(), by_key[0].error, by_key[0].name.as_str()), (1, true, "t x"));
    assert_eq!(fixture.tier.invalidate_pattern("t odd*").await.unwrap(), 1_500);
    assert_eq!((fixture.found("odd1").await, fixture.found("even2").await.is_some()), (None, true));
    fixture.tier.bump(&tags()).await;
    assert_eq!(fixture.tier.inspect("t even2", 10).await.unwrap()[0].state, "invalidated");
    assert_eq!(fixture.tier.invalidate_pattern("*").await.unwrap(), 1_501);
    assert_eq!(fixture.tier.stats().await.entries, Some(0));
}

#[tokio::test]
async fn a_file_whose_head_was_overwritten_is_left_for_a_new_one() {
    let fixture = start(|_| {});
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    let path = fixture.dir.path().join(format!("cache/{:016x}-0-400000.mdb", fixture.commons.incarnation()));
    let file = fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 8_192], 0).unwrap();
    for _ in 0..8 {
        assert!(matches!(fixture.tier.look(&key("k"), &tags()).await, Looked::Untrusted));
    }
    assert_eq!(fixture.commons.cache_generation(), 1);
    goes_on_with_the_next_file(&fixture).await;
}

#[tokio::test]
async fn a_file_that_fails_writes_and_not_reads_is_left_too() {
    let fixture = start(|_| {});
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    let file = fixture.tier.shared.file().unwrap();
    let file = file.as_ref().unwrap();
    for _ in 0..8 {
        assert!(fixture.found("k").await.is_some());
        let _ = fixture.tier.shared.judge_write(file, &heed::Error::Mdb(heed::MdbError::BadTxn));
    }
    assert_eq!(fixture.commons.cache_generation(), 1);
}

#[test]
fn a_file_shorter_than_it_says_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.mdb");
    let open = || DataFile::open(&path, 4 << 20, 0);
    let file = open().unwrap();
    for number in 0..50_u8 {
        file.store(&key(&number.to_string()), &[number; 9_000], u64::MAX, 0).unwrap();
    }
    drop(file);
    let bytes = fs::metadata(&path).unwrap().len();
    drop(open().unwrap());
    let truncated = fs::File::options().write(true).open(&path).unwrap();
    truncated.set_len(8_192).unwrap();
    assert!(matches!(open(), Err(heed::Error::Mdb(heed::MdbError::Corrupted))));
    truncated.set_len(bytes / 4).unwrap();
    assert!(matches!(open(), Err(heed::Error::Mdb(heed::MdbError::Corrupted))));
}

#[tokio::test]
async fn a_file_that_was_removed_is_left_by_those_who_have_it_open() {
    let fixture = start(|_| {});
    fixture.tier.store(&key("k"), fixture.entry("v"), None).await.unwrap();
    fs::remove_dir_all(fixture.dir.path().join("cache")).unwrap();
    let house = fixture.tier.keep_house(Duration::from_millis(5));
    let left = eventually("it is left", async || {
        let _ = fixture.tier.store(&key("k"), fixture.entry("w"), None).await;
        (fixture.commons.cache_generation() == 1 && fixture.found("k").await.is_some()).then_some(())
    });
    tokio::select! { () = house => {}, () = left => {} }
    assert!(fixture.dir.path().join(format!("cache/{:016x}-1-400000.mdb", fixture.commons.incarnation())).exists());
    assert_eq!(fixture.tier.health().reason, None);
}

#[tokio::test]
async fn after_too_many_broken_files_nothing_is_tried_any_more_and_that_is_told() {
    let fixture = start(|_| {});
    for generation in 0..64 {
        assert_eq!(fixture.commons.cache_generation(), generation);
        fixture.commons.leave_cache_generation(generation);
    }
    eventually("the last file is in use", async || {
        let _ = fixture.found("k").await;
        fixture.tier.store(&key("k"), fixture.entry("v"), None).await.ok()
    })
    .await;
    for _ in 0..8 {
        let file = fixture.tier.shared.file().unwrap();
        let _ = fixture.tier.shared.judge(file.as_ref().unwrap(), &heed::Error::Mdb(heed::MdbError::BadRslot));
    }
    assert_eq!(fixture.commons.cache_generation(), 64);
    let health = fixture.tier.health();
    assert_eq!(health.in_force, "none");
    assert!(health.reason.as_ref().unwrap().contains("64 files"), "{health:?}");
    assert_eq!(gauge(&fixture.scoreboard, names::CACHE_DEGRADED), 1);
    assert!(matches!(fixture.tier.look(&key("k"), &tags()).await, Looked::Untrusted));
}

#[tokio::test]
async fn what_the_tier_takes_finds_room_and_what_it_does_not_take_is_no_trouble() {
    let fixture = start(|settings| (settings.cache.max_bytes, settings.cache.compress_bytes) = (1 << 20, 0));
    let limit = fixture.tier.entry_bytes();
    assert_eq!(limit, 1 << 18);
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for round in 0..40 {
        let bytes = if round % 3 == 0 { limit as usize - 2 } else { random.random_range(10..20_000) };
        let text = noise(&mut random, bytes);
        let stored = fixture.tier.store(&key(&round.to_string()), fixture.entry(&text), None).await;
        assert_eq!(stored, Ok(()), "round {round}, {bytes} bytes");
    }
    let large = fixture.entry(&noise(&mut random, limit as usize));
    assert_eq!(fixture.tier.store(&key("large"), large, None).await, Err(CacheFault::TooLarge));
    assert_eq!(fixture.tier.health().reason, None);
}

#[tokio::test]
async fn what_the_tier_does_not_take_is_not_offered_to_it() {
    let (dir, commons) = (tempfile::tempdir().unwrap(), Commons::create().unwrap());
    let (metrics, scoreboard) = metrics();
    let mut settings = settings(dir.path());
    settings.cache.max_bytes = 1 << 20;
    let cache = crate::Cache::open(&settings, "store", &commons, metrics.cache, metrics.cache_redis).unwrap();
    for (name, bytes) in [("large", 1 << 18), ("small", 1 << 17)] {
        let key = key(name);
        let wanted = crate::Wanted { key, tool: 0, name, tags: &tags(), ttl: None, stale: false };
        let compute = move || async move { crate::Computed::Keep(value(&"x".repeat(bytes))) };
        cache.fetch(wanted, compute).await.unwrap();
    }
    eventually("the small one is stored", async || (operations(&scoreboard, "put") > 0).then_some(())).await;
    assert_eq!((operations(&scoreboard, "put"), faults(&scoreboard, "too_large")), (1, 1));
    cache.bump(&tags()).await;
    assert_eq!((operations(&scoreboard, "lease"), operations(&scoreboard, "bump")), (2, 1));
    assert_eq!(cache.health().reason, None);
}

#[tokio::test]
async fn one_store_that_fails_is_no_trouble_yet() {
    let fixture = start(|_| {});
    fixture.tier.shared.standing.failed("once");
    assert_eq!(fixture.tier.health().reason, None);
    eventually("a second later it is", async || {
        fixture.tier.shared.standing.failed("still");
        fixture.tier.health().reason.filter(|reason| reason == "still")
    })
    .await;
    assert_eq!(gauge(&fixture.scoreboard, names::CACHE_DEGRADED), 1);
    eventually("it is tried and well again", async || fixture.tier.health().reason.is_none().then_some(())).await;
    assert_eq!(gauge(&fixture.scoreboard, names::CACHE_DEGRADED), 0);
}
