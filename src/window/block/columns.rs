//! Going through many events of one block.

use std::ops::Range;

use crate::window::amounts::Amounts;
use crate::window::block::shape::{AMOUNT_BITS, AMOUNT_MASK};
use crate::window::tally::Tally;

/// What most reads need of every event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(super) base: i64,
    pub(super) words: &'a [[u8; 8]],
    pub(super) marks: &'a [[u8; 2]],
    pub(super) values: &'a [u8],
    pub(super) stride: usize,
    /// The rest is empty in blocks that have no such column.
    pub(super) high: &'a [[u8; 4]],
    pub(super) currencies: &'a [u8],
    pub(super) main_currency: u8,
}

impl<'a> Columns<'a> {
    /// Counts some events.
    pub(crate) fn count(&self, part: Range<usize>, tally: &mut Tally) {
        // In the order of the bits of `flag`.
        let (mut attempts, mut approved, mut declined, mut labels, mut frauds) =
            (0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
        for mark in &self.marks[part] {
            let flags = u32::from(mark[0]);
            attempts += flags & 1;
            approved += flags >> 1 & 1;
            declined += flags >> 2 & 1;
            labels += flags >> 3 & 1;
            frauds += flags >> 4 & 1;
        }
        tally.attempts += u64::from(attempts);
        tally.approved.count += u64::from(approved);
        tally.declined.count += u64::from(declined);
        tally.labels += u64::from(labels);
        tally.frauds += u64::from(frauds);
    }

    /// Adds the amounts of some events that have a flag and are in a currency.
    pub(crate) fn add_amounts(&self, part: Range<usize>, flag: u8, currency: u8, amounts: &mut Amounts) {
        if !self.high.is_empty() {
            for event in part.filter(|&event| self.has(event, flag, currency)) {
                let high = u64::from(u32::from_le_bytes(self.high[event])) << AMOUNT_BITS;
                let low = u64::from_le_bytes(self.words[event]) & AMOUNT_MASK;
                amounts.push((high | low).cast_signed());
            }
            return;
        }
        if self.currencies.is_empty() && self.main_currency != currency {
            return;
        }
        // 255 squares of 24 bits each fit 64 bits.
        let (mut count, mut sum, mut squares, mut min, mut max) = (0, 0, 0, u64::MAX, 0);
        for event in part {
            if self.marks[event][0] & flag != 0
                && (self.currencies.is_empty() || self.currencies[event] == currency)
            {
                let amount = u64::from_le_bytes(self.words[event]) & AMOUNT_MASK;
                count += 1;
                sum += amount;
                squares += amount * amount;
                min = min.min(amount);
                max = max.max(amount);
            }
        }
        if count > 0 {
            amounts.count += count;
            amounts.sum += u128::from(sum);
            amounts.squares += u128::from(squares);
            amounts.min = amounts.min.min(min.cast_signed());
            amounts.max = amounts.max.max(max.cast_signed());
        }
    }

    fn has(&self, event: usize, flag: u8, currency: u8) -> bool {
        let of = self.currencies.get(event).copied().unwrap_or(self.main_currency);
        self.marks[event][0] & flag != 0 && of == currency
    }

    /// Shows the values of one attribute of some events, as positions in the dictionary from 1.
    #[inline]
    pub(crate) fn for_each_value(&self, part: Range<usize>, attribute: usize, mut show: impl FnMut(u8)) {
        let rows = &self.values[self.stride * part.start..self.stride * part.end];
        let mut at = attribute;
        while let Some(&position) = rows.get(at) {
            show(position);
            at += self.stride;
        }
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
        let earlier = self.words[..end].iter().rev().position(|word| u64::from_le_bytes(*word) < bound);
        earlier.map_or(0, |later| end - later)
    }
}
