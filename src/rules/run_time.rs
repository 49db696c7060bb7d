//! What stands on lists beside their files: entries that people put there while the service runs.
//!
//! All of them together are one immutable value that shares what it can with the value before it: a change costs the way to one
//! leaf, also among a million entries, and whoever reads an older one goes on reading it. So `judge` takes it as an argument, and
//! no reader ever waits.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};

use crate::domain::time::EventTime;

/// Most entries over all lists. One more is refused; about 300 bytes each with a short value and note.
pub const RUN_TIME_ENTRIES_MAX: usize = 1_000_000;
/// How long after their end entries may still be asked for; then they may be swept.
pub const SWEEP_AFTER: Duration = Duration::from_secs(90 * 86_400);
/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 512;

/// A value that stands on a list: what a decision record names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The list.
    pub list: Box<str>,
    /// The value, as a text.
    pub value: Box<str>,
}

/// Why and until when a value stands on a list, and who put it there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The first moment (event time) at which it no longer counts.
    pub until: Option<EventTime>,
    /// Why.
    pub note: Box<str>,
    /// Whose API key it was.
    pub by: Box<str>,
    /// When it was put there.
    pub added_at: EventTime,
    /// The record that says so.
    pub sequence: u64,
}

/// What is done to a value of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is put there, also in place of what stood there.
    Add {
        /// The first moment (event time) at which it no longer counts.
        until: Option<EventTime>,
    },
    /// It is taken off.
    Remove,
}

/// A change of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListChange {
    /// The list.
    pub list: Box<str>,
    /// The value.
    pub value: Box<str>,
    /// What is done.
    pub action: Action,
    /// Why.
    pub note: Box<str>,
    /// Whose API key it was.
    pub by: Box<str>,
}

/// The standard hasher is seeded, so that nobody who can add values can slow the map down.
type Entries = HashTrieMapSync<Box<str>, Entry>;

/// All entries. Cloning is cheap: it copies the names of the lists and shares the rest.
#[derive(Clone, Debug, Default)]
pub struct RunTimeLists {
    lists: BTreeMap<Arc<str>, Entries>,
    len: usize,
}

impl RunTimeLists {
    /// Lists that hold just these, for ever: what a recorded decision is decided again with.
    pub fn of<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> Self {
        Self::default().and(listed)
    }

    /// These lists with more values, which hold for ever.
    pub fn and<'a>(&self, listed: impl IntoIterator<Item = &'a Listed>) -> Self {
        let mut lists = self.clone();
        for Listed { list, value } in listed {
            let entry = Entry {
                until: None,
                note: Box::default(),
                by: Box::default(),
                added_at: EventTime::EPOCH,
                sequence: 0,
            };
            lists.put(list, value.clone(), entry);
        }
        lists
    }

    /// Those of the entries that were put there by a record before that one. Copies them all.
    pub fn before(&self, sequence: u64) -> Self {
        let mut lists = Self::default();
        for (list, value, entry) in self.iter().filter(|(_, _, entry)| entry.sequence < sequence) {
            lists.put(list, value.into(), entry.clone());
        }
        lists
    }

    /// How many entries there are, expired ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the value stands on the list at that moment.
    pub fn holds(&self, list: &str, value: &str, at: EventTime) -> bool {
        self.entry(list, value).is_some_and(|entry| entry.until.is_none_or(|until| at < until))
    }

    /// The entry of a value, also one that has expired.
    pub fn entry(&self, list: &str, value: &str) -> Option<&Entry> {
        self.lists.get(list)?.get(value)
    }

    /// How many entries a list has.
    pub fn len_of(&self, list: &str) -> usize {
        self.lists.get(list).map_or(0, Entries::size)
    }

    /// The lists that have entries, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(|name| &**name)
    }

    /// All entries, in no order but that of their lists.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.lists
            .iter()
            .flat_map(|(list, entries)| entries.iter().map(move |(value, entry)| (&**list, &**value, entry)))
    }

    /// The first `count` entries of a list whose values come after `after`, in the order of their bytes. Looks at every entry of the
    /// list: the map has no order.
    pub fn page(&self, list: &str, after: Option<&str>, count: usize) -> Vec<(&str, &Entry)> {
        let Some(entries) = self.lists.get(list) else { return Vec::new() };
        let mut first: BinaryHeap<&str> = BinaryHeap::with_capacity(count + 1);
        for value in entries.keys().filter(|value| after.is_none_or(|after| ***value > *after)) {
            if first.len() < count {
                first.push(value);
            } else if first.peek().is_some_and(|last| **value < **last) {
                first.push(value);
                first.pop();
            }
        }
        let values = first.into_sorted_vec().into_iter();
        values.filter_map(|value| entries.get(value).map(|entry| (value, entry))).collect()
    }

    /// Does what a record says; answers what stood there before.
    pub fn apply(&mut self, change: &ListChange, sequence: u64, at: EventTime) -> Option<Entry> {
        let ListChange { list, value, action, note, by } = change;
        match action {
            Action::Add { until } => {
                let entry =
                    Entry { until: *until, note: note.clone(), by: by.clone(), added_at: at, sequence };
                self.put(list, value.clone(), entry)
            }
            Action::Remove => self.remove(list, value),
        }
    }

    /// Puts an entry in place of what stood there.
    pub fn put(&mut self, list: &str, value: Box<str>, entry: Entry) -> Option<Entry> {
        if !self.lists.contains_key(list) {
            self.lists.insert(list.into(), Entries::new_sync());
        }
        let entries = self.lists.get_mut(list)?;
        let before = entries.get(&*value).cloned();
        entries.insert_mut(value, entry);
        self.len += usize::from(before.is_none());
        before
    }

    fn remove(&mut self, list: &str, value: &str) -> Option<Entry> {
        let entries = self.lists.get_mut(list)?;
        let before = entries.get(value).cloned()?;
        entries.remove_mut(value);
        if entries.is_empty() {
            self.lists.remove(list);
        }
        self.len -= 1;
        Some(before)
    }

    /// Takes off every entry whose value is one of those, from every list; says how many.
    pub fn remove_values(&mut self, is_one: impl Fn(&str) -> bool) -> usize {
        let found: Vec<Listed> = self
            .iter()
            .filter(|(_, value, _)| is_one(value))
            .map(|(list, value, _)| Listed { list: list.into(), value: value.into() })
            .collect();
        for Listed { list, value } in &found {
            self.remove(list, value);
        }
        found.len()
    }

    /// Up to `count` entries that no longer count at any moment from `before` on.
    pub fn expired(&self, before: EventTime, count: usize) -> Vec<Listed> {
        let is_over = |(_, _, entry): &(&str, &str, &Entry)| entry.until.is_some_and(|until| until <= before);
        let listed = |(list, value, _): (&str, &str, _)| Listed { list: list.into(), value: value.into() };
        self.iter().filter(is_over).map(listed).take(count).collect()
    }

    /// Takes those off that still are what `expired` said of them.
    pub fn remove_expired(&mut self, listed: &[Listed], before: EventTime) {
        for Listed { list, value } in listed {
            if self.entry(list, value).and_then(|entry| entry.until).is_some_and(|until| until <= before) {
                self.remove(list, value);
            }
        }
    }
}

#[cfg(test)]
#[path = "run_time_tests.rs"]
mod tests;
