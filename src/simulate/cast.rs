//! Conversions from doubles that never wrap: they hold at the ends of the range, and NaN is 0.

/// To a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` holds at the ends")]
pub(crate) const fn count(number: f64) -> u32 {
    number as u32
}

/// To whole milliseconds or minor units.
#[expect(clippy::cast_possible_truncation, reason = "`as` holds at the ends")]
pub(crate) const fn whole(number: f64) -> i64 {
    number as i64
}

/// To a double; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "moments, amounts and counts here stay below 2^53")]
pub(crate) const fn double(number: i64) -> f64 {
    number as f64
}
