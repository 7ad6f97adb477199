//! Looks at the heartbeats on the scoreboard, and at the queues of slots that are to be closed or that nobody serves.

use task_mcp_scoreboard::{SeatState, monotonic_ms};

use crate::run::Supervisor;
use crate::step::{Event, LOOK_MS};

impl Supervisor {
    /// Tells the heartbeat of every process that serves or drains.
    pub(crate) fn watch(&mut self) {
        for slot in self.state.queues(monotonic_ms()) {
            self.events.push(Event::Queue { slot, waiting: self.listeners.waiting(slot) });
        }
        if !self.state.watches() {
            return;
        }
        self.events.push(Event::Look);
        for (generation, process) in &mut self.processes {
            let seat = &process.seat;
            // Before the process takes its seat, the words are those of the last one.
            if seat.generation() != *generation || !matches!(seat.state(), SeatState::Live | SeatState::Draining) {
                continue;
            }
            let heartbeat_ms = seat.heartbeat_ms();
            let now_ms = monotonic_ms();
            // Two missed heartbeats: from here on it is of interest what the process does instead.
            let starved = if now_ms.saturating_sub(heartbeat_ms) > 2 * LOOK_MS {
                process.starvation.look(process.pid.as_raw_nonzero().get(), now_ms)
            } else {
                process.starvation.forget();
                false
            };
            self.events.push(Event::Pulse { generation: *generation, heartbeat_ms, starved });
        }
    }
}
