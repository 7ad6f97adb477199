//! What the one housekeeper of a machine does for the file.

use std::sync::Arc;
use std::time::Duration;

use super::Embedded;
use super::shared::Shared;

/// How long one step of a sweep may wait for the write lock.
const PATIENCE: Duration = Duration::from_secs(1);
/// Steps of one round, so that a round ends.
const MAX_STEPS: usize = 64;

impl Embedded {
    /// Every so often: removes what is over, frees the places of dead readers, counts, removes files that nobody uses any more.
    pub(crate) async fn keep_house(&self, every: Duration) {
        loop {
            self.tidy().await;
            tokio::time::sleep(every).await;
        }
    }

    async fn tidy(&self) {
        let shared = Arc::clone(&self.shared);
        // Files and the table of readers: system calls, and a lock that somebody may have been stopped with.
        let looked_after = tokio::task::spawn_blocking(move || look_after(&shared));
        let _ = tokio::time::timeout(PATIENCE, looked_after).await;
        let Some(writer) = &self.writer else { return };
        for _ in 0..MAX_STEPS {
            match writer.sweep(PATIENCE).await {
                Ok(removed) if removed > 0 => {}
                // Nothing is over; or the writer waits, which is told elsewhere, and the next round tries again.
                _ => return,
            }
        }
    }
}

fn look_after(shared: &Arc<Shared>) {
    shared.open_within(PATIENCE);
    let Some(file) = shared.file() else { return };
    let Some(file) = file.as_ref() else { return };
    match file.forget_dead_readers() {
        Ok(0) => {}
        Ok(readers) => tracing::debug!(readers, "Freed the places of readers of the embedded cache that have died."),
        Err(error) => tracing::debug!(%error, "The readers of the embedded cache cannot be checked."),
    }
    match file.usage() {
        Ok(usage) => {
            shared.metrics.entries.set(i64::try_from(usage.entries).unwrap_or(i64::MAX));
            shared.metrics.bytes.set(i64::try_from(usage.bytes).unwrap_or(i64::MAX));
        }
        Err(error) => {
            let _ = shared.judge(file, &error);
        }
    }
    shared.look_at_name(file);
    if let Err(error) = shared.directory.remove_others(file.generation) {
        tracing::debug!(%error, "Old files of the embedded cache cannot be removed.");
    }
}
