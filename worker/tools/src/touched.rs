//! What writes and edits by hand have touched, told over the bus to whoever watches resources. A hint, as all on the bus is.

use task_mcp_cache::Tag;
use task_mcp_state::{Bus, Heard};

/// The topic; the payload is the names of the tags, one in a line.
pub const TOPIC: &str = "touched";

/// Tells that what depends on these tags may have changed; they were bumped before. More than fit are told as everything.
pub fn tell(bus: &Bus, tags: &[Tag]) {
    let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    if bus.publish(TOPIC, &names.join("\n")).is_err() {
        // The one name is far below the limits.
        let _ = bus.publish(TOPIC, crate::tags::everything().as_str());
    }
}

/// The tags of an event under [`TOPIC`].
pub fn heard(heard: &Heard) -> Vec<Tag> {
    match heard {
        Heard::Event { topic, payload } if topic.as_ref() as &str == TOPIC => {
            payload.split('\n').map(Tag::new).collect()
        }
        Heard::Event { .. } => Vec::new(),
        Heard::Resync => vec![crate::tags::everything()],
    }
}
