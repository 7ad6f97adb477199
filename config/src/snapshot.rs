//! Settings for our own processes: the supervisor hands each a sealed snapshot, so that all run on the same ones.

use serde_json::Value;

use crate::problem::ConfigError;
use crate::settings::Settings;

impl Settings {
    /// The settings as JSON, secrets included. Only for a file descriptor that nobody else can open.
    ///
    /// # Errors
    /// [`ConfigError::Snapshot`] if a path is not UTF-8.
    pub fn snapshot(&self) -> Result<Vec<u8>, ConfigError> {
        serde_json::to_vec(self).map_err(ConfigError::Snapshot)
    }

    /// Reads what [`snapshot`](Self::snapshot) wrote. Nothing is checked again.
    ///
    /// # Errors
    /// [`ConfigError::Snapshot`] if the bytes come from another version or are cut short.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, ConfigError> {
        serde_json::from_slice(bytes).map_err(ConfigError::Snapshot)
    }

    /// For comparisons by key; `null` if a path is not UTF-8.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
