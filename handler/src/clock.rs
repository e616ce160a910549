//! Wall-clock time as a value that is passed in, so that tests set it.
//!
//! Durations are measured with `tokio::time`, which tests can pause; this is only for the dates
//! that end up in files.

use jiff::Timestamp;

/// The wall clock, or in tests a function in its place.
#[derive(Clone, Copy, Debug)]
pub struct Clock(fn() -> Timestamp);

impl Clock {
    /// The clock of this machine.
    pub fn system() -> Self {
        Self(Timestamp::now)
    }

    /// A clock that reads from `now`, for tests.
    pub fn from_fn(now: fn() -> Timestamp) -> Self {
        Self(now)
    }

    /// The current time in milliseconds since 1970-01-01 UTC; 0 before that.
    pub fn unix_ms(self) -> u64 {
        u64::try_from((self.0)().as_millisecond()).unwrap_or_default()
    }

    /// The current time, to the second: what files show.
    pub fn now(self) -> Timestamp {
        let now = (self.0)();
        now.round(jiff::Unit::Second).unwrap_or(now)
    }
}
