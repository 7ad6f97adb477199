//! How often the cache answers under the mix of the original document: 70 % over `/sse`, 30 % as NDJSON, all asking for the active
//! changes, while changes are opened now and then.

use std::{thread, time::Duration};

use serde_json::json;
use task_mcp_bench::{Pace, Plan, Request, run};

use crate::support::{Crowd, Shared, sized};

#[test]
fn more_than_four_of_five_calls_of_the_original_mix_are_answered_from_the_cache() {
    let shared = Shared::new();
    let server = shared.instance(4).start();
    let body = json!({"tool": "changes.active", "input": {}, "apiVersion": "1.0.0"}).to_string();
    let sse = Request::post_json("/sse", body.clone()).header("Accept", "text/event-stream");
    let ndjson = Request::post_json("/mcp", body).header("Accept", "application/x-ndjson");
    let mut plan = Plan::new(server.address(), sse.clone());
    plan.requests = [vec![sse; 7], vec![ndjson; 3]].concat();
    (plan.pace, plan.connections) = (Pace::Open { per_s: 100.0 }, 20);
    plan.max_duration = Duration::from_secs(sized(6, 60));
    let report = thread::scope(|scope| {
        let load = scope.spawn(|| run(&plan).expect("a plan within its limits"));
        let mut crowd = Crowd::new(&[&server], 2, 0);
        let mut written = 0;
        while !load.is_finished() {
            let slug = format!("change-{written}");
            crowd.call("change.open", json!({"slug": slug, "title": "One more"})).expect("a change is opened");
            written += 1;
            thread::park_timeout(Duration::from_secs(1));
        }
        load.join().expect("no run panics")
    });
    assert_eq!(report.failed(), 0, "{report}");
    let metrics = server.metrics();
    let calls =
        |outcome| metrics.sum("task_mcp_cache_calls_total", &[("tool", "changes.active"), ("outcome", outcome)]);
    let all: f64 = ["hit", "stale", "miss", "coalesced", "bypassed"].map(calls).iter().sum();
    let ratio = calls("hit") / all;
    eprintln!("{ratio:.3} of {all} calls were answered by an entry");
    assert!(all >= report.total() as f64 && ratio > 0.8, "{ratio:.3} of {all} calls");
}
