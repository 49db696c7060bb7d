//! What enters a block, and how: old events make room, then the block grows.

use smallvec::SmallVec;

use crate::window::block::look_up::LookUp;
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
    /// Short values, 0 where missing; those past the end are missing. No more than the entity has attributes.
    pub(crate) values: &'a [u32],
}

/// A block that has to grow makes room for one more event for every so many that it holds.
const EVENTS_PER_SPARE: usize = 8;

/// The event does not fit a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// An empty block for a key, with room for its first event.
pub(crate) fn new_block(check_bits: u32, first: &Incoming<'_>, stride: usize) -> Box<[u8]> {
    let values = first.values.iter().filter(|&&value| value != 0).count();
    let columns = columns_for(first, first.currency);
    let shape = Shape { events_max: 1, values_max: values, stride, columns }.with_rest(1);
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
/// has changed but that. `look_up` is of the event's values in this very block.
pub(crate) fn insert(
    block: &mut Box<[u8]>,
    stride: usize,
    events_max: usize,
    expired_until: i64,
    (incoming, look_up): (&Incoming<'_>, &LookUp),
) -> Result<usize, (usize, Full)> {
    let view = View::new(block, stride);
    let mut expired = 0;
    let mut positions = Positions::of(view, incoming, look_up);
    if !has_room(view, incoming, &positions) {
        if view.len() > 0 && view.at(0) <= expired_until {
            let kept = kept_after(view, expired_until);
            expired = view.len() - kept.len();
            *block = with_events(view, &kept);
            let view = View::new(block, stride);
            positions = Positions::of(view, incoming, &view.look_up(incoming.values));
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

/// Where the values of an event stand, the new ones as they will stand once they are added.
struct Positions {
    of: LookUp,
    new: SmallVec<[u32; 8]>,
}

impl Positions {
    #[expect(clippy::cast_possible_truncation, reason = "where it does not fit, the event is not put in")]
    fn of(view: View<'_>, incoming: &Incoming<'_>, look_up: &LookUp) -> Self {
        let (mut of, mut new) = (look_up.clone(), SmallVec::<[u32; 8]>::new());
        let known = view.dictionary_len();
        for (place, &value) in of.iter_mut().zip(incoming.values) {
            if value != 0 && place.position == 0 {
                let position = new.iter().position(|&other| other == value).unwrap_or_else(|| {
                    new.push(value);
                    new.len() - 1
                });
                place.position = (known + position + 1) as u8;
            }
        }
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
    let mut renumbered = [0_u8; BLOCK_EVENTS_MAX + 1];
    for attribute in 0..view.shape.stride {
        let values = view.values_of(attribute);
        kept.iter().for_each(|&event| renumbered[usize::from(values[event])] = 1);
    }
    let mut words = Vec::new();
    for position in 1..=u8::MAX {
        let new = &mut renumbered[usize::from(position)];
        if *new != 0 {
            words.extend_from_slice(&view.dictionary(position).to_le_bytes());
            *new = u8::try_from(words.len() / 4).unwrap_or(0);
        }
    }
    renumbered[0] = 0;
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
    write_live(&mut bytes, shape.stride);
    bytes
}

/// Finds out anew which events are the last ones with their values.
fn write_live(bytes: &mut [u8], stride: usize) {
    let View { shape, len, .. } = View::new(bytes, stride);
    for byte in 0..shape.live_bytes() {
        let live = View::new(bytes, stride).live_until(byte, len, None);
        let at = shape.live_at() + byte * shape.events_max;
        bytes[at..at + len].copy_from_slice(&live);
    }
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
    let least =
        Shape { events_max: view.len + 1, values_max: values, stride, columns: columns_with(view, incoming) };
    // As many new values as this event has are to be expected of the next ones.
    let new_values = positions.new.len();
    let shape = least.with_spare(view.len / EVENTS_PER_SPARE, new_values).with_rest(new_values);
    let mut bytes = vec![0; shape.bytes()].into_boxed_slice();
    let dictionary_end = HEADER_BYTES + 4 * view.dictionary_len();
    bytes[..dictionary_end].copy_from_slice(&view.bytes[..dictionary_end]);
    write_shape(&mut bytes, shape);
    let mut copy = |from: usize, to: usize, length: usize| {
        bytes[to..to + length].copy_from_slice(&view.bytes[from..from + length]);
    };
    copy(view.shape.words_at(), shape.words_at(), 8 * view.len);
    copy(view.shape.marks_at(), shape.marks_at(), 2 * view.len);
    for column in 0..shape.live_bytes() + stride {
        let of = |shape: Shape| shape.live_at() + column * shape.events_max;
        copy(of(view.shape), of(shape), view.len);
    }
    if shape.columns != 0 {
        copy_optional_columns(view, shape, &mut bytes);
    }
    *block = bytes;
    Ok(())
}

/// Copies the columns that a block may lack, or fills them with what their lack means.
fn copy_optional_columns(view: View<'_>, shape: Shape, bytes: &mut [u8]) {
    let columns = view.shape.optional_places().into_iter().zip(shape.optional_places());
    for (number, ((from, old_width), (to, width))) in columns.enumerate() {
        let column = &mut bytes[to..to + width * view.len];
        match (number, old_width == width) {
            (_, true) => column.copy_from_slice(&view.bytes[from..from + width * view.len]),
            (1, false) => {
                let none = Place::to_bits(None).to_le_bytes();
                column.chunks_exact_mut(width).for_each(|place| place.copy_from_slice(&none));
            }
            (2, false) => column.fill(view.main_currency()),
            _ => {}
        }
    }
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
    let (len, base, shape, dictionary_len) = (view.len, view.base, view.shape, view.dictionary_len());
    let position =
        if len == 0 || view.at(len - 1) <= incoming.at { len } else { view.count_until(incoming.at) };
    if position < len {
        for (column, width) in shape.column_places() {
            let (from, to) = (column + width * position, column + width * len);
            block.copy_within(from..to, from + width);
        }
    }
    let amount = incoming.minor.cast_unsigned();
    let word = (incoming.at - base).cast_unsigned() << AMOUNT_BITS | amount & AMOUNT_MASK;
    let mark = incoming.tag << FLAG_BITS | u16::from(incoming.flags);
    write(block, shape.words_at() + 8 * position, word.to_le_bytes());
    write(block, shape.marks_at() + 2 * position, mark.to_le_bytes());
    if shape.columns & HIGH_AMOUNTS != 0 {
        write(block, shape.high_at() + 4 * position, ((amount >> AMOUNT_BITS) as u32).to_le_bytes());
    }
    if shape.columns & PLACES != 0 {
        write(block, shape.places_at() + 8 * position, Place::to_bits(incoming.place).to_le_bytes());
    }
    if shape.columns & CURRENCIES != 0 {
        write(block, shape.currencies_at() + position, [incoming.currency]);
    }
    for (number, value) in positions.new.iter().enumerate() {
        write(block, HEADER_BYTES + 4 * (dictionary_len + number), value.to_le_bytes());
    }
    block[12] = (len + 1) as u8;
    block[14] = (dictionary_len + positions.new.len()) as u8;
    if position == len {
        append_values(block, shape, len, &positions.of);
    } else {
        for attribute in 0..stride {
            let value = positions.of.get(attribute).copied().unwrap_or_default();
            write(block, shape.values_at() + attribute * shape.events_max + position, [value.position]);
        }
        write_live(block, stride);
    }
}

#[inline]
fn write<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

/// Writes the values of the newest event, whose places hold zeros, and what is live from now on.
fn append_values(block: &mut [u8], shape: Shape, len: usize, values: &LookUp) {
    for (attribute, value) in values.iter().enumerate().filter(|(_, value)| value.position != 0) {
        let (live_at, bit) = (shape.live_at() + attribute / 8 * shape.events_max, 1 << (attribute % 8));
        block[shape.values_at() + attribute * shape.events_max + len] = value.position;
        if let Some(previous) = value.seen_until.checked_sub(1) {
            block[live_at + usize::from(previous)] &= !bit;
        }
        block[live_at + len] |= bit;
    }
}
