//! How much room there is in a block, and what lies where.

use smallvec::SmallVec;

/// Most events, and most different values, of one block.
pub(crate) const BLOCK_EVENTS_MAX: usize = 255;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const AMOUNT_BITS: u32 = 24;
pub(super) const AMOUNT_MASK: u64 = (1 << AMOUNT_BITS) - 1;
pub(super) const SPAN_MS_MAX: i64 = (1 << (u64::BITS - AMOUNT_BITS)) - 1;
pub(super) const FLAG_BITS: u32 = 5;
pub(super) const FLAG_MASK: u8 = (1 << FLAG_BITS) - 1;

/// Columns that a block may have.
pub(super) const HIGH_AMOUNTS: u8 = 1;
pub(super) const PLACES: u8 = 2;
pub(super) const CURRENCIES: u8 = 4;

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
pub(super) struct Shape {
    pub(super) events_max: usize,
    pub(super) values_max: usize,
    /// Attribute values of an event.
    pub(super) stride: usize,
    pub(super) columns: u8,
}

impl Shape {
    pub(super) const fn event_bytes(self) -> usize {
        10 + self.live_bytes() + self.stride + self.high_bytes() + self.place_bytes() + self.currency_bytes()
    }

    /// Bytes of an event that say of eight attributes each whether its value is the last of its kind.
    pub(super) const fn live_bytes(self) -> usize {
        self.stride.div_ceil(8)
    }

    pub(super) const fn high_bytes(self) -> usize {
        if self.columns & HIGH_AMOUNTS == 0 { 0 } else { 4 }
    }

    pub(super) const fn place_bytes(self) -> usize {
        if self.columns & PLACES == 0 { 0 } else { 8 }
    }

    pub(super) const fn currency_bytes(self) -> usize {
        if self.columns & CURRENCIES == 0 { 0 } else { 1 }
    }

    /// The same with room for some more events, each of which brings so many new values, as long as they fit what the allocator
    /// spends on it anyway.
    pub(super) fn with_rest(self, new_values: usize) -> Self {
        let spare = (size_class(self.bytes()) - self.bytes()) / (self.event_bytes() + 4 * new_values);
        self.with_spare(spare, new_values)
    }

    /// The same with room for so many more events, each of which brings so many new values.
    pub(super) fn with_spare(self, events: usize, new_values: usize) -> Self {
        Self {
            events_max: (self.events_max + events).min(BLOCK_EVENTS_MAX),
            values_max: (self.values_max + events * new_values).min(BLOCK_EVENTS_MAX),
            ..self
        }
    }

    pub(super) const fn bytes(self) -> usize {
        HEADER_BYTES + 4 * self.values_max + self.event_bytes() * self.events_max
    }

    pub(super) const fn words_at(self) -> usize {
        HEADER_BYTES + 4 * self.values_max
    }

    pub(super) const fn marks_at(self) -> usize {
        self.words_at() + 8 * self.events_max
    }

    /// Where the first column of `live_bytes` begins.
    pub(super) const fn live_at(self) -> usize {
        self.marks_at() + 2 * self.events_max
    }

    /// Where the column of the first attribute begins.
    pub(super) const fn values_at(self) -> usize {
        self.live_at() + self.live_bytes() * self.events_max
    }

    pub(super) const fn high_at(self) -> usize {
        self.values_at() + self.stride * self.events_max
    }

    pub(super) const fn places_at(self) -> usize {
        self.high_at() + self.high_bytes() * self.events_max
    }

    pub(super) const fn currencies_at(self) -> usize {
        self.places_at() + self.place_bytes() * self.events_max
    }

    /// Every column as (where it begins, bytes of one event): words, marks, one byte each for what is live and for the values, then
    /// those that a block may lack.
    pub(super) fn column_places(self) -> SmallVec<[(usize, usize); 16]> {
        let bytes =
            (0..self.live_bytes() + self.stride).map(|byte| (self.live_at() + byte * self.events_max, 1));
        let mut places: SmallVec<[(usize, usize); 16]> =
            SmallVec::from_slice(&[(self.words_at(), 8), (self.marks_at(), 2)]);
        places.extend(bytes);
        places.extend_from_slice(&self.optional_places());
        places
    }

    /// Those of the columns that a block may lack, with a width of 0 where it does: high, places, currencies.
    pub(super) const fn optional_places(self) -> [(usize, usize); 3] {
        [
            (self.high_at(), self.high_bytes()),
            (self.places_at(), self.place_bytes()),
            (self.currencies_at(), self.currency_bytes()),
        ]
    }
}

#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}
