//! Keys of one shard by their hash: a sorted list with gaps (linear probing with the order kept, after Amble and Knuth, "Ordered
//! hash tables", 1974), so that a key that is not there is known as soon as a larger hash is seen.
//!
//! It grows by a quarter at a time. A shard has at most some 1,000 keys (up to 67 million of an entity; beyond, more), so that even
//! then nobody waits for more than some microseconds.

use crate::window::held::Held;

/// Bits of `Entry::hash` that are no hash.
const MARK_BITS: u32 = 2;
/// The key has been seen in at most one attempt.
const PROBATION: u32 = 1;
/// The entry is not to be saved (again) for the running snapshot. Which of the two values means that alternates.
const SAVED: u32 = 2;

/// One key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) held: Held,
    /// The hash above `MARK_BITS`.
    hash: u32,
    /// When the key was last active, by the shard's count of activities.
    pub(crate) active: u32,
}

impl Entry {
    pub(crate) fn new(held: Held, slot_bits: u32, active: u32) -> Self {
        Self { held, hash: slot_bits >> MARK_BITS << MARK_BITS | PROBATION, active }
    }

    fn vacant() -> Self {
        Self { held: Held::nothing(), hash: 0, active: 0 }
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.held.is_nothing()
    }

    /// The hash, with the marks.
    pub(crate) const fn bits(&self) -> u32 {
        self.hash
    }

    /// An entry as it was written down.
    pub(crate) const fn from_bits(held: Held, bits: u32, active: u32) -> Self {
        Self { held, hash: bits, active }
    }

    pub(crate) const fn is_on_probation(&self) -> bool {
        self.hash & PROBATION != 0
    }

    pub(crate) const fn end_probation(&mut self) {
        self.hash &= !PROBATION;
    }

    pub(crate) const fn saved_mark(&self) -> bool {
        self.hash & SAVED != 0
    }

    pub(crate) const fn set_saved_mark(&mut self, mark: bool) {
        self.hash = if mark { self.hash | SAVED } else { self.hash & !SAVED };
    }

    const fn key(&self) -> u32 {
        self.hash >> MARK_BITS
    }
}

/// The keys of one shard.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// Places that hashes are spread over; the list may be a little longer.
    places: usize,
    len: usize,
}

impl Table {
    const PLACES_MIN: usize = 8;

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All places, vacant ones too.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// Where the search for a hash begins.
    pub(crate) fn home(&self, slot_bits: u32) -> Option<&Entry> {
        self.entries.get(place(slot_bits >> MARK_BITS, self.places))
    }

    /// The position of the entry with that hash for which `is_it` holds.
    pub(crate) fn find(&self, slot_bits: u32, is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
        let key = slot_bits >> MARK_BITS;
        let from = place(key, self.places);
        for (position, entry) in self.entries.iter().enumerate().skip(from) {
            if entry.is_vacant() || entry.key() > key {
                return None;
            }
            if entry.key() == key && is_it(entry) {
                return Some(position);
            }
        }
        None
    }

    /// Inserts an entry that is not there, and gives its position. Others may move.
    pub(crate) fn insert(&mut self, entry: Entry) -> usize {
        // At most four fifths are taken.
        if self.len * 5 >= self.places * 4 {
            self.grow();
        }
        let key = entry.key();
        let mut position = place(key, self.places);
        while self.entries.get(position).is_some_and(|known| !known.is_vacant() && known.key() <= key) {
            position += 1;
        }
        let run = self.entries.iter().skip(position).position(Entry::is_vacant);
        match run {
            Some(run) => {
                self.entries[position..=position + run].rotate_right(1);
                self.entries[position] = entry;
            }
            None => self.entries.insert(position, entry),
        }
        self.len += 1;
        position
    }

    /// Takes an entry out. Others may move towards the front.
    pub(crate) fn remove(&mut self, position: usize) -> Entry {
        let mut end = position + 1;
        while let Some(entry) = self.entries.get(end)
            && !entry.is_vacant()
            && place(entry.key(), self.places) < end
        {
            end += 1;
        }
        self.entries[position..end].rotate_left(1);
        self.len -= 1;
        std::mem::replace(&mut self.entries[end - 1], Entry::vacant())
    }

    fn grow(&mut self) {
        self.places = (self.places + self.places / 4).max(Self::PLACES_MIN);
        let old = std::mem::take(&mut self.entries);
        // A few places more, so that the last ones seldom make the list itself longer.
        self.entries.reserve_exact(self.places + Self::PLACES_MIN);
        for entry in old {
            if entry.is_vacant() {
                continue;
            }
            let home = place(entry.key(), self.places);
            while self.entries.len() < home {
                self.entries.push(Entry::vacant());
            }
            self.entries.push(entry);
        }
        let places = self.places;
        while self.entries.len() < places {
            self.entries.push(Entry::vacant());
        }
    }
}

/// A hash of 30 bits spread evenly over the places, in order.
const fn place(key: u32, places: usize) -> usize {
    ((key as u64 * places as u64) >> (u32::BITS - MARK_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn an_entry_is_three_words() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn a_table_is_a_map() {
        for (spread, seed) in [(u32::MAX, 1), (1 << 20, 2), (64, 3), (4, 4)] {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let (mut table, mut map) = (Table::default(), HashMap::new());
            for active in 0..20_000 {
                // Hashes at both ends of the range, so that the end of the list is tried too.
                let bits = random.random_range(0..spread);
                let bits = if random.random() { bits } else { u32::MAX - bits };
                let bits = bits >> MARK_BITS << MARK_BITS;
                match table.find(bits, |_| true) {
                    Some(found) if random.random_range(0..3) == 0 => {
                        let entry = table.remove(found);
                        assert_eq!(map.remove(&bits), Some(entry.active));
                    }
                    Some(found) => assert_eq!(map.get(&bits), Some(&table.entries()[found].active)),
                    None => {
                        assert!(!map.contains_key(&bits));
                        let held = Held::Block(vec![0; 16].into());
                        let position = table.insert(Entry::new(held, bits, active));
                        assert_eq!(table.entries()[position].active, active);
                        map.insert(bits, active);
                    }
                }
                assert_eq!(table.len(), map.len());
            }
            for (&bits, &active) in &map {
                assert!(table.find(bits, |entry| entry.active == active).is_some());
            }
        }
    }
}
