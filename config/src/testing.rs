//! What the tests of checks share.

use crate::checks::Check;

/// Every value passes the check.
#[track_caller]
pub(crate) fn passes(check: Check, values: &[&str]) {
    for value in values {
        assert_eq!(check(value), Ok(()), "{value}");
    }
}

/// No value passes the check.
#[track_caller]
pub(crate) fn fails(check: Check, values: &[&str]) {
    for value in values {
        assert!(check(value).is_err(), "{value}");
    }
}
