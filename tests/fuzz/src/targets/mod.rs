//! What is fed.

mod envelope;
mod headers;
mod mcp;
mod params;
mod request_state;
mod session;

use task_mcp_mcp::sealed::{Keyring, SealError};

use crate::Target;
use crate::corpus::inputs;

/// All targets.
pub const ALL: &[Target] = &[session::TARGET, request_state::TARGET, envelope::TARGET, headers::TARGET, params::TARGET];

/// The target of that name.
///
/// # Panics
/// There is none.
#[allow(clippy::expect_used, reason = "it is a test")]
pub fn target(name: &str) -> &'static Target {
    ALL.iter().find(|target| target.name == name).expect("a name in ALL")
}

/// Sealed texts that a build has to open for ever: the inputs whose names begin with this.
const GENUINE: &str = "genuine";

/// The keys that sealed the texts of the corpus. They are no secret.
///
/// # Panics
/// Never: they are sound.
#[allow(clippy::expect_used, reason = "it is a test")]
pub fn keys() -> Keyring {
    Keyring::new(&["the first key of the fuzz targets, not a secret", "another key of the fuzz targets, likewise"])
        .expect("two sound keys")
}

/// The sealed texts of the corpus.
#[allow(clippy::expect_used, reason = "it is a test")]
fn genuine(target: &str) -> Vec<Vec<u8>> {
    let all = inputs(target).expect("a corpus");
    all.into_iter().filter(|(name, _)| name.starts_with(GENUINE)).map(|(_, input)| input).collect()
}

/// An error in a word.
fn word(error: &SealError) -> &'static str {
    match error {
        SealError::TooLong { .. } => "too-long",
        SealError::Form => "form",
        SealError::Forged => "forged",
        SealError::Expired => "expired",
        SealError::Principal => "principal",
        SealError::Call { .. } => "call",
        SealError::Random => "random",
    }
}
