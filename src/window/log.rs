//! One stream of one key: events in the order of their time, with a row of attribute values beside each.
//!
//! An event that comes in order is a push; one that comes late moves those after it. The oldest go from the front, which
//! moves the rest only when at least as many have gone as are left: a constant cost per event.

use crate::window::event::Timed;
use crate::window::layout::EVENTS_PER_KEY_MAX;

/// Events sorted by time; of equal times, the one recorded later stands later.
#[derive(Clone, Debug)]
pub(crate) struct Log<E> {
    events: Vec<E>,
    attributes: Vec<u64>,
    /// Events before this position are gone.
    head: usize,
    /// Attribute values per event.
    stride: usize,
}

impl<E: Timed> Log<E> {
    /// An empty log with `stride` attribute values per event. Allocates nothing.
    pub(crate) const fn new(stride: usize) -> Self {
        Self { events: Vec::new(), attributes: Vec::new(), head: 0, stride }
    }

    /// The events, oldest first.
    pub(crate) fn events(&self) -> &[E] {
        &self.events[self.head..]
    }

    /// The attribute values of the event at `position` of `events`; the empty slice for a log without.
    pub(crate) fn attributes(&self, position: usize) -> &[u64] {
        let from = (self.head + position) * self.stride;
        self.attributes.get(from..from + self.stride).unwrap_or(&[])
    }

    /// How many events are at or before `at`.
    pub(crate) fn count_until(&self, at: i64) -> usize {
        let events = self.events();
        match events.last() {
            Some(last) if last.at() > at => events.partition_point(|event| event.at() <= at),
            _ => events.len(),
        }
    }

    /// The same count, quick when it is small: how many of the oldest are at or before `at`.
    pub(crate) fn count_until_from_front(&self, at: i64) -> usize {
        self.events().iter().take_while(|event| event.at() <= at).count()
    }

    /// Inserts after all events of the same or an earlier time; `attributes` are filled up with "missing" to the stride. Gives how
    /// many of the oldest had to go to stay within `EVENTS_PER_KEY_MAX`: 0 or 1.
    pub(crate) fn insert(&mut self, event: E, attributes: &[u64]) -> u64 {
        let row = (0..self.stride).map(|column| attributes.get(column).copied().unwrap_or(0));
        let position = self.head + self.count_until(event.at());
        if position == self.events.len() {
            self.events.push(event);
            self.attributes.extend(row);
        } else {
            self.events.insert(position, event);
            let from = position * self.stride;
            self.attributes.splice(from..from, row);
        }
        let surplus = self.events().len().saturating_sub(EVENTS_PER_KEY_MAX);
        self.drop_oldest(surplus);
        surplus as u64
    }

    /// Drops the oldest `count` events.
    pub(crate) fn drop_oldest(&mut self, count: usize) {
        self.head += count.min(self.events().len());
        if self.head > 0 && self.head * 2 >= self.events.len() {
            self.events.drain(..self.head);
            self.attributes.drain(..(self.head * self.stride).min(self.attributes.len()));
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::event::LabelEvent;

    fn event(at: i64) -> LabelEvent {
        LabelEvent { at, fraud: false }
    }

    fn shown(log: &Log<LabelEvent>) -> Vec<(i64, Vec<u64>)> {
        log.events()
            .iter()
            .enumerate()
            .map(|(position, event)| (event.at, log.attributes(position).to_vec()))
            .collect()
    }

    #[test]
    fn rows_stay_beside_their_events() {
        let mut log = Log::new(2);
        for (at, row) in [(5, vec![50, 51]), (1, vec![10]), (3, vec![30, 31, 32]), (5, vec![52, 53])] {
            assert_eq!(log.insert(event(at), &row), 0);
        }
        let all = [(1, vec![10, 0]), (3, vec![30, 31]), (5, vec![50, 51]), (5, vec![52, 53])];
        assert_eq!(shown(&log), all);
        log.drop_oldest(1);
        assert_eq!(shown(&log), all[1..]);
        log.insert(event(4), &[40, 41]);
        assert_eq!(shown(&log)[1], (4, vec![40, 41]));
        log.drop_oldest(2);
        assert_eq!(shown(&log), all[2..]);
        log.drop_oldest(9);
        assert_eq!(shown(&log), []);
    }

    #[test]
    fn counts_until_include_equal_times() {
        let mut log = Log::new(0);
        for at in [1, 3, 3, 7] {
            log.insert(event(at), &[]);
        }
        for (at, expected) in [(0, 0), (1, 1), (2, 1), (3, 3), (6, 3), (7, 4), (8, 4)] {
            assert_eq!(log.count_until(at), expected, "{at}");
        }
    }

    #[test]
    fn the_oldest_go_above_the_bound() {
        let mut log = Log::new(1);
        let pushed = EVENTS_PER_KEY_MAX as i64 + 10;
        let dropped: u64 = (0..pushed).map(|at| log.insert(event(at), &[at.unsigned_abs()])).sum();
        assert_eq!(dropped, 10);
        assert_eq!(log.events().len(), EVENTS_PER_KEY_MAX);
        assert_eq!((log.events()[0].at, log.attributes(0)), (10, [10].as_slice()));
        // One older than all that is held goes at once.
        assert_eq!(log.insert(event(2), &[2]), 1);
        assert_eq!(log.events()[0].at, 10);
    }
}
