//! CEL's timestamps and durations: ranges, texts and calendar fields. Nothing here rounds: both are exact to the nanosecond.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// 0001-01-01T00:00:00Z, in seconds since 1970.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-30T22:00:00Z, in seconds since 1970: the calendar library ends there, 26 hours before CEL does. No transaction
/// comes near: `EventTime` ends at the same moment.
const SECONDS_MAX: i64 = 253_402_207_200;
/// CEL's longest duration: about 10,000 years.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
/// Longest text that is tried as a timestamp or duration, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// One field of a moment or of a duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// `getFullYear`
    FullYear,
    /// `getMonth`, from 0
    Month,
    /// `getDate`: day of the month, from 1
    Date,
    /// `getDayOfMonth`, from 0
    DayOfMonth,
    /// `getDayOfWeek`, Sunday is 0
    DayOfWeek,
    /// `getDayOfYear`, from 0
    DayOfYear,
    /// `getHours`
    Hours,
    /// `getMinutes`
    Minutes,
    /// `getSeconds`
    Seconds,
    /// `getMilliseconds`
    Milliseconds,
}

/// The moment, if it lies between the years 1 and 9999, whose last 26 hours are left out.
pub fn in_range(time: Timestamp) -> Option<Timestamp> {
    (SECONDS_MIN..=SECONDS_MAX).contains(&time.as_second()).then_some(time).filter(|time| {
        // Before 1970 jiff counts nanoseconds downwards: the first second has none below it.
        !(time.as_second() == SECONDS_MIN && time.subsec_nanosecond() < 0)
    })
}

/// The duration, if it is within CEL's range.
pub fn duration_in_range(duration: SignedDuration) -> Option<SignedDuration> {
    (duration.abs() <= SignedDuration::from_secs(DURATION_SECONDS_MAX)).then_some(duration)
}

/// From `earlier` to `later`. `None` beyond 2^63 nanoseconds (292 years), where CEL's implementations overflow too.
pub fn difference(later: Timestamp, earlier: Timestamp) -> Option<SignedDuration> {
    let difference = later.duration_since(earlier);
    i64::try_from(difference.as_nanos()).ok().map(|_| difference)
}

/// Reads RFC 3339 with an offset.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shaped = (20..=TEXT_BYTES_MAX).contains(&bytes.len())
        && matches!(bytes[10], b'T' | b't')
        && bytes[16] == b':'
        && !bytes.contains(&b'[');
    if shaped { text.parse().ok().and_then(in_range) } else { None }
}

/// Reads `1h30m`, `-1.5s`, `90m`, `250ms`: numbers with the units h, m, s, ms, us and ns.
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let per_unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, per_unit)?)?;
        rest = after;
    }
    let seconds = i64::try_from(nanos / 1_000_000_000).ok()?;
    let duration = SignedDuration::new(seconds, i32::try_from(nanos % 1_000_000_000).ok()?);
    duration_in_range(if negative { -duration } else { duration })
}

/// `number` (such as `1.5`) times `per_unit`, cut to whole nanoseconds.
fn scaled(number: &str, per_unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.get(..fraction.len().min(15))?;
    let tenths: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(per_unit)?.checked_add(tenths.checked_mul(per_unit)? / scale)
}

/// As CEL writes a duration: seconds with no, three, six or nine decimals, `90s`, `-1.500s`.
pub fn duration_text(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let seconds = duration.as_secs().unsigned_abs();
    format!("{sign}{seconds}{}s", fraction_text(duration.subsec_nanos().unsigned_abs()))
}

/// As CEL writes a moment: RFC 3339 in UTC with no, three, six or nine decimals.
pub fn time_text(time: Timestamp) -> String {
    let local = TimeZone::UTC.to_datetime(time);
    let fraction = fraction_text(local.subsec_nanosecond().unsigned_abs());
    format!("{}{fraction}Z", local.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// The point and the decimals, or nothing.
fn fraction_text(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

/// A time zone by its IANA name (`Europe/Berlin`), as `UTC`, or as a fixed offset (`+02:00`, `-05:30`, `02:00`).
pub fn parse_zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || matches!(name, "UTC" | "Z") {
        return (!name.is_empty()).then_some(TimeZone::UTC);
    }
    let (sign, digits) = match name.as_bytes()[0] {
        b'+' => (1, &name[1..]),
        b'-' => (-1, &name[1..]),
        b'0'..=b'9' => (1, name),
        _ => return TimeZone::get(name).ok(),
    };
    let (hours, minutes) = digits.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=23).contains(&hours) || !(0..=59).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok().map(TimeZone::fixed)
}

/// A field of a moment as a clock in `zone` shows it.
pub fn time_part(time: Timestamp, part: Part, zone: &TimeZone) -> i64 {
    let local = zone.to_datetime(time);
    match part {
        Part::FullYear => i64::from(local.year()),
        Part::Month => i64::from(local.month()) - 1,
        Part::Date => i64::from(local.day()),
        Part::DayOfMonth => i64::from(local.day()) - 1,
        Part::DayOfWeek => i64::from(local.weekday().to_sunday_zero_offset()),
        Part::DayOfYear => i64::from(local.date().day_of_year()) - 1,
        Part::Hours => i64::from(local.hour()),
        Part::Minutes => i64::from(local.minute()),
        Part::Seconds => i64::from(local.second()),
        Part::Milliseconds => i64::from(local.millisecond()),
    }
}

/// A whole duration in hours, minutes or seconds; for milliseconds what is left below the second. `None` for calendar
/// fields, which a duration does not have.
pub fn duration_part(duration: SignedDuration, part: Part) -> Option<i64> {
    match part {
        Part::Hours => Some(duration.as_hours()),
        Part::Minutes => Some(duration.as_mins()),
        Part::Seconds => Some(duration.as_secs()),
        Part::Milliseconds => Some(i64::from(duration.subsec_millis())),
        Part::FullYear | Part::Month | Part::Date | Part::DayOfMonth | Part::DayOfWeek | Part::DayOfYear => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_and_out() {
        let cases = [
            ("90s", Some("90s")),
            ("1h30m", Some("5400s")),
            ("-1.5s", Some("-1.500s")),
            ("250ms", Some("0.250s")),
            ("1ns", Some("0.000000001s")),
            ("0", Some("0s")),
            ("315576000000s", Some("315576000000s")),
            ("315576000001s", None),
            ("5", None),
            ("", None),
            ("-", None),
            ("1d", None),
            ("1.2.3s", None),
            ("999999999999999999999999999999999999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text).map(duration_text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn moments_out() {
        for text in [
            "2026-07-01T23:30:00Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.250Z",
            "2026-07-01T23:30:00.000001Z",
        ] {
            assert_eq!(parse_timestamp(text).map(time_text).as_deref(), Some(text));
        }
        for text in ["0000-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2026-07-01T23:30:00", "2026-07-01"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn zones() {
        let time = parse_timestamp("2026-07-01T23:30:00Z").unwrap();
        let cases = [
            ("UTC", Some(23)),
            ("Europe/Berlin", Some(1)),
            ("+02:00", Some(1)),
            ("-05:30", Some(18)),
            ("Mars", None),
            ("", None),
            ("+2", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_zone(name).map(|zone| time_part(time, Part::Hours, &zone)), expected, "{name}");
        }
    }
}
