//! Exact money: integer minor units of an ISO 4217 currency. There is no float in this file.

use std::fmt;

use thiserror::Error;

use crate::domain::hash::sha256_of_parts;
use crate::domain::limits::AMOUNT_MINOR_MAX;

/// An active ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u8);

/// ISO 4217, list one: alphabetic code and number of decimal places. Sorted by code; the position is internal and is never
/// stored.
const CURRENCIES: &[(&str, u8)] = &[
    ("AED", 2),
    ("AFN", 2),
    ("ALL", 2),
    ("AMD", 2),
    ("AOA", 2),
    ("ARS", 2),
    ("AUD", 2),
    ("AWG", 2),
    ("AZN", 2),
    ("BAM", 2),
    ("BBD", 2),
    ("BDT", 2),
    ("BHD", 3),
    ("BIF", 0),
    ("BMD", 2),
    ("BND", 2),
    ("BOB", 2),
    ("BOV", 2),
    ("BRL", 2),
    ("BSD", 2),
    ("BTN", 2),
    ("BWP", 2),
    ("BYN", 2),
    ("BZD", 2),
    ("CAD", 2),
    ("CDF", 2),
    ("CHE", 2),
    ("CHF", 2),
    ("CHW", 2),
    ("CLF", 4),
    ("CLP", 0),
    ("CNY", 2),
    ("COP", 2),
    ("COU", 2),
    ("CRC", 2),
    ("CUP", 2),
    ("CVE", 2),
    ("CZK", 2),
    ("DJF", 0),
    ("DKK", 2),
    ("DOP", 2),
    ("DZD", 2),
    ("EGP", 2),
    ("ERN", 2),
    ("ETB", 2),
    ("EUR", 2),
    ("FJD", 2),
    ("FKP", 2),
    ("GBP", 2),
    ("GEL", 2),
    ("GHS", 2),
    ("GIP", 2),
    ("GMD", 2),
    ("GNF", 0),
    ("GTQ", 2),
    ("GYD", 2),
    ("HKD", 2),
    ("HNL", 2),
    ("HTG", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("IQD", 3),
    ("IRR", 2),
    ("ISK", 0),
    ("JMD", 2),
    ("JOD", 3),
    ("JPY", 0),
    ("KES", 2),
    ("KGS", 2),
    ("KHR", 2),
    ("KMF", 0),
    ("KPW", 2),
    ("KRW", 0),
    ("KWD", 3),
    ("KYD", 2),
    ("KZT", 2),
    ("LAK", 2),
    ("LBP", 2),
    ("LKR", 2),
    ("LRD", 2),
    ("LSL", 2),
    ("LYD", 3),
    ("MAD", 2),
    ("MDL", 2),
    ("MGA", 2),
    ("MKD", 2),
    ("MMK", 2),
    ("MNT", 2),
    ("MOP", 2),
    ("MRU", 2),
    ("MUR", 2),
    ("MVR", 2),
    ("MWK", 2),
    ("MXN", 2),
    ("MXV", 2),
    ("MYR", 2),
    ("MZN", 2),
    ("NAD", 2),
    ("NGN", 2),
    ("NIO", 2),
    ("NOK", 2),
    ("NPR", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PAB", 2),
    ("PEN", 2),
    ("PGK", 2),
    ("PHP", 2),
    ("PKR", 2),
    ("PLN", 2),
    ("PYG", 0),
    ("QAR", 2),
    ("RON", 2),
    ("RSD", 2),
    ("RUB", 2),
    ("RWF", 0),
    ("SAR", 2),
    ("SBD", 2),
    ("SCR", 2),
    ("SDG", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("SHP", 2),
    ("SLE", 2),
    ("SOS", 2),
    ("SRD", 2),
    ("SSP", 2),
    ("STN", 2),
    ("SVC", 2),
    ("SYP", 2),
    ("SZL", 2),
    ("THB", 2),
    ("TJS", 2),
    ("TMT", 2),
    ("TND", 3),
    ("TOP", 2),
    ("TRY", 2),
    ("TTD", 2),
    ("TWD", 2),
    ("TZS", 2),
    ("UAH", 2),
    ("UGX", 0),
    ("USD", 2),
    ("USN", 2),
    ("UYI", 0),
    ("UYU", 2),
    ("UYW", 4),
    ("UZS", 2),
    ("VED", 2),
    ("VES", 2),
    ("VND", 0),
    ("VUV", 0),
    ("WST", 2),
    ("XAD", 2),
    ("XAF", 0),
    ("XCD", 2),
    ("XCG", 2),
    ("XOF", 0),
    ("XPF", 0),
    ("YER", 2),
    ("ZAR", 2),
    ("ZMW", 2),
    ("ZWG", 2),
];

/// Why something is no amount of money.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MoneyError {
    /// Not an active currency code.
    #[error("{0:?} is not an active ISO 4217 currency code")]
    UnknownCurrency(String),
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// Above the largest amount.
    #[error("must not be above {AMOUNT_MINOR_MAX} minor units")]
    TooLarge,
    /// Not decimal digits with at most one point.
    #[error("{0:?} is not a decimal amount such as 129.99")]
    Malformed(String),
    /// More decimal places than the currency has.
    #[error("{text:?} has more decimal places than {currency} has ({places})")]
    TooPrecise {
        /// The amount as it was written.
        text: String,
        /// The currency that it was to be in.
        currency: Currency,
        /// How many decimal places the currency has.
        places: u8,
    },
}

impl Currency {
    /// Looks a code up. Codes are upper case, as ISO 4217 writes them.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        match CURRENCIES.binary_search_by(|(known, _)| (*known).cmp(code)) {
            #[expect(clippy::cast_possible_truncation, reason = "the table has fewer than 256 rows")]
            Ok(position) => Ok(Self(position as u8)),
            Err(_) => Err(MoneyError::UnknownCurrency(code.chars().take(16).collect())),
        }
    }

    /// The alphabetic code.
    pub fn code(self) -> &'static str {
        CURRENCIES[usize::from(self.0)].0
    }

    /// Its position in `CURRENCIES`. It changes when the table does: who writes it down writes `table_digest` beside it.
    pub(crate) const fn position(self) -> u8 {
        self.0
    }

    /// `sha256:` and the hash of all codes in order: two programs with the same digest mean the same by a position.
    pub(crate) fn table_digest() -> Box<str> {
        sha256_of_parts(CURRENCIES.iter().map(|(code, _)| code.as_bytes()))
    }

    /// Decimal places between the minor and the major unit: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn decimal_places(self) -> u8 {
        CURRENCIES[usize::from(self.0)].1
    }

    /// Minor units in one major unit: 100 for EUR, 1 for JPY.
    pub fn minor_per_major(self) -> i64 {
        10_i64.pow(u32::from(self.decimal_places()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount that is neither negative nor absurd, in minor units of its currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// An amount in minor units: `from_minor(12999, EUR)` is 129.99 euros.
    pub const fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor < 0 {
            return Err(MoneyError::Negative);
        }
        if minor > AMOUNT_MINOR_MAX {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self { minor, currency })
    }

    /// An amount in major units, from decimal text: `from_major("129.99", EUR)`. Zeros past the currency's decimal places
    /// are accepted, other digits there are refused: nothing is ever rounded.
    pub fn from_major(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let malformed = || MoneyError::Malformed(text.chars().take(32).collect());
        let digits = text.trim();
        if let Some(unsigned) = digits.strip_prefix('-') {
            let is_zero = unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.')) && unsigned.contains('0');
            if !is_zero {
                return Err(if Self::from_major(unsigned, currency).is_ok() {
                    MoneyError::Negative
                } else {
                    malformed()
                });
            }
        }
        let digits = digits.trim_start_matches(['+', '-']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(malformed());
        }
        let places = currency.decimal_places();
        let (kept, cut) = fraction.split_at(fraction.len().min(usize::from(places)));
        if cut.bytes().any(|byte| byte != b'0') {
            return Err(MoneyError::TooPrecise { text: text.to_owned(), currency, places });
        }
        let mut minor: i64 = 0;
        let padding = std::iter::repeat_n(b'0', usize::from(places) - kept.len());
        for byte in whole.bytes().chain(kept.bytes()).chain(padding) {
            minor = minor
                .checked_mul(10)
                .and_then(|minor| minor.checked_add(i64::from(byte - b'0')))
                .ok_or(MoneyError::TooLarge)?;
        }
        Self::from_minor(minor, currency)
    }

    /// Minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Major units, as rules and features see them: the double nearest to the exact decimal.
    pub fn major(self) -> f64 {
        minor_to_major(i128::from(self.minor), self.currency)
    }
}

/// A total of minor units in major units: the double nearest to the exact quotient as long as the total is below 2^53
/// minor units, and within one unit in the last place above.
#[expect(clippy::cast_precision_loss, reason = "the loss is the documented one")]
pub fn minor_to_major(minor: i128, currency: Currency) -> f64 {
    minor as f64 / currency.minor_per_major() as f64
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (per_major, places) =
            (self.currency.minor_per_major(), usize::from(self.currency.decimal_places()));
        let (whole, rest) = (self.minor / per_major, self.minor % per_major);
        if places == 0 {
            write!(f, "{whole} {}", self.currency)
        } else {
            write!(f, "{whole}.{rest:0places$} {}", self.currency)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_so_that_it_can_be_searched() {
        assert!(CURRENCIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(CURRENCIES.len() < 256);
    }

    #[test]
    fn major_text_is_read_exactly() {
        let cases = [
            ("129.99", "EUR", Ok(12_999)),
            ("129.9", "EUR", Ok(12_990)),
            ("129", "EUR", Ok(12_900)),
            (".5", "EUR", Ok(50)),
            ("57.160000", "EUR", Ok(5_716)),
            ("0.1", "KWD", Ok(100)),
            ("1000", "JPY", Ok(1_000)),
            ("1000.0", "JPY", Ok(1_000)),
            ("-0.00", "EUR", Ok(0)),
            ("-1", "EUR", Err(MoneyError::Negative)),
            (
                "1.001",
                "EUR",
                Err(MoneyError::TooPrecise {
                    text: "1.001".into(),
                    currency: Currency::parse("EUR").unwrap(),
                    places: 2,
                }),
            ),
            ("1,5", "EUR", Err(MoneyError::Malformed("1,5".into()))),
            ("1e3", "EUR", Err(MoneyError::Malformed("1e3".into()))),
            ("", "EUR", Err(MoneyError::Malformed(String::new()))),
            ("99999999999999999999", "EUR", Err(MoneyError::TooLarge)),
        ];
        for (text, code, expected) in cases {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(Money::from_major(text, currency).map(Money::minor), expected, "{text} {code}");
        }
    }

    #[test]
    fn display_has_the_currency_s_places() {
        let money =
            |minor, code| Money::from_minor(minor, Currency::parse(code).unwrap()).unwrap().to_string();
        assert_eq!(money(12_999, "EUR"), "129.99 EUR");
        assert_eq!(money(5, "EUR"), "0.05 EUR");
        assert_eq!(money(5, "JPY"), "5 JPY");
        assert_eq!(money(1_005, "KWD"), "1.005 KWD");
    }

    #[test]
    fn unknown_currencies_are_refused() {
        for code in ["EURO", "eur", "", "XXX", "ZZZ"] {
            assert!(Currency::parse(code).is_err(), "{code}");
        }
    }
}
