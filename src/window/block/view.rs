//! Reading one block.

use crate::window::block::columns::Columns;
use crate::window::block::insert::Incoming;
use crate::window::block::shape::{
    AMOUNT_BITS, AMOUNT_MASK, CURRENCIES, FLAG_BITS, FLAG_MASK, HEADER_BYTES, HIGH_AMOUNTS, PLACES, Shape,
    array,
};
use crate::window::event::flag;
use crate::window::place::Place;

/// Reads one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) shape: Shape,
    pub(super) base: i64,
    pub(super) len: usize,
}

impl<'a> View<'a> {
    /// Of a block whose events have `stride` attribute values.
    pub(crate) fn new(bytes: &'a [u8], stride: usize) -> Self {
        let [_, _, _, _, base @ .., columns, _, len, events_max, _, values_max]: [u8; 16] = array(bytes, 0);
        let [b0, b1, b2, b3, b4, b5] = base;
        Self {
            bytes,
            shape: Shape { events_max: events_max.into(), values_max: values_max.into(), stride, columns },
            base: i64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0]),
            len: len.into(),
        }
    }

    /// What the block's key is known by.
    pub(crate) fn check_bits(self) -> u32 {
        u32::from_le_bytes(array(self.bytes, 0))
    }

    /// The time before which nothing was seen.
    pub(crate) const fn first_at(self) -> i64 {
        self.base
    }

    pub(crate) const fn len(self) -> usize {
        self.len
    }

    /// The first columns, for those who go through many events: words, marks and values.
    pub(crate) fn columns(self) -> Columns<'a> {
        let column = |at: usize, width: usize| self.bytes.get(at..at + width * self.len).unwrap_or(&[]);
        Columns {
            base: self.base,
            words: column(self.shape.words_at(), 8).as_chunks().0,
            marks: column(self.shape.marks_at(), 2).as_chunks().0,
            values: column(self.shape.values_at(), self.shape.stride),
            stride: self.shape.stride,
            high: column(self.shape.high_at(), self.shape.high_bytes()).as_chunks().0,
            currencies: column(self.shape.currencies_at(), self.shape.currency_bytes()),
            main_currency: self.main_currency(),
        }
    }

    pub(super) fn main_currency(self) -> u8 {
        let [main] = array(self.bytes, 11);
        main
    }

    fn word(self, event: usize) -> u64 {
        u64::from_le_bytes(array(self.bytes, self.shape.words_at() + 8 * event))
    }

    pub(super) fn mark(self, event: usize) -> u16 {
        u16::from_le_bytes(array(self.bytes, self.shape.marks_at() + 2 * event))
    }

    pub(crate) fn at(self, event: usize) -> i64 {
        self.base + (self.word(event) >> AMOUNT_BITS).cast_signed()
    }

    pub(crate) fn minor(self, event: usize) -> i64 {
        let low = self.word(event) & AMOUNT_MASK;
        if self.shape.columns & HIGH_AMOUNTS == 0 {
            return low.cast_signed();
        }
        let high = u32::from_le_bytes(array(self.bytes, self.shape.high_at() + 4 * event));
        (u64::from(high) << AMOUNT_BITS | low).cast_signed()
    }

    pub(crate) fn flags(self, event: usize) -> u8 {
        (self.mark(event) & FLAG_MASK) as u8
    }

    pub(crate) fn tag(self, event: usize) -> u16 {
        self.mark(event) >> FLAG_BITS
    }

    /// The position of a currency, as the block knows it.
    pub(crate) fn currency(self, event: usize) -> u8 {
        if self.shape.columns & CURRENCIES == 0 {
            return self.main_currency();
        }
        let [currency] = array(self.bytes, self.shape.currencies_at() + event);
        currency
    }

    pub(crate) fn place(self, event: usize) -> Option<Place> {
        if self.shape.columns & PLACES == 0 {
            return None;
        }
        Place::from_bits(u64::from_le_bytes(array(self.bytes, self.shape.places_at() + 8 * event)))
    }

    /// Whether any event may have a place.
    pub(crate) const fn has_places(self) -> bool {
        self.shape.columns & PLACES != 0
    }

    /// The attribute values of an event, as positions in the dictionary from 1.
    pub(crate) fn values(self, event: usize) -> &'a [u8] {
        let from = self.shape.values_at() + self.shape.stride * event;
        self.bytes.get(from..from + self.shape.stride).unwrap_or(&[])
    }

    pub(super) fn dictionary_len(self) -> usize {
        let [len] = array(self.bytes, 14);
        usize::from(len)
    }

    /// The value at a position of the dictionary, from 1; 0 for 0.
    pub(crate) fn dictionary(self, position: u8) -> u32 {
        match usize::from(position) {
            0 => 0,
            position => u32::from_le_bytes(array(self.bytes, HEADER_BYTES + 4 * (position - 1))),
        }
    }

    /// The position of a value in the dictionary.
    #[expect(clippy::cast_possible_truncation, reason = "a dictionary has at most 255 values")]
    pub(crate) fn find_value(self, value: u32) -> Option<u8> {
        let bytes = self.bytes.get(HEADER_BYTES..HEADER_BYTES + 4 * self.dictionary_len())?;
        let (words, _) = bytes.as_chunks::<4>();
        let position = words.iter().position(|word| u32::from_le_bytes(*word) == value)?;
        Some((position + 1) as u8)
    }

    /// The time of the latest event of any kind.
    pub(crate) fn last_at(self) -> i64 {
        self.len.checked_sub(1).map_or(self.base, |last| self.at(last))
    }

    /// The time of the latest attempt.
    pub(crate) fn newest_attempt_at(self) -> Option<i64> {
        (0..self.len).rev().find(|&event| self.flags(event) & flag::ATTEMPT != 0).map(|event| self.at(event))
    }

    /// How many events are at or before `at`.
    pub(crate) fn count_until(self, at: i64) -> usize {
        self.columns().count_until(at, self.len)
    }

    /// The latest event of that time, amount, currency and tag, and with such flags. True twins cannot be told apart.
    pub(crate) fn find(
        self,
        at: i64,
        (minor, currency, tag): (i64, u8, u16),
        is_such: impl Fn(u8) -> bool,
    ) -> Option<usize> {
        let mut event = self.count_until(at);
        while event > 0 && self.at(event - 1) == at {
            event -= 1;
            if self.tag(event) == tag
                && is_such(self.flags(event))
                && self.minor(event) == minor
                && self.currency(event) == currency
            {
                return Some(event);
            }
        }
        None
    }

    /// The event as it entered, with its values in `values`.
    pub(crate) fn event<'v>(self, event: usize, values: &'v mut Vec<u32>) -> Incoming<'v> {
        values.clear();
        values.extend(self.values(event).iter().map(|&position| self.dictionary(position)));
        Incoming {
            at: self.at(event),
            minor: self.minor(event),
            currency: self.currency(event),
            flags: self.flags(event),
            tag: self.tag(event),
            place: self.place(event),
            values,
        }
    }
}
