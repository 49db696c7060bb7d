//! What is remembered of one key: its events, sorted by time, and the reads over them.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::domain::money::Currency;
use crate::domain::time::EventTime;
use crate::domain::transaction::Location;
use crate::window::aggregate::{Amounts, Distinct};
use crate::window::layout::Stream;
use crate::window::plan::{EntityReads, Measure, Since, SinceRead, StreamReads};

/// Most events of one key and stream. Above it the oldest are dropped and counted, and counts are lower bounds.
pub const EVENTS_PER_KEY_MAX: usize = 16_384;

/// One counted attempt or outcome.
#[derive(Clone, Debug)]
pub struct Event {
    at: EventTime,
    minor: i64,
    currency: Currency,
    attributes: SmallVec<[u64; 6]>,
}

impl Event {
    /// An event with hashes of its attributes; outcomes need none.
    pub fn new(at: EventTime, minor: i64, currency: Currency, attributes: &[u64]) -> Self {
        Self { at, minor, currency, attributes: attributes.into() }
    }
}

/// The present attempt, as one entity sees it.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// When.
    pub at: EventTime,
    /// How much, in minor units.
    pub minor: i64,
    /// In which currency: amounts are read in this one.
    pub currency: Currency,
    /// Where.
    pub location: Option<Location>,
    /// The entity's attributes.
    pub attributes: &'a [u64],
    /// Whether the key's events hold it already.
    pub is_stored: bool,
}

/// What became of an insertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inserted {
    /// It was too late to be added.
    pub is_late: bool,
    /// How many old events made room because there were too many.
    pub truncated: u64,
    /// By how many the number of events held has changed.
    pub events_change: i64,
}

/// One key's events.
#[derive(Debug, Default)]
pub struct Profile {
    attempts: VecDeque<Event>,
    approved: VecDeque<Event>,
    declined: VecDeque<Event>,
    labels: VecDeque<(EventTime, bool)>,
    located: VecDeque<(EventTime, Location)>,
    first_at: Option<EventTime>,
}

impl Profile {
    /// The newest attempt's time.
    pub fn newest_at(&self) -> Option<EventTime> {
        self.attempts.back().map(|event| event.at)
    }

    /// Whether an attempt of that moment and amount is held.
    pub fn holds(&self, at: EventTime, minor: i64, currency: Currency) -> bool {
        let start = self.attempts.partition_point(|event| event.at < at);
        self.attempts
            .range(start..)
            .take_while(|event| event.at == at)
            .any(|event| event.minor == minor && event.currency == currency)
    }

    /// How many events are held.
    pub fn events(&self) -> usize {
        self.attempts.len() + self.approved.len() + self.declined.len() + self.labels.len()
    }

    /// Adds an attempt at its time, unless it is more than `longest_window_ms` behind the newest.
    pub fn add_attempt(
        &mut self,
        event: Event,
        location: Option<Location>,
        longest_window_ms: i64,
    ) -> Inserted {
        let before = self.events();
        let at = event.at;
        if self.newest_at().is_some_and(|newest| newest.millis_since(at) > longest_window_ms) {
            return Inserted { is_late: true, ..Inserted::default() };
        }
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        insert_sorted(&mut self.attempts, event, |event| event.at);
        if let Some(location) = location {
            insert_sorted(&mut self.located, (at, location), |located| located.0);
        }
        self.finish(before, longest_window_ms)
    }

    /// Adds an outcome at its transaction's time.
    pub fn add_outcome(&mut self, stream: Stream, event: Event, longest_window_ms: i64) -> Inserted {
        let before = self.events();
        let events = if stream == Stream::Approved { &mut self.approved } else { &mut self.declined };
        insert_sorted(events, event, |event| event.at);
        self.finish(before, longest_window_ms)
    }

    /// Adds a label at its own time.
    pub fn add_label(&mut self, at: EventTime, fraud: bool, longest_window_ms: i64) -> Inserted {
        let before = self.events();
        insert_sorted(&mut self.labels, (at, fraud), |label| label.0);
        self.finish(before, longest_window_ms)
    }

    /// Drops what no read can reach: twice the longest window behind the newest event of its stream, so that a read as of any
    /// time that may still be added sees all of its window.
    fn finish(&mut self, events_before: usize, longest_window_ms: i64) -> Inserted {
        let keep_ms = longest_window_ms.saturating_mul(2);
        let truncated = [&mut self.attempts, &mut self.approved, &mut self.declined]
            .into_iter()
            .map(|events| prune(events, |event| event.at, keep_ms))
            .sum::<u64>()
            + prune(&mut self.labels, |label| label.0, keep_ms);
        prune(&mut self.located, |located| located.0, keep_ms);
        let change = self.events() as i128 - events_before as i128;
        Inserted { is_late: false, truncated, events_change: i64::try_from(change).unwrap_or(0) }
    }

    /// Writes every read of the entity into `out`.
    pub(super) fn read(&self, reads: &EntityReads, present: &Present<'_>, ttl_ms: i64, out: &mut [f64]) {
        for stream in &reads.streams {
            match stream.stream {
                Stream::Attempts => read_attempts(&self.attempts, stream, present, out),
                Stream::Approved => read_outcomes(&self.approved, stream, present, out),
                Stream::Declined => read_outcomes(&self.declined, stream, present, out),
                Stream::Labels => read_labels(&self.labels, stream, present.at, out),
            }
        }
        for since in &reads.since {
            out[since.output] = self.read_since(*since, present, ttl_ms);
        }
    }

    fn read_since(&self, read: SinceRead, present: &Present<'_>, ttl_ms: i64) -> f64 {
        let within_ttl = |at: &EventTime| present.at.millis_since(*at) <= ttl_ms;
        match read.since {
            Since::LastSeconds => {
                let last = before(&self.attempts, |event| event.at, present).map(|event| event.at);
                last.filter(within_ttl).map_or(f64::NAN, |at| seconds(present.at.millis_since(at)))
            }
            Since::FirstSeconds => {
                let first = self.first_at.filter(|first| *first <= present.at);
                let first = if present.is_stored && self.attempts.len() == 1 { None } else { first };
                first.map_or(f64::NAN, |at| seconds(present.at.millis_since(at)))
            }
            Since::SpeedKmh | Since::DistanceKm => {
                let Some(here) = present.location else { return f64::NAN };
                let last =
                    before(&self.located, |located| located.0, present).filter(|(at, _)| within_ttl(at));
                let Some((at, there)) = last else { return f64::NAN };
                let distance_km = there.distance_km(here);
                if read.since == Since::DistanceKm {
                    return distance_km;
                }
                distance_km / (seconds(present.at.millis_since(*at)).max(1.0) / 3_600.0)
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a year are far below 2^53")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts are bounded by EVENTS_PER_KEY_MAX")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Inserts behind everything that is not later.
fn insert_sorted<T>(events: &mut VecDeque<T>, event: T, at: impl Fn(&T) -> EventTime) {
    let time = at(&event);
    if events.back().is_none_or(|newest| at(newest) <= time) {
        events.push_back(event);
    } else {
        let position = events.partition_point(|known| at(known) <= time);
        events.insert(position, event);
    }
}

/// Drops what is out of reach, then the oldest above the bound; how many of the latter.
fn prune<T>(events: &mut VecDeque<T>, at: impl Fn(&T) -> EventTime, keep_ms: i64) -> u64 {
    let Some(newest) = events.back().map(&at) else { return 0 };
    while events.front().is_some_and(|oldest| newest.millis_since(at(oldest)) > keep_ms) {
        events.pop_front();
    }
    let mut truncated = 0;
    while events.len() > EVENTS_PER_KEY_MAX {
        events.pop_front();
        truncated += 1;
    }
    truncated
}

/// The latest event at or before the present attempt, other than itself.
fn before<'a, T>(
    events: &'a VecDeque<T>,
    at: impl Fn(&T) -> EventTime,
    present: &Present<'_>,
) -> Option<&'a T> {
    let end = events.partition_point(|event| at(event) <= present.at);
    let end = if present.is_stored { end.checked_sub(1)? } else { end };
    end.checked_sub(1).and_then(|last| events.get(last))
}

/// The events in (t - longest window, t], newest first.
fn newest_first<'a, T>(
    events: &'a VecDeque<T>,
    at: impl Fn(&T) -> EventTime + Copy + 'a,
    now: EventTime,
    longest_ms: i64,
) -> impl Iterator<Item = &'a T> {
    let end = events.partition_point(|event| at(event) <= now);
    events.range(..end).rev().take_while(move |event| now.millis_since(at(event)) < longest_ms)
}

fn read_attempts(events: &VecDeque<Event>, reads: &StreamReads, present: &Present<'_>, out: &mut [f64]) {
    let mut totals = Totals::new(reads);
    if !present.is_stored {
        totals.add(present.minor, present.currency, present.attributes, present.currency);
    }
    let longest_ms = reads.windows.last().map_or(0, |window| window.length_ms);
    let mut events = newest_first(events, |event| event.at, present.at, longest_ms).peekable();
    for window in &reads.windows {
        while let Some(event) = events.next_if(|event| present.at.millis_since(event.at) < window.length_ms) {
            totals.add(event.minor, event.currency, &event.attributes, present.currency);
        }
        for (measure, output) in &window.reads {
            out[*output] = totals.value(*measure, present);
        }
    }
}

fn read_outcomes(events: &VecDeque<Event>, reads: &StreamReads, present: &Present<'_>, out: &mut [f64]) {
    let stored = Present { is_stored: true, ..*present };
    read_attempts(events, reads, &stored, out);
}

fn read_labels(labels: &VecDeque<(EventTime, bool)>, reads: &StreamReads, now: EventTime, out: &mut [f64]) {
    let longest_ms = reads.windows.last().map_or(0, |window| window.length_ms);
    let mut labels = newest_first(labels, |label| label.0, now, longest_ms).peekable();
    let (mut all, mut fraud) = (0, 0);
    for window in &reads.windows {
        while let Some((_, is_fraud)) = labels.next_if(|(at, _)| now.millis_since(*at) < window.length_ms) {
            all += 1;
            fraud += usize::from(*is_fraud);
        }
        for (measure, output) in &window.reads {
            out[*output] = match measure {
                Measure::FraudCount => count(fraud),
                Measure::FraudRate if all == 0 => f64::NAN,
                Measure::FraudRate => count(fraud) / count(all),
                _ => count(all),
            };
        }
    }
}

/// What has been passed so far, from the newest back.
struct Totals {
    all: usize,
    amounts: Amounts,
    distinct: SmallVec<[(u8, Distinct); 4]>,
}

impl Totals {
    fn new(reads: &StreamReads) -> Self {
        let distinct = reads.attributes.iter().map(|attribute| (*attribute, Distinct::default())).collect();
        Self { all: 0, amounts: Amounts::default(), distinct }
    }

    fn add(&mut self, minor: i64, currency: Currency, attributes: &[u64], wanted: Currency) {
        self.all += 1;
        if currency == wanted {
            self.amounts.add(minor);
        }
        for (attribute, distinct) in &mut self.distinct {
            distinct.add(attributes.get(usize::from(*attribute)).copied().unwrap_or(0));
        }
    }

    fn value(&self, measure: Measure, present: &Present<'_>) -> f64 {
        let currency = present.currency;
        match measure {
            Measure::Count | Measure::FraudCount | Measure::FraudRate => count(self.all),
            Measure::Sum => self.amounts.sum(currency),
            Measure::Mean => self.amounts.mean(currency),
            Measure::Stddev => self.amounts.stddev(currency),
            Measure::Min => self.amounts.min(currency),
            Measure::Max => self.amounts.max(currency),
            Measure::ZScore => self.amounts.without(present.minor).zscore(present.minor, currency),
            Measure::Distinct { attribute } => {
                let found = self.distinct.iter().find(|(known, _)| *known == attribute);
                found.map_or(f64::NAN, |(_, distinct)| count(distinct.len()))
            }
        }
    }
}
