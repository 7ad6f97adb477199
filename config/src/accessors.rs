//! Questions that settings answer, so that nobody has to know how "not set" is written.

use std::net::SocketAddr;

use crate::settings::{Admin, Auth, LogLevel, Secret, Server, Settings};
use crate::urls::split_url;

impl Settings {
    /// Whether every public address is loopback only.
    pub fn is_local(&self) -> bool {
        self.server.listen.iter().map(SocketAddr::ip).all(|ip| ip.to_canonical().is_loopback())
    }
}

impl Server {
    /// Host, and port if it is not the scheme's own, of `public_url`.
    pub fn public_authority(&self) -> Option<&str> {
        split_url(&self.public_url).map(|(_, authority)| authority)
    }
}

impl Admin {
    /// The token that the admin listener asks for, if any.
    pub fn required_token(&self) -> Option<&Secret> {
        Some(&self.token).filter(|token| !token.is_empty())
    }
}

impl Auth {
    /// Whether callers must authenticate.
    pub fn is_configured(&self) -> bool {
        !self.tokens.is_empty()
    }
}

impl LogLevel {
    /// All levels, the most severe one first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level as the settings write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_words_of_levels_are_those_of_the_settings() {
        for level in LogLevel::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.word());
            assert_eq!(LogLevel::from_word(level.word()), Some(level));
        }
        assert_eq!(LogLevel::from_word("loud"), None);
    }

    #[test]
    fn not_set_is_none() {
        let mut settings: Settings = toml::from_str(crate::DEFAULT_TOML).unwrap();
        assert!(settings.is_local() && !settings.auth.is_configured());
        assert!(settings.admin.required_token().is_none() && settings.server.public_authority().is_none());

        settings.server.listen.push("192.0.2.1:80".parse().unwrap());
        settings.server.public_url = "https://mcp.example.com:8443".into();
        settings.admin.token = Secret::new("t");
        assert!(!settings.is_local() && settings.admin.required_token().is_some());
        assert_eq!(settings.server.public_authority(), Some("mcp.example.com:8443"));
    }
}
