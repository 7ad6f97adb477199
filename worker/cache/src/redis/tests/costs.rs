//! What a read costs. Not run with the others: `cargo nextest run --release -p task-mcp-cache costs --run-ignored only --no-capture`.

use task_mcp_test_servers::RedisServer;

use super::*;

const READS: u32 = 20_000;

async fn measure(what: &str, reads: u32, process: &Process, before: impl Fn()) {
    let tags = [Tag::new("k")];
    let (key, began) = (key("k"), Instant::now());
    for _ in 0..reads {
        before();
        assert!(matches!(process.tier.look(&key, &tags).await, Looked::Fresh(_)));
    }
    println!("{what}: {} ns a read", began.elapsed().as_nanos() / u128::from(reads));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn what_a_read_costs() {
    let server = RedisServer::start();
    for coherence in [Coherence::Strict, Coherence::Tracked] {
        let one = machine(&server.url(), coherence);
        one.settled().await;
        one.vouched().await;
        one.put("k", &"x".repeat(2_048)).await.unwrap();
        let reads = if coherence == Coherence::Tracked { READS * 100 } else { READS };
        measure(&format!("{coherence:?}, in memory"), reads, &one, || ()).await;
        measure(&format!("{coherence:?}, not in memory"), READS, &one, || one.tier.memory.remove(&key("k"))).await;
    }
    let many = machine(&server.url(), Coherence::Strict);
    many.settled().await;
    many.put("k", &"x".repeat(2_048)).await.unwrap();
    let began = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let tier = Arc::clone(&many.tier);
            tokio::spawn(async move {
                for _ in 0..1_000 {
                    assert!(matches!(tier.look(&key("k"), &[Tag::new("k")]).await, Looked::Fresh(_)));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("Strict, in memory, 64 at a time: {} ns a read", began.elapsed().as_nanos() / 64_000);
}
