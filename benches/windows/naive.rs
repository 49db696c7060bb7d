//! What is held of one key in the straightforward way, and every number computed from it by one scan, newest event first.
//!
//! The semantics are those of the window room: as of the event's own time, sorted insertion, exact integer totals, late
//! events refused, old ones dropped after twice the longest window.

use std::collections::{HashSet, VecDeque};

use smallvec::SmallVec;
use tollgate::domain::money::{Currency, minor_to_major};
use tollgate::domain::transaction::Location;
use tollgate::window::event::Attempt;
use tollgate::window::layout::OutcomeStream;
use tollgate::window::plan::{Measure, SinceMeasure};

use super::reads::{CountRead, EVENTS_PER_KEY_MAX, EntityReads, millis};

/// One attempt, as it is held.
#[derive(Debug)]
struct Held {
    at: i64,
    minor: i64,
    currency: Currency,
    location: Option<Location>,
    attributes: SmallVec<[u64; 5]>,
}

/// One key. Of outcomes only counts are read, so their times are enough.
#[derive(Default, Debug)]
pub(crate) struct History {
    attempts: VecDeque<Held>,
    approved: VecDeque<i64>,
    declined: VecDeque<i64>,
    labels: VecDeque<(i64, bool)>,
    first_at: Option<i64>,
}

/// Different values: few in a list, many in a set. Kept from one scan to the next, so that scanning allocates nothing.
#[derive(Default, Debug)]
struct Distinct {
    few: Vec<u64>,
    many: HashSet<u64>,
}

impl Distinct {
    const FEW_MAX: usize = 16;

    fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }

    fn push(&mut self, value: u64) {
        if value == 0 {
            return;
        }
        if !self.many.is_empty() {
            self.many.insert(value);
        } else if !self.few.contains(&value) {
            self.few.push(value);
            if self.few.len() > Self::FEW_MAX {
                self.many.extend(self.few.drain(..));
            }
        }
    }

    fn count(&self) -> usize {
        self.few.len() + self.many.len()
    }
}

/// What one thread scans with.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    distinct: Vec<Distinct>,
}

/// Totals of the amounts in one currency.
#[derive(Clone, Copy)]
struct Amounts {
    count: i128,
    sum: i128,
    squares: i128,
    least: i64,
    most: i64,
}

impl Amounts {
    const NONE: Self = Self { count: 0, sum: 0, squares: 0, least: i64::MAX, most: i64::MIN };

    fn push(&mut self, minor: i64) {
        let amount = i128::from(minor);
        self.count += 1;
        self.sum += amount;
        self.squares += amount * amount;
        self.least = self.least.min(minor);
        self.most = self.most.max(minor);
    }

    fn variance(&self) -> i128 {
        self.count * self.squares - self.sum * self.sum
    }

    /// Never without an event: the present one is among them.
    fn number(&self, measure: Measure, currency: Currency) -> f64 {
        let divisor = self.count as f64 * currency.minor_per_major() as f64;
        match measure {
            Measure::Sum => minor_to_major(self.sum, currency),
            Measure::Mean => self.sum as f64 / divisor,
            Measure::Stddev => (self.variance() as f64).sqrt() / divisor,
            Measure::Min => minor_to_major(self.least.into(), currency),
            Measure::Max => minor_to_major(self.most.into(), currency),
            other => unreachable!("{other:?} is not over amounts"),
        }
    }

    /// Of the present amount against the earlier ones.
    fn zscore(&self, minor: i64) -> f64 {
        let variance = self.variance();
        if self.count < 2 || variance == 0 {
            return f64::NAN;
        }
        (self.count * i128::from(minor) - self.sum) as f64 / (variance as f64).sqrt()
    }
}

impl History {
    /// Every number of `reads` as of the attempt.
    pub(crate) fn read(
        &self,
        reads: &EntityReads,
        attempt: &Attempt,
        scratch: &mut Scratch,
        out: &mut [f64],
    ) {
        self.read_attempts(reads, attempt, scratch, out);
        let at = attempt.at.unix_millis();
        for (times, reads) in [(&self.approved, &reads.approved), (&self.declined, &reads.declined)] {
            for &CountRead { window_ms, output } in reads {
                let after = times.partition_point(|&time| time <= at - window_ms);
                out[output] = (times.partition_point(|&time| time <= at) - after) as f64;
            }
        }
        let in_window = |window_ms| {
            let labels = self.labels.iter().filter(move |(time, _)| *time <= at && *time > at - window_ms);
            labels.fold((0, 0), |(labels, frauds), (_, fraud)| (labels + 1, frauds + i32::from(*fraud)))
        };
        for &CountRead { window_ms, output } in &reads.fraud_counts {
            out[output] = f64::from(in_window(window_ms).1);
        }
        for &CountRead { window_ms, output } in &reads.fraud_rates {
            let (labels, frauds) = in_window(window_ms);
            out[output] = if labels == 0 { f64::NAN } else { f64::from(frauds) / f64::from(labels) };
        }
    }

    fn read_attempts(&self, reads: &EntityReads, attempt: &Attempt, scratch: &mut Scratch, out: &mut [f64]) {
        let (at, minor, currency) =
            (attempt.at.unix_millis(), attempt.amount.minor(), attempt.amount.currency());
        let (mut count, mut earlier) = (1, Amounts::NONE);
        scratch.distinct.resize_with(scratch.distinct.len().max(reads.attributes.len()), Distinct::default);
        for (distinct, value) in scratch.distinct.iter_mut().zip(own_attributes(reads, attempt)) {
            distinct.clear();
            distinct.push(value);
        }
        let (mut last_ms, mut travel) = (None, None);
        let mut windows = reads.windows.iter().enumerate();
        let mut open = windows.next();
        let end = self.attempts.partition_point(|held| held.at <= at);
        for held in self.attempts.range(..end).rev() {
            let age_ms = at - held.at;
            while let Some((_, window)) = open.filter(|(_, window)| age_ms >= window.window_ms) {
                write(window, count, &earlier, minor, currency, &scratch.distinct, out);
                open = windows.next();
            }
            if age_ms <= reads.ttl_ms {
                last_ms.get_or_insert(age_ms);
                if let (true, None, Some(here), Some(there)) =
                    (reads.is_located, travel, attempt.location, held.location)
                {
                    travel = Some((there.distance_km(here), age_ms));
                }
            }
            let Some((position, _)) = open else {
                let looks_further = reads.is_located && travel.is_none() && attempt.location.is_some();
                if looks_further && age_ms <= reads.ttl_ms {
                    continue;
                }
                break;
            };
            count += 1;
            if held.currency == currency {
                earlier.push(held.minor);
            }
            for ((distinct, &value), &windows) in
                scratch.distinct.iter_mut().zip(&held.attributes).zip(&reads.attributes)
            {
                if position < windows {
                    distinct.push(value);
                }
            }
        }
        while let Some((_, window)) = open {
            write(window, count, &earlier, minor, currency, &scratch.distinct, out);
            open = windows.next();
        }
        for read in &reads.since {
            let number = match read.measure {
                SinceMeasure::SecondsSinceLast => last_ms.map(|ms| ms as f64 / 1_000.0),
                SinceMeasure::SecondsSinceFirst => {
                    let first_at = self.first_at.map_or(at, |first_at| first_at.min(at));
                    Some((at - first_at) as f64 / 1_000.0)
                }
                SinceMeasure::SpeedKmh => travel.map(|(km, ms)| km * 3_600_000.0 / ms.max(1_000) as f64),
                SinceMeasure::DistanceKm => travel.map(|(km, _)| km),
                SinceMeasure::SessionCount { gap } => Some(self.session(end, at, millis(gap)).0),
                SinceMeasure::SessionSeconds { gap } => Some(self.session(end, at, millis(gap)).1),
                SinceMeasure::SmallBeforeLarge { window, small, large } => {
                    let (small, large) = (small.minor(currency), large.minor(currency));
                    let earlier = self.attempts.range(..end).rev();
                    let small_ones = earlier
                        .take_while(|held| at - held.at < millis(window))
                        .filter(|held| held.currency == currency && held.minor <= small);
                    Some(if minor < large { 0.0 } else { small_ones.count() as f64 })
                }
            };
            out[read.output] = number.unwrap_or(f64::NAN);
        }
    }

    /// Attempts of the running session and its seconds.
    fn session(&self, end: usize, at: i64, gap_ms: i64) -> (f64, f64) {
        let (mut count, mut first_at) = (1, at);
        for held in self.attempts.range(..end).rev() {
            if first_at - held.at > gap_ms {
                break;
            }
            (count, first_at) = (count + 1, held.at);
        }
        (f64::from(count), (at - first_at) as f64 / 1_000.0)
    }

    fn is_late(&self, at: i64, reads: &EntityReads) -> bool {
        self.attempts.back().is_some_and(|newest| newest.at - at > reads.longest_ms)
    }

    /// Adds an attempt.
    pub(crate) fn add(&mut self, reads: &EntityReads, attempt: &Attempt) {
        let at = attempt.at.unix_millis();
        if self.is_late(at, reads) {
            return;
        }
        self.first_at = Some(self.first_at.map_or(at, |first_at| first_at.min(at)));
        let held = Held {
            at,
            minor: attempt.amount.minor(),
            currency: attempt.amount.currency(),
            location: attempt.location.filter(|_| reads.is_located),
            attributes: own_attributes(reads, attempt).collect(),
        };
        insert(&mut self.attempts, held, |held| held.at);
        let newest = self.attempts.back().map_or(at, |newest| newest.at);
        let until = newest - 2 * reads.longest_ms;
        expire(&mut self.attempts, until, |held| held.at);
        expire(&mut self.approved, until, |&time| time);
        expire(&mut self.declined, until, |&time| time);
        expire(&mut self.labels, until, |&(time, _)| time);
    }

    /// Records how an attempt ended.
    pub(crate) fn add_outcome(&mut self, reads: &EntityReads, stream: OutcomeStream, at: i64) {
        if !self.is_late(at, reads) {
            let times = match stream {
                OutcomeStream::Approved => &mut self.approved,
                OutcomeStream::Declined => &mut self.declined,
            };
            insert(times, at, |&time| time);
        }
    }

    /// Records a label.
    pub(crate) fn add_label(&mut self, reads: &EntityReads, at: i64, fraud: bool) {
        if !self.is_late(at, reads) {
            insert(&mut self.labels, (at, fraud), |&(time, _)| time);
        }
    }
}

fn own_attributes(reads: &EntityReads, attempt: &Attempt) -> impl Iterator<Item = u64> {
    let from = reads.attribute_offset;
    attempt.attributes[from..from + reads.attributes.len()].iter().copied()
}

/// After all of the same or an earlier time. Above the bound the oldest goes.
fn insert<E>(events: &mut VecDeque<E>, event: E, time: impl Fn(&E) -> i64) {
    let at = time(&event);
    if events.back().is_none_or(|newest| time(newest) <= at) {
        events.push_back(event);
    } else {
        events.insert(events.partition_point(|held| time(held) <= at), event);
    }
    if events.len() > EVENTS_PER_KEY_MAX {
        events.pop_front();
    }
}

fn expire<E>(events: &mut VecDeque<E>, until: i64, time: impl Fn(&E) -> i64) {
    while events.front().is_some_and(|oldest| time(oldest) <= until) {
        events.pop_front();
    }
}

/// The numbers of one window: `earlier` and the present attempt.
fn write(
    window: &super::reads::Window,
    count: usize,
    earlier: &Amounts,
    minor: i64,
    currency: Currency,
    distinct: &[Distinct],
    out: &mut [f64],
) {
    let mut all = *earlier;
    all.push(minor);
    for &(measure, output) in &window.reads {
        out[output] = match measure {
            Measure::Count => count as f64,
            Measure::Distinct { attribute } => distinct[usize::from(attribute)].count() as f64,
            Measure::ZScore => earlier.zscore(minor),
            measure => all.number(measure, currency),
        };
    }
}
