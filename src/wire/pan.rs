//! Finds raw card numbers (PANs) so that they are refused at the door. A number that was found is never repeated.
//!
//! A PAN is 13 to 19 digits with a valid Luhn check digit (ISO/IEC 7812-1), written together or in groups as cards print
//! them, and starting with a digit that a card scheme issues (2 to 6). Digits that are part of a longer word, such as a
//! hash, are none. Amounts, coordinates and timestamps cannot hold one and are left out, so that an unlucky amount is not refused.

use serde_json::Value;
use smallvec::SmallVec;

use crate::wire::reader::escape;
use crate::wire::rejection::FieldErrors;

const PAN_DIGITS_MIN: usize = 13;
const PAN_DIGITS_MAX: usize = 19;

/// Where a number is an amount, a coordinate or a time.
const EXEMPT: [&str; 5] = [
    "/amount/value",
    "/location/latitude",
    "/location/longitude",
    "/occurred_at",
    "/customer/account_created_at",
];

/// Records every place in `body` that holds a card number.
pub fn reject_card_numbers(body: &Value, errors: &mut FieldErrors) {
    walk(body, &mut String::new(), errors);
}

fn walk(value: &Value, pointer: &mut String, errors: &mut FieldErrors) {
    let found = match value {
        Value::String(text) => contains_pan(text),
        Value::Number(number) => number.as_f64().is_some_and(is_pan_number),
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                descend(&position.to_string(), item, pointer, errors);
            }
            false
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if contains_pan(name) {
                    errors.push(
                        pointer.clone(),
                        "has a field name that holds a card number; send a token instead",
                    );
                } else {
                    descend(&escape(name), field, pointer, errors);
                }
            }
            false
        }
        Value::Null | Value::Bool(_) => false,
    };
    if found && !EXEMPT.contains(&pointer.as_str()) {
        errors.push(
            pointer.clone(),
            "holds a card number; send a token, the BIN or the last four digits instead",
        );
    }
}

fn descend(step: &str, value: &Value, pointer: &mut String, errors: &mut FieldErrors) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(step);
    walk(value, pointer, errors);
    pointer.truncate(length);
}

/// Whether a number is a card number, however it is written: `4242424242424242`, `4242424242424242.0`, `4.242…e15`. Above 2^53
/// its last digit may be lost, so that of 17 to 19 digits only some are found.
pub(super) fn is_pan_number(number: f64) -> bool {
    number.fract() == 0.0 && (1e12..1e19).contains(&number) && contains_pan(&format!("{number:.0}"))
}

/// Whether `text` holds a card number.
pub fn contains_pan(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < PAN_DIGITS_MIN {
        return false;
    }
    let mut start = 0;
    while start < bytes.len() {
        if !bytes[start].is_ascii_digit() {
            start += 1;
            continue;
        }
        let run = DigitRun::at(bytes, start);
        if run.is_pan(bytes) {
            return true;
        }
        start = run.first_group_end;
    }
    false
}

/// Digits from one place on: a first group, and what follows it in groups parted by single blanks or hyphens.
struct DigitRun {
    start: usize,
    first_group_end: usize,
    groups: SmallVec<[usize; 8]>,
    /// One more than a card number has, at most.
    digits: SmallVec<[u8; PAN_DIGITS_MAX + 1]>,
    end: usize,
}

impl DigitRun {
    fn at(bytes: &[u8], start: usize) -> Self {
        let (groups, digits) = (SmallVec::new(), SmallVec::new());
        let mut run = Self { start, first_group_end: start, groups, digits, end: start };
        let mut position = start;
        loop {
            let group_start = position;
            while position < bytes.len() && bytes[position].is_ascii_digit() {
                if run.digits.len() <= PAN_DIGITS_MAX {
                    run.digits.push(bytes[position] - b'0');
                }
                position += 1;
            }
            run.groups.push(position - group_start);
            run.end = position;
            if run.groups.len() == 1 {
                run.first_group_end = position;
            }
            let parted = separator(&bytes[position..]);
            let goes_on = parted > 0 && bytes.get(position + parted).is_some_and(u8::is_ascii_digit);
            if !goes_on || run.digits.len() > PAN_DIGITS_MAX {
                return run;
            }
            position += parted;
        }
    }

    fn is_pan(&self, bytes: &[u8]) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        let starts_clean = self.start == 0 || !is_word(bytes[self.start - 1]);
        let whole = &self.digits;
        let first_group = &self.digits[..self.groups[0].min(self.digits.len())];
        let ends_clean = |end: usize| bytes.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let grouped_like_a_card =
            self.groups.len() > 1 && self.groups.iter().all(|group| (3..=7).contains(group));
        starts_clean
            && ((ends_clean(self.first_group_end) && is_card_number(first_group))
                || (grouped_like_a_card && ends_clean(self.end) && is_card_number(whole)))
    }
}

/// How many bytes part two groups of digits here: up to two blanks (also one that does not break), hyphens, dots or slashes.
fn separator(bytes: &[u8]) -> usize {
    let one = |bytes: &[u8]| match bytes {
        [b' ' | b'-' | b'.' | b'/', ..] => 1,
        [0xC2, 0xA0, ..] => 2,
        _ => 0,
    };
    let first = one(bytes);
    first + one(&bytes[first..])
}

fn is_card_number(digits: &[u8]) -> bool {
    (PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&digits.len())
        && matches!(digits[0], 2..=6)
        && passes_luhn(digits)
}

/// The Luhn check (ISO/IEC 7812-1, annex B).
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| match (position % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_and_lookalikes_are_not() {
        let cases = [
            ("4242424242424242", true),
            ("4242 4242 4242 4242", true),
            ("4242-4242-4242-4242", true),
            ("3782 822463 10005", true),
            ("378282246310005", true),
            ("4242.4242.4242.4242", true),
            ("4242/4242/4242/4242", true),
            ("4242  4242 4242\u{a0}4242", true),
            ("card: 5555555555554444!", true),
            ("2223003122003222", true),
            ("6304000000000000", true),
            ("4222222222222", true),
            ("4242424242424241", false),
            ("1234567890123452", false),
            ("42424242", false),
            ("4242", false),
            ("fp_4242424242424242", false),
            ("deadbeef4242424242424242", false),
            ("42424242424242424242424242", false),
            ("2026-10-20T12:00:00.123Z", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(contains_pan(text), expected, "{text}");
        }
    }

    #[test]
    fn the_place_is_named_and_the_number_is_not() {
        let body = serde_json::json!({
            "amount": {"value": 4_242_424_242_424_242_i64},
            "metadata": {"note": "4242424242424242", "n": 4_242_424_242_424_242_i64, "f": 4_242_424_242_424_242.0},
            "unknown": [["4111 1111 1111 1111"]],
        });
        let mut errors = FieldErrors::default();
        reject_card_numbers(&body, &mut errors);
        let text = errors.into_rejection().to_string();
        for pointer in ["/metadata/note", "/metadata/n", "/metadata/f", "/unknown/0/0"] {
            assert!(text.contains(pointer), "{text}");
        }
        assert!(!text.contains("/amount") && !text.contains("4242") && !text.contains("4111"), "{text}");
    }
}
