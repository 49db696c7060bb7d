//! Where the values of an event stand in a block: found once for a visit, for the read and for what is added.

use smallvec::SmallVec;

use crate::window::block::view::View;

/// Where one value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValuePlace {
    /// Its position in the dictionary, from 1; 0 for a value that is missing or not there.
    pub(super) position: u8,
    /// The event after the last one that has it as the value of this attribute; 0 for none.
    pub(super) seen_until: u8,
}

/// Where the values of an event stand, by attribute.
pub(crate) type LookUp = SmallVec<[ValuePlace; 8]>;

impl View<'_> {
    /// Looks all values of an event up; 0 is a missing one.
    pub(crate) fn look_up(self, values: &[u32]) -> LookUp {
        let places = values.iter().take(self.shape.stride).enumerate().map(|(attribute, &value)| {
            if value == 0 {
                return ValuePlace::default();
            }
            let Some(position) = self.find_value(value) else { return ValuePlace::default() };
            let seen_until = self.seen_until(attribute, position, self.len, None);
            ValuePlace { position, seen_until }
        });
        places.collect()
    }

    /// The event after the last one of the first `end` that has the value at a position, without one of them; 0 for none.
    #[expect(clippy::cast_possible_truncation, reason = "a block has at most 255 events")]
    fn seen_until(self, attribute: usize, position: u8, end: usize, without: Option<usize>) -> u8 {
        let values = &self.values_of(attribute)[..end];
        let last = memchr::memrchr(position, values);
        let last = last.filter(|_| last != without).or_else(|| memchr::memrchr(position, &values[..last?]));
        last.map_or(0, |last| (last + 1) as u8)
    }

    /// The same for a value that has been looked up, or 0 for one that has not.
    pub(crate) fn seen_until_of(
        self,
        attribute: usize,
        place: ValuePlace,
        end: usize,
        without: Option<usize>,
    ) -> u8 {
        match place.position {
            0 => 0,
            _ if end == self.len && without.is_none() => place.seen_until,
            position => self.seen_until(attribute, position, end, without),
        }
    }

    /// The position of a value in the dictionary, from 1.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a dictionary has at most 255 values")]
    fn find_value(self, value: u32) -> Option<u8> {
        let is_it = |word: &[u8; 4]| u32::from_le_bytes(*word) == value;
        // Eight at a time, as most parts do not have it.
        let (parts, rest) = self.dictionary_words().as_chunks::<8>();
        let has_it = |part: &[[u8; 4]; 8]| part.iter().fold(false, |found, word| found | is_it(word));
        let position = match parts.iter().position(has_it) {
            Some(part) => 8 * part + parts[part].iter().position(is_it)?,
            None => 8 * parts.len() + rest.iter().position(is_it)?,
        };
        Some((position + 1) as u8)
    }
}
