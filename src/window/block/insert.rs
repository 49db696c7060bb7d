//! What enters a block, and how: old events make room, then the block grows.

use smallvec::SmallVec;

use crate::window::block::shape::{
    AMOUNT_BITS, AMOUNT_MASK, BLOCK_EVENTS_MAX, CURRENCIES, FLAG_BITS, HEADER_BYTES, HIGH_AMOUNTS, PLACES,
    SPAN_MS_MAX, Shape, array,
};
use crate::window::block::view::View;
use crate::window::event::flag;
use crate::window::place::Place;

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
