//! How severe a message for a client is.

/// Severity of a message (RFC 5424, section 6.2.1), the least severe first.
///
/// Source: specification 2025-11-25, "Logging", log levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Detail for who looks for a fault.
    Debug,
    /// What happens as it should.
    Info,
    /// What is worth knowing.
    Notice,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
    /// What is wrong with something that much depends on.
    Critical,
    /// Somebody must act at once.
    Alert,
    /// Nothing can be used.
    Emergency,
}

impl LogLevel {
    /// All levels, the least severe first.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// The level of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}
