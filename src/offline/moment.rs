//! The many ways in which files write a moment, read into one.
//!
//! A text with an offset says its moment by itself. A date and time without one is local to `zone`; a time that the zone's
//! clocks showed twice is the earlier of the two, and one that they skipped is moved on by the length of the gap (RFC 5545,
//! section 3.3.5). A number counts `unit`s since 1970-01-01T00:00:00Z. Fractions of a millisecond are cut off.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::domain::time::EventTime;
use crate::offline::cell::Cell;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochUnit {
    /// `s`
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

impl EpochUnit {
    /// Reads `s`, `ms`, `us` or `ns`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Milliseconds),
            "us" => Some(Self::Microseconds),
            "ns" => Some(Self::Nanoseconds),
            _ => None,
        }
    }
}

/// How a column of moments is to be read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MomentReading {
    /// Where local times are local.
    pub zone: Option<TimeZone>,
    /// What numbers count.
    pub unit: Option<EpochUnit>,
}

impl MomentReading {
    /// Reads one moment; the error says what is wrong with it, and what the mapping could say about it.
    pub fn read(&self, cell: &Cell) -> Result<EventTime, String> {
        match cell {
            Cell::Instant(millis) => in_range(*millis),
            Cell::Local(millis) => self.at_place(local_from_millis(*millis)?),
            Cell::Text(text) if self.unit.is_none() => self.read_text(text.trim()),
            Cell::Int(_) | Cell::Float(_) | Cell::Double(_) | Cell::Number(_) | Cell::Text(_) => {
                let unit = self.unit.ok_or_else(|| {
                    format!(
                        "{} is a number; say what it counts with `unit: s`, `ms`, `us` or `ns`",
                        cell.shown()
                    )
                })?;
                let millis = cell.decimal().and_then(|text| epoch_millis(&text, unit));
                in_range(millis.ok_or_else(|| format!("{} is no count of time since 1970", cell.shown()))?)
            }
            Cell::Missing | Cell::Bool(_) => Err(format!("{} is no moment", cell.shown())),
        }
    }

    fn read_text(&self, text: &str) -> Result<EventTime, String> {
        if let Ok(moment) = EventTime::parse_rfc3339(text) {
            return Ok(moment);
        }
        // Tools write `2018-04-01 00:00:31+00:00` as well, with a blank for the T.
        if let Ok(moment) = text.parse::<Timestamp>() {
            return in_range(moment.as_millisecond());
        }
        if let Ok(local) = text.parse::<DateTime>() {
            return self.at_place(local);
        }
        let shown = crate::offline::cell::shown(text);
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(format!(
                "{shown} is a number; say what it counts with `unit: s`, `ms`, `us` or `ns`"
            ));
        }
        Err(format!("{shown} is no date and time such as 2026-10-20T12:00:00Z or 2026-10-20 12:00:00"))
    }

    fn at_place(&self, local: DateTime) -> Result<EventTime, String> {
        let zone = self
            .zone
            .as_ref()
            .ok_or("is a local time; say where with `zone`, such as `zone: UTC` or `zone: Europe/Berlin`")?;
        let zoned = zone.to_ambiguous_zoned(local).compatible().map_err(|error| error.to_string())?;
        in_range(zoned.timestamp().as_millisecond())
    }
}

fn in_range(millis: i64) -> Result<EventTime, String> {
    EventTime::from_unix_millis(millis).map_err(|error| error.to_string())
}

fn local_from_millis(millis: i64) -> Result<DateTime, String> {
    let as_if_utc = Timestamp::from_millisecond(millis).map_err(|error| error.to_string())?;
    Ok(TimeZone::UTC.to_datetime(as_if_utc))
}

/// Whole milliseconds of a decimal count, exactly; `None` when the text is no plain decimal, is negative or too large.
fn epoch_millis(text: &str, unit: EpochUnit) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let count: i64 = whole.parse().ok()?;
    match unit {
        EpochUnit::Seconds => {
            let millis = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
            let millis = millis.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            count.checked_mul(1_000)?.checked_add(millis)
        }
        EpochUnit::Milliseconds => Some(count),
        EpochUnit::Microseconds => Some(count / 1_000),
        EpochUnit::Nanoseconds => Some(count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let text = |text: &str| Cell::from_text(text);
        let cases: &[(Cell, &str, &str, Result<&str, &str>)] = &[
            (text("2018-04-01T00:00:31Z"), "", "", Ok("2018-04-01T00:00:31.000Z")),
            (text("2018-04-01T02:00:31.5+02:00"), "UTC", "", Ok("2018-04-01T00:00:31.500Z")),
            (text("2018-04-01 00:00:31+00:00"), "", "", Ok("2018-04-01T00:00:31.000Z")),
            (text("2018-04-01 00:00:31"), "UTC", "", Ok("2018-04-01T00:00:31.000Z")),
            (text("2018-04-01 00:00:31.123456"), "Europe/Berlin", "", Ok("2018-03-31T22:00:31.123Z")),
            (text("2018-04-01"), "UTC", "", Ok("2018-04-01T00:00:00.000Z")),
            // Shown twice: the earlier. Skipped: moved on by the hour that was skipped.
            (text("2024-10-27T02:30:00"), "Europe/Berlin", "", Ok("2024-10-27T00:30:00.000Z")),
            (text("2024-03-31T02:30:00"), "Europe/Berlin", "", Ok("2024-03-31T01:30:00.000Z")),
            (text("2018-04-01 00:00:31"), "", "", Err("zone")),
            (text("1522540831"), "", "", Err("unit")),
            (text("1522540831"), "", "s", Ok("2018-04-01T00:00:31.000Z")),
            (text("1522540831.1239"), "", "s", Ok("2018-04-01T00:00:31.123Z")),
            (Cell::Int(1_522_540_831), "", "", Err("unit")),
            (Cell::Int(1_522_540_831_123), "", "ms", Ok("2018-04-01T00:00:31.123Z")),
            (Cell::Int(1_522_540_831_123_999), "", "us", Ok("2018-04-01T00:00:31.123Z")),
            (Cell::Int(1_522_540_831_123_999_999), "", "ns", Ok("2018-04-01T00:00:31.123Z")),
            (Cell::Double(1_522_540_831.5), "", "s", Ok("2018-04-01T00:00:31.500Z")),
            (Cell::Number("1522540831.25".into()), "", "s", Ok("2018-04-01T00:00:31.250Z")),
            (Cell::Int(-1), "", "s", Err("since 1970")),
            (Cell::Int(i64::MAX), "", "s", Err("since 1970")),
            (Cell::Instant(1_522_540_831_000), "Europe/Berlin", "", Ok("2018-04-01T00:00:31.000Z")),
            (Cell::Local(1_522_540_831_000), "Europe/Berlin", "", Ok("2018-03-31T22:00:31.000Z")),
            (Cell::Local(1_522_540_831_000), "", "", Err("zone")),
            (Cell::Local(i64::MAX), "UTC", "", Err("")),
            (text("yesterday"), "UTC", "", Err("date and time")),
            (Cell::Bool(true), "UTC", "", Err("no moment")),
        ];
        for (cell, zone, unit, expected) in cases {
            let zone = if zone.is_empty() { None } else { Some(TimeZone::get(zone).unwrap()) };
            let reading = MomentReading { zone, unit: EpochUnit::parse(unit) };
            match (reading.read(cell), expected) {
                (Ok(moment), Ok(expected)) => assert_eq!(moment.to_string(), *expected, "{cell:?}"),
                (Err(actual), Err(expected)) => assert!(actual.contains(expected), "{cell:?}: {actual}"),
                (actual, _) => panic!("{cell:?}: {actual:?}, expected {expected:?}"),
            }
        }
    }
}
