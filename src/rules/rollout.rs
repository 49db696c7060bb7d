//! For whom a rule is on: a fixed share of the values of one name, always the same ones.

use std::fmt::{self, Write as _};

use crate::domain::value::Value;
use crate::expr::program::Facts;
use crate::expr::schema::Slot;

/// A share of transactions. A value that is in stays in while the share grows; a missing value is never in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// In hundredths of a percent, 0..=10,000.
    share: u32,
    by: Slot,
    by_name: Box<str>,
}

impl Rollout {
    /// `percent` from 0 to 100, with at most two decimals.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub fn new(percent: f64, by: Slot, by_name: &str) -> Option<Self> {
        ((0.0..=100.0).contains(&percent) && has_two_decimals(percent)).then(|| Self {
            share: (percent * 100.0).round() as u32,
            by,
            by_name: by_name.into(),
        })
    }

    /// The share in percent.
    pub fn percent(&self) -> f64 {
        f64::from(self.share) / 100.0
    }

    /// The name whose values are divided.
    pub fn by(&self) -> &str {
        &self.by_name
    }

    /// Where these values stand.
    pub fn by_slot(&self) -> Slot {
        self.by
    }

    /// Whether the value by which the share is drawn is there.
    pub fn knows<F: Facts + ?Sized>(&self, facts: &F) -> bool {
        facts.value(self.by).is_present()
    }

    /// Whether the rule is on for what `facts` holds. The value's place is the BLAKE3 hash of the rule's id and of the
    /// value as text, so that two rules draw their shares independently, and every instance draws the same.
    pub fn includes<F: Facts + ?Sized>(&self, rule: &str, facts: &F) -> bool {
        let value = facts.value(self.by);
        value.is_present() && place(rule, value) < self.share
    }
}

/// Whether a number of percent has at most two decimals: a share is never rounded to what nobody wrote.
pub(crate) fn has_two_decimals(percent: f64) -> bool {
    (percent * 100.0).round() / 100.0 == percent
}

/// 0..10,000
fn place(rule: &str, value: Value<'_>) -> u32 {
    struct Hashing(blake3::Hasher);
    impl fmt::Write for Hashing {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut hashing = Hashing(blake3::Hasher::new());
    hashing.0.update(rule.as_bytes()).update(&[0]);
    // Writing to a hasher cannot fail.
    let _ = write!(hashing, "{value}");
    let hash = hashing.0.finalize();
    let mut head = [0_u8; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    u32::try_from(u64::from_le_bytes(head) % 10_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One<'a>(Value<'a>);
    impl Facts for One<'_> {
        fn value(&self, _: Slot) -> Value<'_> {
            self.0
        }
        fn in_list(&self, _: usize, _: Value<'_>) -> bool {
            false
        }
    }

    #[test]
    fn a_share_is_sticky_grows_and_is_about_right() {
        let rollout = |percent| Rollout::new(percent, Slot(0), "customer.id").unwrap();
        let mut counts = [0; 4];
        for customer in 0..10_000 {
            let name = format!("c_{customer}");
            let facts = One(Value::Text(&name));
            let inside = [0.0, 10.0, 50.0, 100.0].map(|percent| rollout(percent).includes("a-rule", &facts));
            assert!(inside.is_sorted(), "{name} left a growing share");
            for (count, inside) in counts.iter_mut().zip(inside) {
                *count += i32::from(inside);
            }
        }
        assert_eq!((counts[0], counts[3]), (0, 10_000));
        assert!((900..1_100).contains(&counts[1]) && (4_800..5_200).contains(&counts[2]), "{counts:?}");
        assert!(!rollout(100.0).includes("a-rule", &One(Value::Missing)));
        assert_eq!(Rollout::new(100.5, Slot(0), "x"), None);
        assert_eq!(Rollout::new(f64::NAN, Slot(0), "x"), None);
    }

    #[test]
    fn a_share_is_exactly_what_was_written() {
        for hundredths in 0..=10_000_u32 {
            let percent = format!("{}.{:02}", hundredths / 100, hundredths % 100).parse().unwrap();
            let rollout = Rollout::new(percent, Slot(0), "x").unwrap();
            assert_eq!((rollout.share, rollout.percent()), (hundredths, percent));
        }
        for percent in [0.001, 0.005, 12.345, 33.333, 99.999, 100.0 / 3.0] {
            assert_eq!(Rollout::new(percent, Slot(0), "x"), None, "{percent}");
        }
    }

    #[test]
    fn the_share_never_changes_between_versions() {
        let places = ["c_1", "c_2", "c_3"].map(|customer| place("card-velocity-5m", Value::Text(customer)));
        assert_eq!(places, [3_707, 4_059, 6_505]);
        assert_eq!(place("r", Value::Text("7")), place("r", Value::Int(7)));
    }
}
