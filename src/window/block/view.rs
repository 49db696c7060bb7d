//! Reading one block.

use smallvec::SmallVec;

use crate::window::block::insert::Incoming;
use crate::window::block::rows::Rows;
use crate::window::block::shape::{
    AMOUNT_BITS, AMOUNT_MASK, BLOCK_EVENTS_MAX, CURRENCIES, FLAG_BITS, FLAG_MASK, HEADER_BYTES, HIGH_AMOUNTS,
    PLACES, Shape, array,
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

    /// So many bytes of each event from a place on; nothing from a block that is not whole.
    #[inline]
    fn column(self, at: usize, width: usize) -> &'a [u8] {
        self.bytes.get(at..at + width * self.len).unwrap_or(&[])
    }

    /// For those who go through many events.
    #[inline]
    pub(crate) fn rows(self) -> Rows<'a> {
        let shape = self.shape;
        Rows {
            base: self.base,
            words: self.column(shape.words_at(), 8).as_chunks().0,
            marks: self.column(shape.marks_at(), 2).as_chunks().0,
            high: self.column(shape.high_at(), shape.high_bytes()).as_chunks().0,
            currencies: self.column(shape.currencies_at(), shape.currency_bytes()),
            main_currency: self.main_currency(),
        }
    }

    /// How many `live` there are.
    pub(crate) const fn live_bytes(self) -> usize {
        self.shape.live_bytes()
    }

    /// The values of one attribute, as positions in the dictionary from 1; 0 where missing.
    #[inline]
    pub(crate) fn values_of(self, attribute: usize) -> &'a [u8] {
        self.column(self.shape.values_at() + attribute * self.shape.events_max, 1)
    }

    /// Of each event and eight attributes, the `byte`th eight: whether the event is the last one with its value, as a bit for each
    /// attribute.
    #[inline]
    pub(crate) fn live(self, byte: usize) -> &'a [u8] {
        self.column(self.shape.live_at() + byte * self.shape.events_max, 1)
    }

    /// The same as it was when there were only `end` events, and without one of them.
    pub(crate) fn live_until(self, byte: usize, end: usize, without: Option<usize>) -> SmallVec<[u8; 256]> {
        let mut live = SmallVec::from_elem(0, end);
        for (bit, attribute) in (8 * byte..self.shape.stride.min(8 * byte + 8)).enumerate() {
            let mut is_seen = [false; BLOCK_EVENTS_MAX + 1];
            is_seen[0] = true;
            for (event, &value) in self.values_of(attribute)[..end].iter().enumerate().rev() {
                if Some(event) != without && !std::mem::replace(&mut is_seen[usize::from(value)], true) {
                    live[event] |= 1 << bit;
                }
            }
        }
        live
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
        (self.mark(event) & u16::from(FLAG_MASK)) as u8
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

    #[inline]
    pub(super) fn dictionary_words(self) -> &'a [[u8; 4]] {
        self.bytes.get(HEADER_BYTES..HEADER_BYTES + 4 * self.dictionary_len()).unwrap_or(&[]).as_chunks().0
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
        self.rows().count_until(at, self.len)
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
        let positions = (0..self.shape.stride).map(|attribute| self.values_of(attribute)[event]);
        values.extend(positions.map(|position| self.dictionary(position)));
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
