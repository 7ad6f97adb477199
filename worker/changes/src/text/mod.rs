//! Text rules the OpenSpec CLI inherits from JavaScript, and the markdown facts every reader here shares.

mod fence;
mod js;
mod names;

pub(crate) use fence::{Lines, blank_comments};
pub(crate) use js::{is_blank, iso_ms, normalise, pattern, trim, trim_end, utf16_len};
pub(crate) use names::{fold, key, norm, requirement_name};
