//! How much room there is in a block, and what lies where.

/// Most events, and most different values, of one block.
pub(crate) const BLOCK_EVENTS_MAX: usize = 255;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const AMOUNT_BITS: u32 = 24;
pub(super) const AMOUNT_MASK: u64 = (1 << AMOUNT_BITS) - 1;
pub(super) const SPAN_MS_MAX: i64 = (1 << (u64::BITS - AMOUNT_BITS)) - 1;
pub(super) const FLAG_BITS: u32 = 5;
pub(super) const FLAG_MASK: u16 = (1 << FLAG_BITS) - 1;

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
        10 + self.stride + self.high_bytes() + self.place_bytes() + self.currency_bytes()
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

    /// The smallest block for so many events and values, with the rest of its size given to events.
    pub(super) fn fitting(events_max: usize, values_max: usize, stride: usize, columns: u8) -> Self {
        let least = Self { events_max, values_max, stride, columns };
        let spare = (size_class(least.bytes()) - least.bytes()) / least.event_bytes();
        Self { events_max: (events_max + spare).min(BLOCK_EVENTS_MAX), ..least }
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

    pub(super) const fn values_at(self) -> usize {
        self.marks_at() + 2 * self.events_max
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

    /// Every column as (where it begins, bytes of one event), in this order: words, marks, values, high, places, currencies.
    pub(super) const fn column_places(self) -> [(usize, usize); 6] {
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

pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}
