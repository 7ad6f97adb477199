//! What other instances have written to a tree that they may share with this one.
//!
//! Their tags are moved in Redis, if the cache is there; the index of changes and an embedded cache are this instance's own, and would
//! learn of the write from its watcher alone, some time later. So both move on before anybody here hears of it: who reads when it is told
//! reads what was written. What was computed from the old index meanwhile is under tags that are moved once more.

use task_mcp_cache::Cache;
use task_mcp_changes::EpochSource as _;
use task_mcp_state::Heard;
use task_mcp_tools::touched;

use crate::epochs::TreeEpoch;

/// Makes what is read here from now on as new as what another instance told of.
pub(super) async fn catch_up(heard: &Heard, epoch: &TreeEpoch, cache: &Cache) {
    match heard {
        Heard::Event { topic, .. } if topic.as_ref() == touched::TOPIC => {
            epoch.bump();
            cache.bump(&touched::heard(heard)).await;
        }
        Heard::Event { .. } => {}
        // Each time Redis is there again, so results are left to the watcher: all of them would be computed anew for nothing.
        Heard::Resync => epoch.bump(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use task_mcp_scoreboard::{Commons, Plan, Scoreboard};

    use super::*;

    #[tokio::test]
    async fn the_index_moves_on_with_what_others_have_touched() {
        let commons = Commons::create().unwrap();
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: task_mcp_telemetry::plan(&[], &[]) }).unwrap();
        let metrics = task_mcp_telemetry::Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
        let (epoch, cache) = (TreeEpoch::new(commons.epochs()), Cache::none(&commons, metrics.cache));
        let of = |topic: &str| Heard::Event { topic: topic.into(), payload: "changes".into() };
        for (heard, moves) in [(of(touched::TOPIC), 1), (of("task/t1"), 0), (Heard::Resync, 1)] {
            let before = epoch.current();
            catch_up(&heard, &epoch, &cache).await;
            assert_eq!(epoch.current() - before, moves, "{heard:?}");
        }
    }
}
