//! The events of one stream in one currency as running totals. The newest have a total each; older ones share one with their
//! neighbours, in groups that grow with their age.
//!
//! A running total is an integer, so what lies between two of them is exact. To put two groups together is to drop the total
//! between them. Groups are never larger than one part in `group_parts` of all that is newer, in events, in money and in marked
//! events (after Datar, Gionis, Indyk, Motwani, "Maintaining stream statistics over sliding windows", 2002). A window that begins
//! inside a group takes the group or leaves it, and so is off by at most that part of what it holds. One that also ends among
//! the groups, as of an older time, is off by at most that part of all that is newer than it begins. Only late events may make a
//! group larger.

use serde::{Deserialize, Serialize};

use crate::window::amounts::Amounts;
use crate::window::busy::search::{count_until, guess};
use crate::window::limits::Limits;
use crate::window::prefetch::prefetch;

/// New events between two times of putting groups together.
const SLACK: usize = 128;

/// Events of one stream and currency, in the order of their time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Groups {
    /// The time of the last event of each group.
    times: Vec<i64>,
    /// How many events there are up to and with each group, modulo 2^64.
    counts: Vec<u64>,
    /// How many of them are marked: labels that say fraud.
    marked: Vec<u64>,
    /// Their amounts; empty where none are kept.
    amounts: Vec<GroupAmounts>,
    /// What went before the first group.
    before: Before,
    /// With how many groups it is next time to put some together.
    crowded_at: usize,
    has_amounts: bool,
    has_marks: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Before {
    count: u64,
    marked: u64,
    sum: u128,
    squares: u128,
}

/// Running totals, modulo 2^128, and the extremes of the group alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct GroupAmounts {
    sum: u128,
    squares: u128,
    min: i64,
    max: i64,
}

impl Groups {
    /// No events; `has_amounts` and `has_marks` say what is kept beside their number.
    pub(crate) fn new(has_amounts: bool, has_marks: bool) -> Self {
        Self { has_amounts, has_marks, ..Self::default() }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, at: i64, minor: i64, is_marked: bool, floor: i64, limits: &Limits) {
        let len = self.times.len();
        let position = count_until(&self.times, at);
        // An event inside a group of several joins it. One among single events, or between two groups, is a group of its own.
        let joins = position < len && self.count_of(position) > 1;
        let amount = u128::from(minor.unsigned_abs());
        if !joins {
            self.make_room();
            let before = self.before(position);
            self.times.insert(position, at);
            self.counts.insert(position, before.count);
            if self.has_marks {
                self.marked.insert(position, before.marked);
            }
            if self.has_amounts {
                let alone = GroupAmounts { sum: before.sum, squares: before.squares, min: minor, max: minor };
                self.amounts.insert(position, alone);
            }
        } else if let Some(group) = self.amounts.get_mut(position) {
            group.min = group.min.min(minor);
            group.max = group.max.max(minor);
        }
        for count in &mut self.counts[position..] {
            *count = count.wrapping_add(1);
        }
        if is_marked && self.has_marks {
            for marked in &mut self.marked[position..] {
                *marked = marked.wrapping_add(1);
            }
        }
        if self.has_amounts {
            for group in &mut self.amounts[position..] {
                group.sum = group.sum.wrapping_add(amount);
                group.squares = group.squares.wrapping_add(amount.wrapping_mul(amount));
            }
        }
        if self.times.len() > self.crowded_at.max(limits.exact_events + SLACK) {
            self.put_together(floor, limits);
            self.crowded_at = self.times.len() + SLACK;
        }
    }

    /// Groups are bounded: room for some more is enough, where a vector by itself would double.
    fn make_room(&mut self) {
        if self.times.len() == self.times.capacity() {
            let more = SLACK / 2;
            self.times.reserve_exact(more);
            self.counts.reserve_exact(more);
            if self.has_marks {
                self.marked.reserve_exact(more);
            }
            if self.has_amounts {
                self.amounts.reserve_exact(more);
            }
        }
    }

    /// The time of the last event.
    pub(crate) fn newest_at(&self) -> Option<i64> {
        self.times.last().copied()
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// The time of the last event at or before `at`, or of the group that it is in.
    pub(crate) fn last_at(&self, at: i64) -> Option<i64> {
        count_until(&self.times, at).checked_sub(1).map(|last| self.times[last])
    }

    /// Asks the processor for what is read first.
    pub(crate) fn prefetch(&self) {
        self.times.last().map(prefetch);
        self.counts.last().map(prefetch);
        self.amounts.last().map(prefetch);
        self.times.first().map(prefetch);
    }

    /// Asks the processor for what a window needs that begins at a moment.
    pub(crate) fn foresee(&self, from: i64) {
        let group = guess(&self.times, from);
        self.times.get(group).map(prefetch);
        self.counts.get(group).map(prefetch);
        self.amounts.get(group).map(prefetch);
    }

    /// How many events there are up to and with the group before.
    fn count_before(&self, group: usize) -> u64 {
        group.checked_sub(1).map_or(self.before.count, |last| self.counts[last])
    }

    /// What came before a group.
    fn before(&self, group: usize) -> Before {
        let Some(last) = group.checked_sub(1) else { return self.before };
        let amounts = self.amounts.get(last);
        Before {
            count: self.counts[last],
            marked: self.marked.get(last).copied().unwrap_or(0),
            sum: amounts.map_or(0, |amounts| amounts.sum),
            squares: amounts.map_or(0, |amounts| amounts.squares),
        }
    }

    /// Events of one group.
    fn count_of(&self, group: usize) -> u64 {
        self.counts[group].wrapping_sub(self.count_before(group))
    }

    /// How many groups lie at or before a moment. One that it falls into counts when the moment is past its middle.
    fn groups_until(&self, at: i64, below: usize) -> usize {
        let whole = count_until(&self.times[..below], at);
        let Some(previous) = whole.checked_sub(1) else { return whole };
        let is_inside = whole < below && self.count_of(whole) > 1;
        let middle = || self.times[previous].midpoint(self.times[whole]);
        whole + usize::from(is_inside && at > middle())
    }

    /// Reads windows that end at `to`, from the shortest to the longest. The smallest and the largest amount are taken without
    /// `own`, an event at `to` of that amount, as long as it is known by itself.
    pub(crate) fn reader(&self, to: i64, own: Option<i64>) -> GroupReader<'_> {
        let end = self.groups_until(to, self.times.len());
        GroupReader {
            groups: self,
            end,
            start: end,
            own: own.map(|minor| (to, minor)),
            min: i64::MAX,
            max: i64::MIN,
        }
    }

    /// Drops what is at or before `floor`, and puts old groups together.
    fn put_together(&mut self, floor: i64, limits: &Limits) {
        let gone = self.times.partition_point(|&time| time <= floor);
        let mut kept: Vec<usize> = Vec::with_capacity(self.times.len());
        let total = self.before(self.times.len());
        let mut group = self.times.len();
        while let Some(last) = group.checked_sub(1).filter(|&last| last >= gone) {
            kept.push(last);
            group = last;
            if kept.len() <= limits.exact_events {
                continue;
            }
            // The group that ends with `last` may reach back to just after `group - 1`.
            let end = self.before(last + 1);
            let most = total.count.wrapping_sub(end.count) / limits.group_parts;
            let most_money = total.sum.wrapping_sub(end.sum) / u128::from(limits.group_parts);
            let most_marked = total.marked.wrapping_sub(end.marked) / limits.group_parts;
            while group > gone {
                let start = self.before(group - 1);
                let is_small = end.count.wrapping_sub(start.count) <= most
                    && (!self.has_amounts || end.sum.wrapping_sub(start.sum) <= most_money)
                    && end.marked.wrapping_sub(start.marked) <= most_marked;
                if !is_small {
                    break;
                }
                group -= 1;
            }
        }
        kept.reverse();
        self.keep(&kept, gone);
    }

    fn keep(&mut self, kept: &[usize], gone: usize) {
        let before = self.before(gone);
        let mut first = gone;
        for (position, &last) in kept.iter().enumerate() {
            self.times[position] = self.times[last];
            self.counts[position] = self.counts[last];
            if self.has_marks {
                self.marked[position] = self.marked[last];
            }
            if self.has_amounts {
                let mut group = self.amounts[last];
                for part in &self.amounts[first..last] {
                    group.min = group.min.min(part.min);
                    group.max = group.max.max(part.max);
                }
                self.amounts[position] = group;
            }
            first = last + 1;
        }
        self.times.truncate(kept.len());
        self.counts.truncate(kept.len());
        self.marked.truncate(kept.len());
        self.amounts.truncate(kept.len());
        self.before = before;
    }
}

/// Reads windows that end at one moment, from the shortest to the longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupReader<'a> {
    groups: &'a Groups,
    end: usize,
    start: usize,
    own: Option<(i64, i64)>,
    min: i64,
    max: i64,
}

/// What lies in a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InWindow {
    pub(crate) count: u64,
    pub(crate) marked: u64,
    pub(crate) amounts: Amounts,
}

impl GroupReader<'_> {
    fn take_extremes(&mut self, start: usize) {
        for group in start..self.start {
            let GroupAmounts { min, max, .. } = self.groups.amounts[group];
            if self.own == Some((self.groups.times[group], min)) && self.groups.count_of(group) == 1 {
                self.own = None;
                continue;
            }
            self.min = self.min.min(min);
            self.max = self.max.max(max);
        }
    }

    /// How many events the window has that begins after `from`.
    pub(crate) fn count(&mut self, from: i64) -> u64 {
        self.start = self.groups.groups_until(from, self.start);
        self.groups.count_before(self.end).wrapping_sub(self.groups.count_before(self.start))
    }

    /// The window that begins after `from`; each at or before the one before. `with_extremes` says whether the smallest and the
    /// largest amount are wanted, then and in all shorter ones.
    pub(crate) fn window(&mut self, from: i64, with_extremes: bool) -> InWindow {
        let start = self.groups.groups_until(from, self.start);
        if with_extremes && self.groups.has_amounts {
            self.take_extremes(start);
        }
        self.start = start;
        let (before, all) = (self.groups.before(start), self.groups.before(self.end));
        let count = all.count.wrapping_sub(before.count);
        InWindow {
            count,
            marked: all.marked.wrapping_sub(before.marked),
            amounts: Amounts {
                count,
                sum: all.sum.wrapping_sub(before.sum),
                squares: all.squares.wrapping_sub(before.squares),
                min: self.min,
                max: self.max,
            },
        }
    }
}
