//! Going through many events of one block.

use std::ops::Range;

use crate::window::amounts::Amounts;
use crate::window::block::shape::{AMOUNT_BITS, AMOUNT_MASK, BLOCK_EVENTS_MAX, FLAG_MASK};

/// More events than so many are halved before they are looked at one by one.
const MANY: usize = 24;

/// What is counted of every event, one element each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(super) base: i64,
    pub(super) words: &'a [[u8; 8]],
    pub(super) marks: &'a [[u8; 2]],
    /// The rest is empty in blocks that have no such column.
    pub(super) high: &'a [[u8; 4]],
    pub(super) currencies: &'a [u8],
    pub(super) main_currency: u8,
}

/// How often each bit of a byte was set, in a byte each: a block has at most 255 events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BitCounts(u64);

const _: () = assert!(BLOCK_EVENTS_MAX <= u8::MAX as usize);

/// By byte: each of its bits in a byte of its own.
static SPREAD: [u64; 256] = {
    let mut spread = [0; 256];
    let mut byte = 0;
    while byte < spread.len() {
        let mut bit = 0;
        while bit < 8 {
            spread[byte] |= ((byte as u64) >> bit & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    spread
};

impl BitCounts {
    /// How often a bit was set.
    #[inline]
    pub(crate) const fn of(self, bit: u32) -> u64 {
        self.0 >> (8 * bit) & 0xff
    }

    /// Counts the bits of some bytes.
    #[inline]
    pub(crate) fn add(&mut self, bytes: impl Iterator<Item = u8>) {
        self.0 += bytes.map(|byte| SPREAD[usize::from(byte)]).sum::<u64>();
    }
}

/// Which amounts are wanted, and what of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The flag that an event must have.
    pub(crate) flag: u8,
    pub(crate) currency: u8,
    /// Whether the smallest and the largest are wanted.
    pub(crate) extremes: bool,
}

impl Rows<'_> {
    /// How many of some events have each flag.
    #[inline]
    pub(crate) fn count(&self, part: Range<usize>, counts: &mut BitCounts) {
        counts.add(self.marks[part].iter().map(|mark| mark[0] & FLAG_MASK));
    }

    /// Adds the amounts of some events.
    #[inline]
    pub(crate) fn add_amounts(&self, part: Range<usize>, wanted: Wanted, amounts: &mut Amounts) {
        if !self.high.is_empty() {
            for event in part.filter(|&event| self.has(event, wanted)) {
                let high = u64::from(u32::from_le_bytes(self.high[event])) << AMOUNT_BITS;
                let low = u64::from_le_bytes(self.words[event]) & AMOUNT_MASK;
                amounts.push((high | low).cast_signed());
            }
        } else {
            let events = self.words[part.clone()].iter().zip(&self.marks[part.clone()]);
            let events = events.map(|(word, mark)| (word, mark[0] & wanted.flag != 0));
            if !self.currencies.is_empty() {
                let events = events.zip(&self.currencies[part]);
                let events = events.map(|((word, is), currency)| (word, is & (*currency == wanted.currency)));
                add_small(events, wanted.extremes, amounts);
            } else if self.main_currency == wanted.currency {
                add_small(events, wanted.extremes, amounts);
            }
        }
    }

    fn has(&self, event: usize, wanted: Wanted) -> bool {
        let currency = self.currencies.get(event).copied().unwrap_or(self.main_currency);
        self.marks[event][0] & wanted.flag != 0 && currency == wanted.currency
    }

    /// How many of the first `end` events are at or before `at`.
    #[inline]
    pub(crate) fn count_until(&self, at: i64, end: usize) -> usize {
        let Ok(since_base) = u64::try_from(at - self.base) else { return 0 };
        // Words of that time or an earlier one are below this.
        let Some(bound) = since_base.checked_add(1).and_then(|next| next.checked_mul(1 << AMOUNT_BITS))
        else {
            return end;
        };
        let mut words = &self.words[..end];
        // Most short windows hold nothing more.
        if words.last().is_none_or(|last| u64::from_le_bytes(*last) < bound) {
            return end;
        }
        // Halves from the newest on: windows are short against the history.
        while words.len() > MANY {
            let half = words.len() / 2;
            if u64::from_le_bytes(words[half]) < bound {
                let earlier = words[half..].iter().filter(|word| u64::from_le_bytes(**word) < bound).count();
                return half + earlier;
            }
            words = &words[..half];
        }
        words.iter().filter(|word| u64::from_le_bytes(**word) < bound).count()
    }
}

/// Adds amounts below 2^24 that are wanted.
#[inline]
fn add_small<'a>(events: impl Iterator<Item = (&'a [u8; 8], bool)>, extremes: bool, amounts: &mut Amounts) {
    if extremes {
        add_small_amounts::<true>(events, amounts);
    } else {
        add_small_amounts::<false>(events, amounts);
    }
}

#[inline]
fn add_small_amounts<'a, const EXTREMES: bool>(
    events: impl Iterator<Item = (&'a [u8; 8], bool)>,
    amounts: &mut Amounts,
) {
    let (mut count, mut sum, mut squares, mut min, mut max) = (0_u64, 0_u64, 0_u64, i64::MAX, i64::MIN);
    for (word, is_wanted) in events {
        let amount = if is_wanted { u64::from_le_bytes(*word) & AMOUNT_MASK } else { 0 };
        count += u64::from(is_wanted);
        sum += amount;
        // 255 squares of 24 bits each fit 64 bits.
        squares += amount * amount;
        if EXTREMES {
            min = min.min(if is_wanted { amount.cast_signed() } else { i64::MAX });
            max = max.max(if is_wanted { amount.cast_signed() } else { i64::MIN });
        }
    }
    amounts.count += count;
    amounts.sum += u128::from(sum);
    amounts.squares += u128::from(squares);
    if EXTREMES {
        amounts.min = amounts.min.min(min);
        amounts.max = amounts.max.max(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted() {
        for count in [0, 1, 200, BLOCK_EVENTS_MAX] {
            let bytes: Vec<u8> = (0..count).map(|number| (number * 151 + 7) as u8).collect();
            let mut counts = BitCounts::default();
            counts.add(bytes.iter().copied());
            for bit in 0..8 {
                let expected = bytes.iter().filter(|&&byte| byte & 1 << bit != 0).count() as u64;
                assert_eq!(counts.of(bit), expected, "bit {bit} of {count} bytes");
            }
        }
    }

    #[test]
    fn a_full_block_fills_its_counts() {
        let mut counts = BitCounts::default();
        counts.add([255; BLOCK_EVENTS_MAX].into_iter());
        assert_eq!([0, 4, 7].map(|bit| counts.of(bit)), [255; 3]);
    }
}
