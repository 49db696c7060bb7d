//! The oracle that the store is held against: plain lists of everything that was ever added, and every number recomputed
//! from them. It tells events apart by the identity of their transaction, which the store does not know.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::money::{Currency, Money, minor_to_major};
use crate::domain::time::EventTime;
use crate::window::event::{Attempt, Key, Presence};
use crate::window::layout::{Layout, OutcomeStream, Stream, millis};
use crate::window::place::Place;
use crate::window::plan::{Measure, SinceMeasure, SinceRead, WindowRead};

/// One entry of a key's list.
#[derive(Clone, Debug)]
struct Entry {
    stream: Stream,
    transaction: Option<usize>,
    at: i64,
    amount: Option<Money>,
    place: Option<Place>,
    attributes: Vec<u64>,
    fraud: bool,
}

/// The whole of history, key by key.
pub(crate) struct Oracle {
    layout: Arc<Layout>,
    entries: HashMap<(usize, Key), Vec<Entry>>,
}

impl Oracle {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        Self { layout, entries: HashMap::new() }
    }

    /// What `WindowStore::observe` must write.
    pub(crate) fn observe(
        &mut self,
        (windows, since): (&[WindowRead], &[SinceRead]),
        transaction: usize,
        attempt: &Attempt,
        presence: Presence,
        outputs: usize,
    ) -> Vec<f64> {
        let mut out = vec![f64::NAN; outputs];
        for read in windows {
            if let Some((history, present)) = self.visible(usize::from(read.entity), transaction, attempt) {
                out[read.output] = window(read, &history, &present);
            }
        }
        for read in since {
            out[read.output] = self.since(read, transaction, attempt, presence).unwrap_or(f64::NAN);
        }
        if presence == Presence::Add {
            for entity in 0..self.layout.entities.len() {
                let entry = self.entry(entity, transaction, attempt, Stream::Attempts);
                self.push(entity, attempt.keys[entity], entry);
            }
        }
        out
    }

    pub(crate) fn record_outcome(&mut self, stream: OutcomeStream, transaction: usize, attempt: &Attempt) {
        let stream = match stream {
            OutcomeStream::Approved => Stream::Approved,
            OutcomeStream::Declined => Stream::Declined,
        };
        for entity in 0..self.layout.entities.len() {
            let entry = self.entry(entity, transaction, attempt, stream);
            self.push(entity, attempt.keys[entity], entry);
        }
    }

    pub(crate) fn record_label(&mut self, keys: &[Option<Key>], at: EventTime, fraud: bool) {
        for (entity, key) in keys.iter().enumerate() {
            let entry = Entry {
                stream: Stream::Labels,
                transaction: None,
                at: at.unix_millis(),
                amount: None,
                place: None,
                attributes: vec![],
                fraud,
            };
            self.push(entity, *key, entry);
        }
    }

    /// Forgets every key of which the store says so.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(usize, Key) -> bool) {
        self.entries.retain(|&(entity, key), _| !is_gone(entity, key));
    }

    fn entry(&self, entity: usize, transaction: usize, attempt: &Attempt, stream: Stream) -> Entry {
        let offset = self.layout.attribute_offset(entity);
        let attributes = (0..self.layout.entities[entity].attributes.len())
            .map(|attribute| attempt.attributes.get(offset + attribute).copied().unwrap_or(0))
            .collect();
        Entry {
            stream,
            transaction: Some(transaction),
            at: attempt.at.unix_millis(),
            amount: Some(attempt.amount),
            place: attempt.location.and_then(Place::of),
            attributes,
            fraud: false,
        }
    }

    fn longest_ms(&self, entity: usize) -> i64 {
        millis(self.layout.entities[entity].longest_window)
    }

    fn forgotten_after_ms(&self, entity: usize) -> i64 {
        let longest_ms = self.longest_ms(entity);
        longest_ms + longest_ms.max(millis(self.layout.entities[entity].ttl))
    }

    fn is_forgotten(entries: &[Entry], at: i64, after_ms: i64) -> bool {
        entries.iter().map(|entry| entry.at).max().is_some_and(|last| at - last > after_ms)
    }

    /// What is known of a key as of a moment.
    fn known(&self, entity: usize, key: Key, at: i64) -> &[Entry] {
        let entries = self.entries.get(&(entity, key)).map_or(&[] as &[Entry], Vec::as_slice);
        if Self::is_forgotten(entries, at, self.forgotten_after_ms(entity)) { &[] } else { entries }
    }

    fn newest(entries: &[Entry]) -> Option<i64> {
        entries.iter().filter(|entry| entry.stream == Stream::Attempts).map(|entry| entry.at).max()
    }

    /// Adds, unless the newest attempt is more than the longest window ahead.
    fn push(&mut self, entity: usize, key: Option<Key>, entry: Entry) {
        let Some(key) = key else { return };
        let longest_ms = self.longest_ms(entity);
        let forgotten_after_ms = self.forgotten_after_ms(entity);
        let entries = self.entries.entry((entity, key)).or_default();
        if Self::is_forgotten(entries, entry.at, forgotten_after_ms) {
            entries.clear();
        }
        if Self::newest(entries).is_none_or(|newest| newest - entry.at <= longest_ms) {
            entries.push(entry);
        }
    }

    /// Events of other transactions that the attempt can see, and the attempt itself. A late one sees only what is kept.
    fn visible(&self, entity: usize, transaction: usize, attempt: &Attempt) -> Option<(Vec<&Entry>, Entry)> {
        let key = attempt.keys[entity]?;
        let present = self.entry(entity, transaction, attempt, Stream::Attempts);
        let entries = self.known(entity, key, present.at);
        let longest_ms = self.longest_ms(entity);
        let kept_after = match Self::newest(entries) {
            Some(newest) if newest - present.at > longest_ms => newest - 2 * longest_ms,
            _ => i64::MIN,
        };
        let visible = entries.iter().filter(|entry| {
            entry.transaction != Some(transaction) && entry.at <= present.at && entry.at > kept_after
        });
        Some((visible.collect(), present))
    }

    fn since(
        &self,
        read: &SinceRead,
        transaction: usize,
        attempt: &Attempt,
        presence: Presence,
    ) -> Option<f64> {
        let (entity, at) = (usize::from(read.entity), attempt.at.unix_millis());
        let key = attempt.keys[entity]?;
        let all = self.known(entity, key, at);
        let attempts: Vec<&Entry> = all.iter().filter(|entry| entry.stream == Stream::Attempts).collect();
        let kept_after = Self::newest(all).map_or(i64::MIN, |newest| newest - 2 * self.longest_ms(entity));
        let earlier = |after: i64| {
            let visible =
                attempts.iter().filter(move |entry| entry.at > after.max(kept_after) && entry.at <= at);
            visible.filter(|entry| entry.transaction != Some(transaction)).copied()
        };
        match read.measure {
            SinceMeasure::SecondsSinceFirst => {
                let first_at = all.iter().map(|entry| entry.at).min().map_or(at, |first| first.min(at));
                return Some((at - first_at) as f64 / 1_000.0);
            }
            SinceMeasure::SessionCount { gap } | SinceMeasure::SessionSeconds { gap } => {
                let mut times: Vec<i64> = earlier(i64::MIN).map(|entry| entry.at).collect();
                times.sort_unstable();
                times.push(at);
                let pause = times.windows(2).rposition(|pair| pair[1] - pair[0] > millis(gap));
                let session = &times[pause.map_or(0, |pause| pause + 1)..];
                return Some(match read.measure {
                    SinceMeasure::SessionCount { .. } => session.len() as f64,
                    _ => (at - session[0]) as f64 / 1_000.0,
                });
            }
            SinceMeasure::SmallBeforeLarge { window, small, large } => {
                let currency = attempt.amount.currency();
                if attempt.amount.minor() < large.minor(currency) {
                    return Some(0.0);
                }
                let amounts = earlier(at - millis(window)).filter_map(|entry| entry.amount);
                let is_small =
                    |amount: &Money| amount.currency() == currency && amount.minor() <= small.minor(currency);
                return Some(amounts.filter(is_small).count() as f64);
            }
            _ => {}
        }
        let needs_location = !matches!(read.measure, SinceMeasure::SecondsSinceLast);
        let candidates: Vec<&Entry> =
            attempts.iter().copied().filter(|entry| !needs_location || entry.place.is_some()).collect();
        // Of what is no longer kept, only the latest is still known. That matters to late reads only.
        let (gone, mut known): (Vec<&Entry>, Vec<&Entry>) =
            candidates.into_iter().partition(|entry| entry.at <= kept_after);
        let latest_gone = gone.into_iter().max_by_key(|entry| entry.at);
        // Only the time and the place are known then, so a repeat cannot tell it from itself.
        let place = attempt.location.and_then(Place::of);
        let may_be_own = |entry: &Entry| {
            presence == Presence::Counted && entry.at == at && (!needs_location || entry.place == place)
        };
        known.extend(latest_gone.filter(|gone| !may_be_own(gone)));
        let last = known
            .into_iter()
            .filter(|entry| entry.transaction != Some(transaction) && entry.at <= at)
            .max_by_key(|entry| entry.at)?;
        let millis_since = at - last.at;
        if millis_since > millis(self.layout.entities[entity].ttl) {
            return None;
        }
        if !needs_location {
            return Some(millis_since as f64 / 1_000.0);
        }
        let km = last.place?.distance_km(attempt.location.and_then(Place::of)?);
        match read.measure {
            SinceMeasure::DistanceKm => Some(km),
            _ => Some(km * 3_600_000.0 / millis_since.max(1_000) as f64),
        }
    }
}

/// One number over the events that an attempt can see.
fn window(read: &WindowRead, history: &[&Entry], present: &Entry) -> f64 {
    let after = present.at - millis(read.window);
    let earlier: Vec<&Entry> =
        history.iter().copied().filter(|entry| entry.stream == read.stream && entry.at > after).collect();
    let mut all = earlier.clone();
    if read.stream == Stream::Attempts {
        all.push(present);
    }
    let currency = present.amount.expect("an attempt has an amount").currency();
    let minors = |entries: &[&Entry]| -> Vec<i128> {
        let amounts = entries.iter().filter_map(|entry| entry.amount);
        amounts.filter(|amount| amount.currency() == currency).map(|amount| amount.minor().into()).collect()
    };
    let frauds = all.iter().filter(|entry| entry.fraud).count() as f64;
    match read.measure {
        Measure::Count => all.len() as f64,
        Measure::Distinct { attribute } => {
            let mut values: Vec<u64> = all
                .iter()
                .map(|entry| entry.attributes[usize::from(attribute)])
                .filter(|&v| v != 0)
                .collect();
            values.sort_unstable();
            values.dedup();
            values.len() as f64
        }
        Measure::FraudCount => frauds,
        Measure::FraudRate if all.is_empty() => f64::NAN,
        Measure::FraudRate => frauds / all.len() as f64,
        Measure::ZScore => {
            zscore(&minors(&earlier), present.amount.map_or(0, |amount| amount.minor().into()))
        }
        measure => over_amounts(measure, &minors(&all), currency),
    }
}

fn over_amounts(measure: Measure, minors: &[i128], currency: Currency) -> f64 {
    let divisor = minors.len() as f64 * currency.minor_per_major() as f64;
    let total: i128 = minors.iter().sum();
    let to_major = |minor: Option<&i128>| minor.map_or(f64::NAN, |&minor| minor_to_major(minor, currency));
    match measure {
        Measure::Sum => minor_to_major(total, currency),
        Measure::Min => to_major(minors.iter().min()),
        Measure::Max => to_major(minors.iter().max()),
        _ if minors.is_empty() => f64::NAN,
        Measure::Mean => total as f64 / divisor,
        Measure::Stddev => (pairwise(minors) as f64).sqrt() / divisor,
        other => panic!("{other:?} is not over amounts"),
    }
}

fn zscore(minors: &[i128], present: i128) -> f64 {
    let spread = pairwise(minors);
    if minors.len() < 2 || spread == 0 {
        return f64::NAN;
    }
    let above: i128 = minors.iter().map(|minor| present - minor).sum();
    above as f64 / (spread as f64).sqrt()
}

/// The squared differences of all pairs: n^2 times the variance, by its other definition.
fn pairwise(minors: &[i128]) -> i128 {
    let mut total = 0;
    for (position, a) in minors.iter().enumerate() {
        total += minors[..position].iter().map(|b| (a - b) * (a - b)).sum::<i128>();
    }
    total
}
