//! The token of an `Authorization` header.

use actix_web::http::header::HeaderValue;

/// The token of a bearer header, without the blanks around it; `None` for another scheme (RFC 6750, section 2.1; the name of a
/// scheme is case-insensitive, RFC 9110, section 11.1).
pub(crate) fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
