//! What a hit costs against the same server without its executor, in one run: `ping` takes the same way through HTTP, access,
//! limits and JSON-RPC, and stops before the executor. Rounds alternate, so that what else the machine does falls on all alike.

use std::time::Duration;

use serde_json::json;
use task_mcp_bench::{Plan, Request, run};
use task_mcp_test_servers::RedisServer;

use crate::support::{Server, Shared, modern_call};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// The share of `ping`'s throughput that hits must have with the embedded cache.
const EMBEDDED_LEAST: f64 = 0.6;

fn ping() -> Request {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    Request::post_json("/mcp", body).header("MCP-Protocol-Version", "2025-11-25")
}

/// Requests a second in the best of some rounds, and for each the ratio to the first.
fn compare(server: &Server, what: &str, kinds: &[(&str, Request)]) -> Vec<f64> {
    let mut best = vec![0.0_f64; kinds.len()];
    for _ in 0..ROUNDS {
        for ((name, request), best) in kinds.iter().zip(&mut best) {
            let mut plan = Plan::new(server.address(), request.clone());
            (plan.connections, plan.max_duration, plan.max_requests) = (32, ROUND, u64::MAX);
            let report = run(&plan).expect("a plan within its limits");
            assert_eq!(report.failed(), 0, "{name}: {report}");
            *best = best.max(report.requests_per_s());
        }
    }
    let floor = best[0];
    for ((name, _), best) in kinds.iter().zip(&best) {
        eprintln!("{what}: {name}: {best:.0} requests/s, {:.2} of ping", best / floor);
    }
    best.iter().map(|best| best / floor).collect()
}

fn kinds() -> [(&'static str, Request); 3] {
    [
        ("ping", ping()),
        ("a hit of 1 KB", modern_call("test_cached", json!({"key": "k", "bytes": 1_000}))),
        ("not cached, 1 KB", modern_call("test_uncached", json!({"key": "k", "bytes": 1_000}))),
    ]
}

#[test]
#[ignore = "scripts/bench runs it, on a release build"]
fn a_hit_costs_little_more_than_no_call_at_all() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    let ratios = compare(&server, "embedded", &kinds());
    assert!(ratios[1] > EMBEDDED_LEAST, "{ratios:?}");
    for coherence in ["tracked", "strict"] {
        let redis = RedisServer::start();
        let server = shared.over_redis(1, &redis, coherence).start();
        compare(&server, coherence, &kinds());
    }
}
