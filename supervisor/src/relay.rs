//! The event bus of the machine, as a star: what one process publishes, every other one is told. Events are hints, so nothing waits
//! here: who cannot take them is told to look at everything anew.

use std::sync::Arc;

use task_mcp_link::{FromProcess, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, ToProcess, encode};
use tracing::{debug, warn};

use crate::run::Supervisor;
use crate::step::Event;

impl Supervisor {
    /// Whether a message is for others than the supervisor.
    pub(crate) fn is_relayed(message: &FromProcess) -> bool {
        matches!(message, FromProcess::Publish { .. } | FromProcess::PublishLost | FromProcess::Answered { .. })
    }

    /// Hands on what a process said to others.
    pub(crate) fn relay(&mut self, from: u64, message: FromProcess) {
        match message {
            FromProcess::Publish { topic, payload } => self.publish(from, topic, payload),
            FromProcess::PublishLost => self.resync_all(Some(from)),
            FromProcess::Answered { id, answer } => self.answered(from, id, &answer),
            _ => {}
        }
    }

    /// Tells every process, but for one, that events may have been lost.
    pub(crate) fn resync_all(&mut self, except: Option<u64>) {
        let Some(resync) = frame(&ToProcess::Resync) else { return };
        for (generation, process) in self.processes.iter_mut().filter(|(_, process)| process.is_ready) {
            if Some(*generation) != except {
                process.resync(&resync);
            }
        }
    }

    /// Tells one process that events may have been lost: those published while it booted.
    pub(crate) fn resync_one(&mut self, generation: u64) {
        if let (Some(resync), Some(process)) = (frame(&ToProcess::Resync), self.processes.get_mut(&generation)) {
            process.resync(&resync);
        }
    }

    /// Writes what waits for processes, as far as they have room.
    pub(crate) fn flush_links(&mut self) {
        for (generation, process) in &mut self.processes {
            if let Err(lost) = process.flush() {
                let error = &lost as &dyn std::error::Error;
                warn!(process = %process.post, generation, error, "A link broke.");
                self.events.push(Event::LinkLost { generation: *generation });
            }
        }
    }

    fn publish(&mut self, from: u64, topic: String, payload: String) {
        if topic.len() > TOPIC_BYTES_MAX || payload.len() > PAYLOAD_BYTES_MAX {
            warn!(
                generation = from,
                bytes = payload.len(),
                "A process published an event over the limit; it is left aside."
            );
            return;
        }
        let event = frame(&ToProcess::Event { topic, payload });
        let (Some(event), Some(resync)) = (event, frame(&ToProcess::Resync)) else {
            return self.resync_all(Some(from));
        };
        // One that boots reads nothing yet, and looks at everything anew when it is ready.
        for (generation, process) in self.processes.iter_mut().filter(|(_, process)| process.is_ready) {
            if *generation != from && !process.hint(&event, &resync) {
                debug!(
                    process = %process.post, generation,
                    "A process reads events too slowly; it is told to look at everything anew."
                );
            }
        }
    }
}

fn frame(message: &ToProcess) -> Option<Arc<[u8]>> {
    encode(message).ok().map(Arc::from)
}
