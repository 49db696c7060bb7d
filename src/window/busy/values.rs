//! How many different values an attribute of a busy key had in a window.
//!
//! The values stand in a list by the time when each was last seen; those that were seen again later are struck out. What is not
//! struck out after the beginning of a window is the answer: exact. Of more than `values_max` values the oldest go, and a
//! second list begins with a sample: values whose hash ends in a zero bit. A third holds those that end in two, and so
//! on (after Gibbons and Tirthapura, "Distributed streams algorithms for sliding windows", 2002). A window is answered
//! by the first list that reaches back far enough: from at least half of `values_max` values, so that the standard error is
//! below 1.6 %.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize, Serializer};

use crate::window::busy::search::{count_until, guess};
use crate::window::prefetch::prefetch;

/// The last entries stay even when they are struck out.
const STRUCK_OUT_KEPT: usize = 512;
/// Struck out entries beyond the number of others before they are cleared away.
const STRUCK_OUT_MAX: usize = 3 * STRUCK_OUT_KEPT;
/// An attempt that comes behind more than so many entries is taken as if it came right before the last of them.
const LATE_MAX: usize = 64;

/// The values of one attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Values {
    samples: Vec<Sample>,
    values_max: usize,
    /// The longest window that is asked for, with an eighth more for late attempts.
    reach_ms: i64,
}

impl Values {
    /// None yet.
    pub(crate) fn new(values_max: usize, longest_window_ms: i64) -> Self {
        let reach_ms = longest_window_ms + longest_window_ms / 8;
        Self { samples: vec![Sample::default()], values_max, reach_ms }
    }

    /// A value was seen.
    pub(crate) fn add(&mut self, value: u32, at: i64) {
        let newest = self.samples[0].times.last().copied().unwrap_or(at).max(at);
        let needed_after = newest - self.reach_ms;
        let lists = self.samples.len().min(value.trailing_zeros() as usize + 1);
        for sample in &mut self.samples[..lists] {
            sample.add(value, at);
        }
        for list in 0..self.samples.len() {
            while self.samples[list].live > self.values_max {
                let oldest_at = self.samples[list].oldest_at();
                if list + 1 == self.samples.len() && oldest_at > needed_after && list < 31 {
                    let next = self.samples[list].half(list + 1);
                    self.samples.push(next);
                }
                self.samples[list].drop_oldest();
            }
        }
        if let [.., enough, _] = &*self.samples
            && enough.complete_after <= needed_after
        {
            self.samples.pop();
        }
    }

    /// When a value was last seen at or before `to`, as far as is known.
    pub(crate) fn last_seen(&self, value: u32, to: i64) -> Option<i64> {
        self.samples[0].last_seen(value, to).filter(|_| value != 0)
    }

    /// How many different values were seen after `from` and not after `to`, `present` among them (0 for none), which was last
    /// seen at `last_seen`.
    pub(crate) fn count(&self, from: i64, to: i64, present: u32, last_seen: Option<i64>) -> u64 {
        let reaches = self.samples.iter().position(|sample| sample.complete_after <= from);
        let list = reaches.unwrap_or(self.samples.len() - 1);
        let sample = &self.samples[list];
        let is_sampled = present != 0 && present.trailing_zeros() as usize >= list;
        let last_seen = if list == 0 { last_seen } else { sample.last_seen(present, to) };
        let is_new = is_sampled && last_seen.is_none_or(|last_seen| last_seen <= from);
        (sample.count(from, to) + u64::from(is_new)) << list
    }

    /// Asks the processor for what is read first.
    pub(crate) fn prefetch(&self) {
        let sample = &self.samples[0];
        sample.times.last().map(prefetch);
        sample.values.last().map(prefetch);
        sample.standing.last().map(prefetch);
        sample.previous.last().map(prefetch);
    }

    /// Asks the processor for what a window needs that begins at a moment.
    pub(crate) fn foresee(&self, from: i64) {
        let sample = &self.samples[0];
        let entry = guess(&sample.times, from);
        sample.times.get(entry).map(prefetch);
        sample.standing.get(entry / 64).map(prefetch);
    }

    /// How many lists there are: 1 as long as every count is exact.
    #[cfg(test)]
    pub(crate) fn lists(&self) -> usize {
        self.samples.len()
    }
}

/// Values are hashes already: a product spreads their bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueHasher(u64);

impl Hasher for ValueHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "WrittenSample")]
struct Sample {
    times: Vec<i64>,
    values: Vec<u32>,
    /// Where the value stood before, plus one; 0 for nowhere.
    previous: Vec<u32>,
    /// A bit for each entry that is not struck out.
    standing: Vec<u64>,
    /// Where each value stands.
    latest: HashMap<u32, u32, BuildHasherDefault<ValueHasher>>,
    /// How many stand.
    live: usize,
    /// No entry before this position stands.
    head: usize,
    /// Every value last seen after this time stands in the list.
    complete_after: i64,
}

/// A list as it is written down: where each value stands follows from the rest.
#[derive(Deserialize)]
struct WrittenSample {
    times: Vec<i64>,
    values: Vec<u32>,
    previous: Vec<u32>,
    standing: Vec<u64>,
    head: usize,
    complete_after: i64,
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { times, values, previous, standing, head, complete_after, .. } = self;
        (times, values, previous, standing, head, complete_after).serialize(serializer)
    }
}

impl From<WrittenSample> for Sample {
    fn from(written: WrittenSample) -> Self {
        let WrittenSample { times, values, previous, standing, head, complete_after } = written;
        let stands = |position: usize| {
            standing.get(position / 64).is_some_and(|word| word & (1 << (position % 64)) != 0)
        };
        let latest: HashMap<_, _, _> = (0..)
            .zip(&values)
            .filter(|&(position, _)| stands(position as usize))
            .map(|(at, &value)| (value, at))
            .collect();
        let live = latest.len();
        Self { times, values, previous, standing, latest, live, head, complete_after }
    }
}

impl Sample {
    fn oldest_at(&self) -> i64 {
        self.next_standing(self.head).map_or(i64::MIN, |oldest| self.times[oldest])
    }

    fn next_standing(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.standing.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.standing.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    fn stand(&mut self, position: usize, stands: bool) {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if word == self.standing.len() {
            self.standing.push(0);
        }
        if stands {
            self.standing[word] |= bit;
        } else {
            self.standing[word] &= !bit;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "far fewer than 2^32 entries")]
    fn push(&mut self, value: u32, at: i64) {
        let position = self.values.len();
        if position == self.values.capacity() {
            // A list is bounded: room for some more is enough, where a vector by itself would double.
            let more = (position / 4).max(64);
            self.times.reserve_exact(more);
            self.values.reserve_exact(more);
            self.previous.reserve_exact(more);
        }
        let previous = self.latest.insert(value, position as u32);
        self.times.push(at);
        self.values.push(value);
        self.previous.push(previous.map_or(0, |previous| previous + 1));
        self.stand(position, true);
        match previous {
            Some(previous) => self.stand(previous as usize, false),
            None => self.live += 1,
        }
    }

    /// Takes the last push back.
    fn pop(&mut self) -> Option<(u32, i64)> {
        let (value, at, previous) = (self.values.pop()?, self.times.pop()?, self.previous.pop()?);
        self.stand(self.values.len(), false);
        if let Some(previous) = previous.checked_sub(1) {
            self.latest.insert(value, previous);
            self.stand(previous as usize, true);
        } else {
            self.latest.remove(&value);
            self.live -= 1;
        }
        Some((value, at))
    }

    fn add(&mut self, value: u32, at: i64) {
        let behind = self.times.iter().rev().take(LATE_MAX).take_while(|&&time| time > at).count();
        if behind == 0 {
            self.push(value, at);
        } else {
            let later: Vec<(u32, i64)> = (0..behind).map_while(|_| self.pop()).collect();
            let at = self.times.last().map_or(at, |&last| last.max(at));
            for (value, at) in std::iter::once((value, at)).chain(later.into_iter().rev()) {
                self.push(value, at);
            }
        }
        if self.values.len() > 2 * self.live + STRUCK_OUT_MAX {
            self.clear_away();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.next_standing(self.head) else { return };
        self.stand(oldest, false);
        self.latest.remove(&self.values[oldest]);
        self.live -= 1;
        self.head = oldest + 1;
        self.complete_after = self.complete_after.max(self.times[oldest]);
    }

    /// The entries whose value ends in so many zero bits.
    fn half(&self, zeros: usize) -> Self {
        let mut half = Self { complete_after: self.complete_after, ..Self::default() };
        let entries = self.values.iter().zip(&self.times).skip(self.head);
        for (&value, &at) in entries.filter(|(value, _)| value.trailing_zeros() as usize >= zeros) {
            half.push(value, at);
        }
        half
    }

    /// Drops entries that are struck out, but for the last ones and those that the last ones struck out: an attempt that comes
    /// late by fewer entries is read right.
    fn clear_away(&mut self) {
        let old = std::mem::take(self);
        self.complete_after = old.complete_after;
        let keep_from = old.values.len().saturating_sub(STRUCK_OUT_KEPT);
        let mut is_kept = old.standing.clone();
        let struck_out = old.previous[keep_from..].iter().filter_map(|&previous| previous.checked_sub(1));
        for position in struck_out.map(|previous| previous as usize).chain(keep_from..old.values.len()) {
            is_kept[position / 64] |= 1 << (position % 64);
        }
        self.latest.reserve(old.live);
        for (position, (&value, &at)) in old.values.iter().zip(&old.times).enumerate().skip(old.head) {
            if is_kept[position / 64] & (1 << (position % 64)) != 0 {
                self.push(value, at);
            }
        }
    }

    /// Where entries after `from` begin and where those after `to` do.
    fn range(&self, from: i64, to: i64) -> (usize, usize) {
        (count_until(&self.times, from).max(self.head), count_until(&self.times, to))
    }

    fn count(&self, from: i64, to: i64) -> u64 {
        let (start, end) = self.range(from, to);
        if start >= end {
            return 0;
        }
        let mut standing = 0;
        for word in start / 64..end.div_ceil(64) {
            let mut bits = self.standing[word];
            if word == start / 64 {
                bits &= u64::MAX << (start % 64);
            }
            if word == end / 64 {
                bits &= !(u64::MAX << (end % 64));
            }
            standing += u64::from(bits.count_ones());
        }
        // Values that were seen again after `to`, but stood in the window then.
        let stood = |previous: &&u32| (start..end).contains(&(**previous as usize).wrapping_sub(1));
        standing + self.previous[end..].iter().filter(stood).count() as u64
    }

    /// When a value was last seen at or before `to`, as far as the list knows.
    fn last_seen(&self, value: u32, to: i64) -> Option<i64> {
        let mut position = self.latest.get(&value).map(|&latest| latest as usize);
        while let Some(at) = position {
            if self.times[at] <= to {
                return Some(self.times[at]).filter(|_| at >= self.head);
            }
            position = (self.previous[at] as usize).checked_sub(1);
        }
        None
    }
}
