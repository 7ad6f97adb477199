//! What a client can do beyond asking: the part of its capabilities that this server acts on.

use serde_json::{Map, Value, json};

/// The identifier of the tasks extension.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// One thing a client may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Asks its user to fill in a form (`elicitation`, mode `form`).
    Elicitation,
    /// Asks its user to visit a URL (`elicitation.url`).
    ElicitationUrl,
    /// Lets its model complete a message (`sampling`).
    Sampling,
    /// Lets that model use tools (`sampling.tools`).
    SamplingTools,
    /// Lists its roots (`roots`).
    Roots,
    /// Takes a task in the place of a result (the tasks extension).
    Tasks,
}

impl Capability {
    /// The capability as a client declares it: what `data.requiredCapabilities` of -32021 holds.
    pub fn declaration(self) -> Value {
        match self {
            Self::Elicitation => json!({ "elicitation": {} }),
            Self::ElicitationUrl => json!({ "elicitation": { "url": {} } }),
            Self::Sampling => json!({ "sampling": {} }),
            Self::SamplingTools => json!({ "sampling": { "tools": {} } }),
            Self::Roots => json!({ "roots": {} }),
            Self::Tasks => json!({ "extensions": { TASKS_EXTENSION: {} } }),
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The capabilities a client has declared, as far as this server acts on them. Two bytes, so that a session's fit its id.
///
/// Source: specification 2026-07-28, `ClientCapabilities`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCapabilities(u16);

impl ClientCapabilities {
    /// None: what a client has that has told nothing.
    pub const NONE: Self = Self(0);

    /// What the object of a client declares; what it holds beyond that is ignored.
    pub fn of(declared: &Map<String, Value>) -> Self {
        let object = |name: &str| declared.get(name).and_then(Value::as_object);
        let mut all = Self::NONE;
        if let Some(elicitation) = object("elicitation") {
            // Before 2025-11-25 there was one mode, and nothing said so.
            let names_a_mode = elicitation.contains_key("form") || elicitation.contains_key("url");
            if elicitation.contains_key("form") || !names_a_mode {
                all = all.with(Capability::Elicitation);
            }
            if elicitation.contains_key("url") {
                all = all.with(Capability::ElicitationUrl);
            }
        }
        if let Some(sampling) = object("sampling") {
            all = all.with(Capability::Sampling);
            if sampling.contains_key("tools") {
                all = all.with(Capability::SamplingTools);
            }
        }
        if object("roots").is_some() {
            all = all.with(Capability::Roots);
        }
        if object("extensions").is_some_and(|extensions| extensions.contains_key(TASKS_EXTENSION)) {
            all = all.with(Capability::Tasks);
        }
        all
    }

    /// Whether the client can be asked anything.
    pub const fn can_be_asked(self) -> bool {
        self.has(Capability::Elicitation) || self.has(Capability::Sampling) || self.has(Capability::Roots)
    }

    /// The same and one more.
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// Whether it was declared.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// As a number, for storage.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Of a number that was stored; bits nobody knows are kept and mean nothing.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_is_there() {
        let of = |value: Value| ClientCapabilities::of(value.as_object().unwrap());
        let all = of(json!({
            "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": { "listChanged": true },
            "extensions": { "io.modelcontextprotocol/tasks": {} }, "experimental": { "x": {} },
        }));
        for capability in [
            Capability::Elicitation,
            Capability::ElicitationUrl,
            Capability::Sampling,
            Capability::SamplingTools,
            Capability::Roots,
            Capability::Tasks,
        ] {
            assert!(all.has(capability) && !ClientCapabilities::NONE.has(capability));
            assert!(of(capability.declaration()).has(capability), "{capability:?} is declared as it is demanded");
        }
        let plain = of(json!({ "elicitation": {}, "sampling": null, "roots": 1 }));
        assert!(plain.has(Capability::Elicitation) && !plain.has(Capability::ElicitationUrl));
        assert!(!plain.has(Capability::Sampling) && !plain.has(Capability::Roots));
        let url_only = of(json!({ "elicitation": { "url": {} } }));
        assert!(!url_only.has(Capability::Elicitation) && url_only.has(Capability::ElicitationUrl));
        assert_eq!(ClientCapabilities::from_bits(all.bits()), all);
    }
}
