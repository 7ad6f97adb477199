//! What it takes to put other settings in force while an instance runs.

use crate::keys::{KEYS, Takes};
use crate::settings::Settings;

/// What differs between two settings, by what it takes. A key stands in one list; keys are dotted paths in the order of
/// `default.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The processes take these over in place.
    pub in_place: Vec<&'static str>,
    /// These take new worker processes.
    pub workers: Vec<&'static str>,
    /// These take a new admin process.
    pub admin: Vec<&'static str>,
    /// These take new worker processes and a new admin process.
    pub all: Vec<&'static str>,
    /// These cannot change while the instance runs.
    pub fixed: Vec<&'static str>,
}

impl Changes {
    /// What differs between the settings in force and others.
    pub fn between(now: &Settings, other: &Settings) -> Self {
        let (now, other) = (now.to_json(), other.to_json());
        let mut changes = Self::default();
        for key in KEYS {
            let pointer = format!("/{}", key.path.replace('.', "/"));
            if now.pointer(&pointer) == other.pointer(&pointer) {
                continue;
            }
            let list = match key.takes {
                Takes::InPlace => &mut changes.in_place,
                Takes::NewWorkers => &mut changes.workers,
                Takes::NewAdmin => &mut changes.admin,
                Takes::NewProcesses => &mut changes.all,
                Takes::NewInstance => &mut changes.fixed,
            };
            list.push(key.path);
        }
        changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether new worker processes are needed.
    pub fn new_workers(&self) -> bool {
        !self.workers.is_empty() || !self.all.is_empty()
    }

    /// Whether a new admin process is needed.
    pub fn new_admin(&self) -> bool {
        !self.admin.is_empty() || !self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::settings::Secret;

    #[test]
    fn each_key_that_differs_is_told_with_what_it_takes() {
        let now: Settings = toml::from_str(crate::DEFAULT_TOML).unwrap();
        assert!(Changes::between(&now, &now).is_empty());
        let mut other = now.clone();
        other.auth.tokens = vec![Secret::new("a-token-of-16-bytes-or-more")];
        other.limits.keep_alive_s = 1;
        other.admin.listen = "127.0.0.1:1".parse().unwrap();
        other.store.root = "/elsewhere".into();
        other.supervisor.runtime_dir = "/elsewhere".into();
        (other.limits.streams_per_principal, other.limits.subscriptions, other.limits.stream_buffer_bytes) =
            (1, 1, 70_000);
        (other.state.task_ttl_s, other.state.event_ttl_s, other.tools.ask_timeout_s) = (1, 121, 1);
        let changes = Changes::between(&now, &other);
        let expected = Changes {
            in_place: vec![
                "limits.streams_per_principal",
                "limits.subscriptions",
                "limits.stream_buffer_bytes",
                "auth.tokens",
                "state.task_ttl_s",
                "state.event_ttl_s",
                "tools.ask_timeout_s",
            ],
            workers: vec!["limits.keep_alive_s"],
            admin: vec!["admin.listen"],
            all: vec!["store.root"],
            fixed: vec!["supervisor.runtime_dir"],
        };
        assert_eq!(changes, expected);
        assert!(changes.new_workers() && changes.new_admin());
    }
}
