//! Where time comes from, so that tests can hold it still.

use jiff::civil::Date;
use jiff::{Timestamp, Zoned};

/// The time as the caller sees it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// The local calendar day; archive names carry it.
    fn today(&self) -> Date;
}

/// The machine's clock and time zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn today(&self) -> Date {
        Zoned::now().date()
    }
}
