//! What a hit costs in each tier, in instructions: run under callgrind by `scripts/bench`, which subtracts a run of few hits from
//! a run of many, so that opening and filling cancel out.
//!
//! Arguments: the tier (`map`, `embedded`, `redis-strict`, `redis-tracked`), the URL of Redis or `-`, the number of hits. `map` is
//! the floor: a hash map in the process that copies a value out.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark says what is wrong and ends")]

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;

use bytes::Bytes;
use task_mcp_cache::{Cache, Computed, Key, Tag, Value, Wanted};
use task_mcp_config::{Sources, load};
use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
use task_mcp_telemetry::{CacheOutcome, Metrics, plan};

/// Size of the structured result; its text form has a quarter more. As a page of active changes.
const STRUCTURED_BYTES: usize = 900;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test` and `cargo bench` add words of their own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [tier, url, hits] = words.as_slice() else {
        println!("scripts/bench runs this");
        return Ok(());
    };
    let hits: u64 = hits.parse()?;
    if tier == "map" {
        hit_map(hits);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(hit_tier(tier, url, hits))
}

fn value() -> Value {
    let structured = Bytes::from(vec![b'x'; STRUCTURED_BYTES]);
    Value::Result { structured, text: Bytes::from(vec![b'x'; STRUCTURED_BYTES * 5 / 4]) }
}

fn hit_map(hits: u64) {
    let key = Key::of(&[b"k"]);
    let Value::Result { structured, text } = value() else { return };
    let map = HashMap::from([(key, (structured, text))]);
    for _ in 0..hits {
        let (structured, text) = map.get(black_box(&key)).expect("it is there");
        black_box((Bytes::copy_from_slice(structured), Bytes::copy_from_slice(text)));
    }
}

async fn hit_tier(tier: &str, url: &str, hits: u64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(folder.path().join("openspec"))?;
    let mut set = vec![format!("supervisor.runtime_dir={}", folder.path().join("run").display())];
    if let Some(coherence) = tier.strip_prefix("redis-") {
        set.extend([
            "cache.backend=redis".to_owned(),
            format!("cache.coherence={coherence}"),
            format!("redis.url={url}"),
            // An emulated processor is slow.
            "cache.budget_ms=10000".to_owned(),
        ]);
    }
    std::fs::create_dir_all(folder.path().join("run"))?;
    let sources = Sources { set, root: Some(folder.path().to_owned()), ..Sources::from_process()? };
    let settings = load(&sources)?.settings;
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&["tool"], &[]) })?;
    let metrics = Metrics::bind(&scoreboard, &scoreboard.seat(0).expect("a seat"), &["tool"], &[])?;
    let commons = Commons::create()?;
    let open = || Cache::open(&settings, "bench", &commons, metrics.cache.clone(), metrics.cache_redis.clone());
    let (cache, house) = (open()?, open()?);
    let house = tokio::spawn(async move { house.keep_house().await });
    let tags = [Tag::new("changes"), Tag::new("change:add-login")];
    let wanted = || Wanted { key: Key::of(&[b"k"]), tool: 0, name: "tool {}", tags: &tags, ttl: None, stale: true };
    let fetch = async || cache.fetch(wanted(), || async { Computed::Keep(value()) }).await.expect("a value");
    // The fill runs beside the answer, and a tier that is far needs its first connection.
    while fetch().await.outcome != CacheOutcome::Hit {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for _ in 0..hits {
        let fetched = fetch().await;
        assert_eq!(black_box(&fetched).outcome, CacheOutcome::Hit);
    }
    house.abort();
    Ok(())
}
