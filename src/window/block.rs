//! The history of one ordinary key: one run of bytes, so that a visit waits for memory once.
//!
//! ```text
//! header 16 | dictionary 4 x D | words 8 x N | marks 2 x N | values S x N | high 4 x N | places 8 x N | currencies 1 x N
//! ```
//!
//! `N` events in the order of their time; of equal times, the one recorded later stands later. A word is the time, in 40 bits of
//! milliseconds after the header's base, above the lower 24 bits of the amount. A mark is flags and tag. The `S` attribute
//! values of an event are positions in the dictionary, from 1; 0 is missing. The last three columns are there only in
//! blocks that need them: amounts of 2^24 minor units or more, places, a second currency.
//!
//! What does not fit (more than 255 events or values, 34 years) is for `busy`.

use std::ops::Range;

use smallvec::SmallVec;

use crate::window::amounts::Amounts;
use crate::window::event::flag;
use crate::window::place::Place;
use crate::window::tally::Tally;

/// Most events, and most different values, of one block.
pub(crate) const BLOCK_EVENTS_MAX: usize = 255;

const HEADER_BYTES: usize = 16;
const AMOUNT_BITS: u32 = 24;
const AMOUNT_MASK: u64 = (1 << AMOUNT_BITS) - 1;
const SPAN_MS_MAX: i64 = (1 << (u64::BITS - AMOUNT_BITS)) - 1;
const FLAG_BITS: u32 = 5;
const FLAG_MASK: u16 = (1 << FLAG_BITS) - 1;

/// Columns that a block may have.
const HIGH_AMOUNTS: u8 = 1;
const PLACES: u8 = 2;
const CURRENCIES: u8 = 4;

/// What enters a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) at: i64,
    pub(crate) minor: i64,
    /// The position of the currency; of a label it means nothing.
    pub(crate) currency: u8,
    pub(crate) flags: u8,
    pub(crate) tag: u16,
    pub(crate) place: Option<Place>,
    /// Short values, 0 where missing; those past the end are missing.
    pub(crate) values: &'a [u32],
}

/// The event does not fit a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// How many bytes the allocator spends on so many: sixteen apart up to 128, then four sizes to each doubling.
const fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        bytes.next_multiple_of(16)
    } else {
        bytes.next_multiple_of(1 << (bytes - 1).ilog2().saturating_sub(2))
    }
}

/// How much room there is in a block, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    events_max: usize,
    values_max: usize,
    /// Attribute values of an event.
    stride: usize,
    columns: u8,
}

impl Shape {
    const fn event_bytes(self) -> usize {
        10 + self.stride + self.high_bytes() + self.place_bytes() + self.currency_bytes()
    }

    const fn high_bytes(self) -> usize {
        if self.columns & HIGH_AMOUNTS == 0 { 0 } else { 4 }
    }

    const fn place_bytes(self) -> usize {
        if self.columns & PLACES == 0 { 0 } else { 8 }
    }

    const fn currency_bytes(self) -> usize {
        if self.columns & CURRENCIES == 0 { 0 } else { 1 }
    }

    /// The smallest block for so many events and values, with the rest of its size given to events.
    fn fitting(events_max: usize, values_max: usize, stride: usize, columns: u8) -> Self {
        let least = Self { events_max, values_max, stride, columns };
        let spare = (size_class(least.bytes()) - least.bytes()) / least.event_bytes();
        Self { events_max: (events_max + spare).min(BLOCK_EVENTS_MAX), ..least }
    }

    const fn bytes(self) -> usize {
        HEADER_BYTES + 4 * self.values_max + self.event_bytes() * self.events_max
    }

    const fn words_at(self) -> usize {
        HEADER_BYTES + 4 * self.values_max
    }

    const fn marks_at(self) -> usize {
        self.words_at() + 8 * self.events_max
    }

    const fn values_at(self) -> usize {
        self.marks_at() + 2 * self.events_max
    }

    const fn high_at(self) -> usize {
        self.values_at() + self.stride * self.events_max
    }

    const fn places_at(self) -> usize {
        self.high_at() + self.high_bytes() * self.events_max
    }

    const fn currencies_at(self) -> usize {
        self.places_at() + self.place_bytes() * self.events_max
    }

    /// Every column as (where it begins, bytes of one event), in this order: words, marks, values, high, places, currencies.
    const fn column_places(self) -> [(usize, usize); 6] {
        [
            (self.words_at(), 8),
            (self.marks_at(), 2),
            (self.values_at(), self.stride),
            (self.high_at(), self.high_bytes()),
            (self.places_at(), self.place_bytes()),
            (self.currencies_at(), self.currency_bytes()),
        ]
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

/// Reads one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    bytes: &'a [u8],
    shape: Shape,
    base: i64,
    len: usize,
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

    fn main_currency(self) -> u8 {
        let [main] = array(self.bytes, 11);
        main
    }

    fn word(self, event: usize) -> u64 {
        u64::from_le_bytes(array(self.bytes, self.shape.words_at() + 8 * event))
    }

    fn mark(self, event: usize) -> u16 {
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

    #[expect(clippy::cast_possible_truncation, reason = "the flags are the lowest bits")]
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

    fn dictionary_len(self) -> usize {
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
        let mut count = self.len;
        while count > 0 && self.at(count - 1) > at {
            count -= 1;
        }
        count
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

/// What most reads need of every event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    base: i64,
    words: &'a [[u8; 8]],
    marks: &'a [[u8; 2]],
    values: &'a [u8],
    stride: usize,
    /// The rest is empty in blocks that have no such column.
    high: &'a [[u8; 4]],
    currencies: &'a [u8],
    main_currency: u8,
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

/// An empty block for a key, with room for its first event.
pub(crate) fn new_block(check_bits: u32, first: &Incoming<'_>, stride: usize) -> Box<[u8]> {
    let values = first.values.iter().filter(|&&value| value != 0).count();
    let shape = Shape::fitting(1, values, stride, columns_for(first, first.currency));
    let mut bytes = vec![0; shape.bytes()].into_boxed_slice();
    bytes[..4].copy_from_slice(&check_bits.to_le_bytes());
    bytes[4..10].copy_from_slice(&first.at.to_le_bytes()[..6]);
    bytes[11] = first.currency;
    write_shape(&mut bytes, shape);
    bytes
}

const fn columns_for(incoming: &Incoming<'_>, main_currency: u8) -> u8 {
    (if incoming.minor.cast_unsigned() > AMOUNT_MASK { HIGH_AMOUNTS } else { 0 })
        | (if incoming.place.is_some() { PLACES } else { 0 })
        | (if incoming.currency == main_currency || incoming.flags & flag::LABEL != 0 {
            0
        } else {
            CURRENCIES
        })
}

#[expect(clippy::cast_possible_truncation, reason = "both bounds are below 256")]
fn write_shape(bytes: &mut [u8], shape: Shape) {
    bytes[10] = shape.columns;
    bytes[13] = shape.events_max as u8;
    bytes[15] = shape.values_max as u8;
}

/// Adds flags to an event.
pub(crate) fn add_flags(bytes: &mut [u8], stride: usize, event: usize, flags: u8) {
    let view = View::new(bytes, stride);
    let (at, mark) = (view.shape.marks_at() + 2 * event, view.mark(event) | u16::from(flags));
    bytes[at..at + 2].copy_from_slice(&mark.to_le_bytes());
}

/// Inserts after all events of the same or an earlier time. Gives how many old events went meanwhile: when there is no room, those
/// at or before `expired_until` go, except the latest attempt and the latest place among them. On `Full` nothing
/// has changed but that.
pub(crate) fn insert(
    block: &mut Box<[u8]>,
    stride: usize,
    events_max: usize,
    expired_until: i64,
    incoming: &Incoming<'_>,
) -> Result<usize, (usize, Full)> {
    let view = View::new(block, stride);
    let mut expired = 0;
    let mut positions = Positions::of(view, incoming);
    if !has_room(view, incoming, &positions) {
        if view.len() > 0 && view.at(0) <= expired_until {
            let kept = kept_after(view, expired_until);
            expired = view.len() - kept.len();
            *block = with_events(view, &kept);
            positions = Positions::of(View::new(block, stride), incoming);
        }
        grow(block, stride, events_max, incoming, &positions).map_err(|full| (expired, full))?;
    }
    let base = View::new(block, stride).base;
    if incoming.at < base && !rebase(block, stride, incoming.at) {
        return Err((expired, Full));
    }
    if incoming.at - base > SPAN_MS_MAX {
        return Err((expired, Full));
    }
    put(block, stride, incoming, &positions);
    Ok(expired)
}

/// Where the values of an event stand in a dictionary, or will stand once the new ones are added.
struct Positions {
    /// From 1; 0 for a missing value.
    of: SmallVec<[usize; 8]>,
    new: SmallVec<[u32; 8]>,
}

impl Positions {
    fn of(view: View<'_>, incoming: &Incoming<'_>) -> Self {
        let mut new: SmallVec<[u32; 8]> = SmallVec::new();
        let known = view.dictionary_len();
        let of = incoming.values.iter().map(|&value| match (value, view.find_value(value)) {
            (0, _) => 0,
            (_, Some(position)) => usize::from(position),
            (_, None) => match new.iter().position(|&other| other == value) {
                Some(position) => known + position + 1,
                None => {
                    new.push(value);
                    known + new.len()
                }
            },
        });
        let of = of.collect();
        Self { of, new }
    }
}

fn columns_with(view: View<'_>, incoming: &Incoming<'_>) -> u8 {
    view.shape.columns | columns_for(incoming, view.main_currency())
}

fn has_room(view: View<'_>, incoming: &Incoming<'_>, positions: &Positions) -> bool {
    view.len < view.shape.events_max
        && columns_with(view, incoming) == view.shape.columns
        && view.dictionary_len() + positions.new.len() <= view.shape.values_max
}

/// The events that stay when those at or before `until` go.
fn kept_after(view: View<'_>, until: i64) -> Vec<usize> {
    let old = view.count_until(until);
    let latest = |has: &dyn Fn(usize) -> bool| (0..old).rev().find(|&event| has(event));
    let attempt = latest(&|event| view.flags(event) & flag::ATTEMPT != 0);
    let place = latest(&|event| view.place(event).is_some());
    (0..view.len()).filter(|&event| event >= old || Some(event) == attempt || Some(event) == place).collect()
}

/// The same block with some of its events, and a dictionary of what these need.
fn with_events(view: View<'_>, kept: &[usize]) -> Box<[u8]> {
    let mut is_used = [false; BLOCK_EVENTS_MAX + 1];
    for &event in kept {
        for &position in view.values(event) {
            is_used[usize::from(position)] = true;
        }
    }
    let mut renumbered = [0_u8; BLOCK_EVENTS_MAX + 1];
    let mut words = Vec::new();
    for position in 1..=u8::MAX {
        if is_used[usize::from(position)] {
            words.extend_from_slice(&view.dictionary(position).to_le_bytes());
            renumbered[usize::from(position)] = u8::try_from(words.len() / 4).unwrap_or(0);
        }
    }
    let shape = Shape { events_max: kept.len(), values_max: words.len() / 4, ..view.shape };
    let mut bytes = vec![0; shape.bytes()].into_boxed_slice();
    bytes[..HEADER_BYTES].copy_from_slice(&view.bytes[..HEADER_BYTES]);
    bytes[HEADER_BYTES..HEADER_BYTES + words.len()].copy_from_slice(&words);
    write_shape(&mut bytes, shape);
    bytes[12] = bytes[13];
    bytes[14] = bytes[15];
    for ((from, width), (to, _)) in view.shape.column_places().into_iter().zip(shape.column_places()) {
        for (position, &event) in kept.iter().enumerate() {
            let (from, to) = (from + width * event, to + width * position);
            bytes[to..to + width].copy_from_slice(&view.bytes[from..from + width]);
        }
    }
    for value in &mut bytes[shape.values_at()..shape.high_at()] {
        *value = renumbered[usize::from(*value)];
    }
    bytes
}

/// Makes room for one more event.
fn grow(
    block: &mut Box<[u8]>,
    stride: usize,
    events_max: usize,
    incoming: &Incoming<'_>,
    positions: &Positions,
) -> Result<(), Full> {
    let view = View::new(block, stride);
    let values = view.dictionary_len() + positions.new.len();
    if view.len >= events_max.min(BLOCK_EVENTS_MAX) || values > BLOCK_EVENTS_MAX {
        return Err(Full);
    }
    let shape = Shape::fitting(view.len + 1, values, stride, columns_with(view, incoming));
    let mut bytes = vec![0; shape.bytes()].into_boxed_slice();
    let dictionary_end = HEADER_BYTES + 4 * view.dictionary_len();
    bytes[..dictionary_end].copy_from_slice(&view.bytes[..dictionary_end]);
    write_shape(&mut bytes, shape);
    let columns = view.shape.column_places().into_iter().zip(shape.column_places());
    for (number, ((from, old_width), (to, width))) in columns.enumerate() {
        if old_width == width {
            let length = width * view.len;
            bytes[to..to + length].copy_from_slice(&view.bytes[from..from + length]);
        } else if number == 4 {
            let none = Place::to_bits(None).to_le_bytes();
            bytes[to..to + width * view.len]
                .chunks_exact_mut(width)
                .for_each(|place| place.copy_from_slice(&none));
        } else if number == 5 {
            bytes[to..to + view.len].fill(view.main_currency());
        }
    }
    *block = bytes;
    Ok(())
}

/// Counts times from an earlier base; false when one would no longer fit.
fn rebase(block: &mut [u8], stride: usize, base: i64) -> bool {
    let view = View::new(block, stride);
    let (earlier_ms, len, words_at) = (view.base - base, view.len, view.shape.words_at());
    if view.last_at() - base > SPAN_MS_MAX {
        return false;
    }
    for event in 0..len {
        let at = words_at + 8 * event;
        let word = u64::from_le_bytes(array(block, at)) + (earlier_ms.cast_unsigned() << AMOUNT_BITS);
        block[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    block[4..10].copy_from_slice(&base.to_le_bytes()[..6]);
    true
}

/// Writes an event for which there is room.
#[expect(clippy::cast_possible_truncation, reason = "each part is cut to its width")]
fn put(block: &mut [u8], stride: usize, incoming: &Incoming<'_>, positions: &Positions) {
    let view = View::new(block, stride);
    let dictionary_len = view.dictionary_len();
    let (len, base, shape) = (view.len, view.base, view.shape);
    let position = view.count_until(incoming.at);
    for (column, width) in shape.column_places() {
        block.copy_within(column + width * position..column + width * len, column + width * (position + 1));
    }
    let amount = incoming.minor.cast_unsigned();
    let word = (incoming.at - base).cast_unsigned() << AMOUNT_BITS | amount & AMOUNT_MASK;
    let mark = incoming.tag << FLAG_BITS | u16::from(incoming.flags);
    let mut write = |at: usize, width: usize, from: &[u8]| {
        block[at + width * position..at + width * (position + 1)].copy_from_slice(from);
    };
    write(shape.words_at(), 8, &word.to_le_bytes());
    write(shape.marks_at(), 2, &mark.to_le_bytes());
    if shape.columns & HIGH_AMOUNTS != 0 {
        write(shape.high_at(), 4, &((amount >> AMOUNT_BITS) as u32).to_le_bytes());
    }
    if shape.columns & PLACES != 0 {
        write(shape.places_at(), 8, &Place::to_bits(incoming.place).to_le_bytes());
    }
    if shape.columns & CURRENCIES != 0 {
        write(shape.currencies_at(), 1, &[incoming.currency]);
    }
    let row_at = shape.values_at() + stride * position;
    let row = &mut block[row_at..row_at + stride];
    row.fill(0);
    for (value, &position) in row.iter_mut().zip(&positions.of) {
        *value = position as u8;
    }
    for (number, value) in positions.new.iter().enumerate() {
        let at = HEADER_BYTES + 4 * (dictionary_len + number);
        block[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    block[12] = (len + 1) as u8;
    block[14] = (dictionary_len + positions.new.len()) as u8;
}
