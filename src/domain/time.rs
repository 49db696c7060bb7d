//! Event time, durations, and the clock that the shell passes in.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z. Finer fractions of a second are cut off on entry, so that
/// every comparison of two moments is exact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventTime(i64);

/// Why a text is no moment.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EventTimeError {
    /// Not RFC 3339 with an offset.
    #[error(
        "must be an RFC 3339 timestamp with an offset, such as 2026-10-20T12:00:00.123Z, before 9999-12-30"
    )]
    Malformed,
    /// Before 1970 or after 9999.
    #[error("must lie between 1970-01-01 and 9999-12-30")]
    OutOfRange,
}

impl EventTime {
    /// The first moment there is: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    const MILLIS_MAX: i64 = 253_402_207_200_000;

    /// The moment that many milliseconds after the Unix epoch; from 1970 to the year 9999.
    pub fn from_unix_millis(millis: i64) -> Result<Self, EventTimeError> {
        if (0..=Self::MILLIS_MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(EventTimeError::OutOfRange)
        }
    }

    /// Parses RFC 3339 with an offset (`Z` or `+02:00`). A local time without offset is refused.
    pub fn parse_rfc3339(text: &str) -> Result<Self, EventTimeError> {
        let timestamp: Timestamp = text.parse().map_err(|_| EventTimeError::Malformed)?;
        // jiff also reads `2024-01-01T00:00Z` and space or bracket forms; RFC 3339 has seconds and a 'T'.
        let bytes = text.as_bytes();
        if bytes.len() < 20 || !matches!(bytes[10], b'T' | b't') || bytes[16] != b':' || bytes.contains(&b'[')
        {
            return Err(EventTimeError::Malformed);
        }
        Self::from_unix_millis(timestamp.as_millisecond())
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// This moment, that much later; held at the ends of the range.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MILLIS_MAX))
    }

    /// This moment, that much earlier; held at the ends of the range.
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(0))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is in fact later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// As a calendar timestamp.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_millis(self.0)).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC with milliseconds: `2026-10-20T12:00:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

/// The time of day and a steady time, from outside. Nothing below the shell reads a clock itself.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time.
    fn now(&self) -> EventTime;
    /// A steady time for measuring how long something took.
    fn instant(&self) -> Instant;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
impl Clock for SystemClock {
    fn now(&self) -> EventTime {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        EventTime(i64::try_from(since_epoch.as_millis()).unwrap_or(EventTime::MILLIS_MAX))
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

impl SystemClock {
    /// Wall-clock time since 1970, as fine as the machine tells it: what the kernel's stamps are compared with.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn since_epoch(self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

/// A clock whose wall time stands still until it is set: for tests and for replays.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn new(now: EventTime) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock to `now`.
    pub fn set(&self, now: EventTime) {
        self.0.store(now.0, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Acquire))
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_in_and_out() {
        let cases = [
            ("2026-10-20T12:00:00.123Z", Ok("2026-10-20T12:00:00.123Z")),
            ("2026-10-20T14:00:00+02:00", Ok("2026-10-20T12:00:00.000Z")),
            ("2026-10-20T12:00:00.1239Z", Ok("2026-10-20T12:00:00.123Z")),
            ("2026-10-20T12:00:00", Err(EventTimeError::Malformed)),
            ("2026-10-20 12:00:00Z", Err(EventTimeError::Malformed)),
            ("2026-10-20T12:00Z", Err(EventTimeError::Malformed)),
            ("2026-02-30T12:00:00Z", Err(EventTimeError::Malformed)),
            ("1969-12-31T23:59:59Z", Err(EventTimeError::OutOfRange)),
            ("yesterday", Err(EventTimeError::Malformed)),
        ];
        for (text, expected) in cases {
            let actual = EventTime::parse_rfc3339(text).map(|time| time.to_string());
            assert_eq!(actual, expected.map(str::to_owned), "{text}");
        }
    }
}
