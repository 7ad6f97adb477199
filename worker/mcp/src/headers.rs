//! The request headers of the protocol, and how they must agree with the body.
//!
//! Source: specification 2026-07-28, "Streamable HTTP", request metadata and server validation.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{RpcError, shown};
use crate::revision::Revision;

/// What the names of headers begin with that repeat an argument of a tool, in lower case.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The headers of the protocol as the transport found them. A header that is not visible ASCII is passed as the empty string,
/// which agrees with nothing.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders<'a> {
    /// `MCP-Protocol-Version`.
    pub protocol_version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
    /// All whose names begin with [`PARAM_PREFIX`]: the name in lower case and the value as it came.
    pub params: Vec<(&'a str, &'a [u8])>,
}

impl RequestHeaders<'_> {
    /// The revision that `MCP-Protocol-Version` names, if the header is there.
    ///
    /// # Errors
    /// -32022 for a revision this server does not speak.
    pub(crate) fn revision(&self) -> Result<Option<Revision>, RpcError> {
        let Some(version) = self.protocol_version.map(trim) else { return Ok(None) };
        Revision::parse(version).map(Some).ok_or_else(|| RpcError::unsupported_version(version))
    }

    /// Checks that `MCP-Protocol-Version` says what `_meta` says.
    ///
    /// # Errors
    /// -32020 if it is missing or different.
    pub(crate) fn check_version(&self, body: &str) -> Result<(), RpcError> {
        agree("MCP-Protocol-Version", self.protocol_version.map(trim), body)
    }

    /// Checks that `Mcp-Method` names the method of the body.
    ///
    /// # Errors
    /// -32020 if it is missing or different.
    pub(crate) fn check_method(&self, body: &str) -> Result<(), RpcError> {
        agree("Mcp-Method", self.method.map(trim), body)
    }

    /// Checks that `Mcp-Name` names what the body names; a value in the Base64 form is decoded first.
    ///
    /// # Errors
    /// -32020 if it is missing, malformed or different.
    pub(crate) fn check_name(&self, body: &str) -> Result<(), RpcError> {
        let Some(name) = self.name.map(trim) else {
            return agree("Mcp-Name", None, body);
        };
        let malformed = || RpcError::header_mismatch("Header mismatch: Mcp-Name is not valid Base64 of UTF-8 text");
        agree("Mcp-Name", Some(&decoded(name).ok_or_else(malformed)?), body)
    }
}

/// What a value says that may be in the Base64 form; `None` if it is not valid in that form, or has characters that no header may have.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let value = trim(value);
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')).then_some(Cow::Borrowed(value));
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned)
}

fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

fn agree(header: &str, value: Option<&str>, body: &str) -> Result<(), RpcError> {
    match value {
        Some(value) if value == body => Ok(()),
        Some(value) => Err(RpcError::header_mismatch(format!(
            "Header mismatch: {header} header value '{}' does not match body value '{}'",
            shown(value),
            shown(body)
        ))),
        None => Err(RpcError::header_mismatch(format!(
            "Header mismatch: the header {header} is missing; it must be '{}'",
            shown(body)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> RequestHeaders<'_> {
        RequestHeaders { name: Some(name), ..RequestHeaders::default() }
    }

    #[test]
    fn a_name_may_come_in_base64() {
        assert!(named("=?base64?SGVsbG8=?=").check_name("Hello").is_ok());
        assert!(named("  Hello  ").check_name("Hello").is_ok());
        assert!(named("SGVsbG8=").check_name("SGVsbG8=").is_ok());
        assert!(named("=?base64?SGVsbG8?=").check_name("Hello").is_err(), "padding is required");
        assert!(named("=?base64?SGVs!!!bG8=?=").check_name("Hello").is_err());
        assert!(named("hello").check_name("Hello").is_err(), "values are case-sensitive");
        assert!(RequestHeaders::default().check_name("Hello").is_err());
    }
}
