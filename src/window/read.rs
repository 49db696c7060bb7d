//! Reading a block: one pass from the newest event to the oldest answers every window of every stream.

use std::ops::Range;

use smallvec::SmallVec;

use crate::window::block::look_up::LookUp;
use crate::window::block::rows::{BitCounts, Wanted};
use crate::window::block::view::View;
use crate::window::compiled::{EntityPlan, counted, write};
use crate::window::event::{Event, Present, flag};
use crate::window::place::Place;
use crate::window::plan::SinceMeasure;
use crate::window::spans::Spans;
use crate::window::tally::Tally;

/// Any flag of an event that belongs to a transaction.
const OF_TRANSACTION: u8 = flag::ATTEMPT | flag::APPROVED | flag::DECLINED;

/// Reads as of the present attempt, whose values have been looked up.
pub(crate) fn read_block(
    view: View<'_>,
    (present, look_up): (&Present<'_>, &LookUp),
    plan: &EntityPlan,
    spans: Spans,
    out: &mut [f64],
) {
    let event = present.event;
    let seen = Seen::new(view, present, spans);
    if !plan.windows.is_empty() {
        read_windows(&seen, (present, look_up), plan, out);
    }
    if plan.since.is_empty() {
        return;
    }
    let last_at = seen.last_attempt_at(present.is_repeat);
    let last_place = if plan.located { seen.last_place(present) } else { None };
    let first_at = Some(view.first_at());
    let attempts = || seen.attempts();
    write_since(plan, event, spans, &Since { first_at, last_at, last_place, attempts: &attempts }, out);
}

/// Writes what a key never seen has: the present attempt alone.
pub(crate) fn read_nothing(present: &Present<'_>, plan: &EntityPlan, spans: Spans, out: &mut [f64]) {
    let Event { minor, currency, .. } = present.event;
    let tally = Tally::new(currency);
    let different = |attribute: usize| u64::from(present.value(usize::from(plan.attributes[attribute])) != 0);
    for window in &plan.windows {
        tally.write(window, minor, different, out);
    }
    let since = Since { first_at: None, last_at: None, last_place: None, attempts: &std::iter::empty };
    write_since(plan, present.event, spans, &since, out);
}

/// What of a block an attempt can see.
struct Seen<'a> {
    view: View<'a>,
    at: i64,
    /// Events from here on are later than the attempt.
    end: usize,
    /// Its own event, when it is a repeat.
    own: Option<usize>,
    /// Events at or before this time no longer count; a late attempt could reach them.
    floor: i64,
}

impl<'a> Seen<'a> {
    fn new(view: View<'a>, present: &Present<'_>, spans: Spans) -> Self {
        let Event { at, minor, currency, tag, .. } = present.event;
        let floor = view.newest_attempt_at().map_or(i64::MIN, |newest| newest - spans.retention_ms());
        // What no longer counts may still be there; nothing that is read may depend on that.
        let own = if present.is_repeat && at > floor {
            view.find(at, (minor, currency.position(), tag), |flags| flags & OF_TRANSACTION != 0)
        } else {
            None
        };
        Self { view, at, end: view.count_until(at), own, floor }
    }

    /// Earlier attempts that still count, the newest first, as (time, amount, currency).
    fn attempts(&self) -> impl Iterator<Item = (i64, i64, u8)> + '_ {
        let events = (0..self.end).rev().filter(|&event| Some(event) != self.own);
        events
            .take_while(|&event| self.view.at(event) > self.floor)
            .filter(|&event| self.view.flags(event) & flag::ATTEMPT != 0)
            .map(|event| (self.view.at(event), self.view.minor(event), self.view.currency(event)))
    }

    /// The time of the latest earlier attempt. Of those that no longer count, only the latest is known.
    fn last_attempt_at(&self, is_repeat: bool) -> Option<i64> {
        let last = self.latest(|event| self.view.flags(event) & flag::ATTEMPT != 0)?;
        // Had the repeat's own event gone, the latest one gone at its very time might be itself.
        let may_be_own = |event: usize| is_repeat && self.own.is_none() && self.view.at(event) == self.at;
        (self.view.at(last) > self.floor || !may_be_own(last)).then(|| self.view.at(last))
    }

    /// The latest earlier place.
    fn last_place(&self, present: &Present<'_>) -> Option<(i64, Place)> {
        if !self.view.has_places() {
            return None;
        }
        let last = self.latest(|event| self.view.place(event).is_some())?;
        let (at, place) = (self.view.at(last), self.view.place(last));
        let may_be_own = present.is_repeat && (at, place) == (self.at, present.event.place);
        place.filter(|_| at > self.floor || !may_be_own).map(|place| (at, place))
    }

    /// The latest earlier event that is such, and that is still known.
    fn latest(&self, is_such: impl Fn(usize) -> bool) -> Option<usize> {
        let is_other = |event: &usize| Some(*event) != self.own;
        let found = (0..self.end).rev().filter(is_other).find(|&event| is_such(event))?;
        if self.view.at(found) > self.floor {
            return Some(found);
        }
        // It is known only if it is the latest of all that no longer count.
        let gone = self.view.count_until(self.floor);
        let latest_gone = (0..gone).rev().find(|&event| is_such(event));
        (latest_gone == Some(found)).then_some(found)
    }
}

/// Which events of a block are the last ones with their values, by `View::live`: of all, or as it was at an earlier time.
type Live<'a> = SmallVec<[&'a [u8]; 1]>;

fn read_windows(
    seen: &Seen<'_>,
    (present, look_up): (&Present<'_>, &LookUp),
    plan: &EntityPlan,
    out: &mut [f64],
) {
    let view = seen.view;
    let bytes = if plan.attributes.is_empty() { 0 } else { view.live_bytes() };
    // The event after the last one with the present value; a missing value counts for nothing, so its place is past all events.
    let seen_until = |&attribute: &u8| {
        let attribute = usize::from(attribute);
        let place = look_up.get(attribute).copied().unwrap_or_default();
        match present.value(attribute) {
            0 => usize::MAX,
            _ => view.seen_until_of(attribute, place, seen.end, seen.own).into(),
        }
    };
    let seen_until: SmallVec<[usize; 8]> = plan.attributes.iter().map(seen_until).collect();
    if seen.end == view.len() && seen.own.is_none() {
        let live = (0..bytes).map(|byte| view.live(byte)).collect();
        return write_windows(seen, present, plan, (live, &seen_until), out);
    }
    let earlier: SmallVec<[_; 1]> =
        (0..bytes).map(|byte| view.live_until(byte, seen.end, seen.own)).collect();
    let live = earlier.iter().map(|live| &**live).collect();
    write_windows(seen, present, plan, (live, &seen_until), out);
}

fn write_windows(
    seen: &Seen<'_>,
    present: &Present<'_>,
    plan: &EntityPlan,
    (live, seen_until): (Live<'_>, &[usize]),
    out: &mut [f64],
) {
    let Event { at, minor, currency, .. } = present.event;
    let rows = seen.view.rows();
    let mut tally = Tally::new(currency);
    let mut flags = BitCounts::default();
    let mut distinct: SmallVec<[BitCounts; 1]> = SmallVec::from_elem(BitCounts::default(), live.len());
    let mut first = seen.end;
    for window in &plan.windows {
        let start = (at - window.window_ms).max(seen.floor);
        let end = first;
        first = rows.count_until(start, end);
        if first < end {
            for part in without(first..end, seen.own).into_iter().filter(|part| !part.is_empty()) {
                let wanted =
                    |flag| Wanted { flag, currency: currency.position(), extremes: window.needs.extremes };
                for (live, counts) in live.iter().zip(&mut distinct) {
                    counts.add(live[part.clone()].iter().copied());
                }
                rows.count(part.clone(), &mut flags);
                if window.needs.amounts {
                    rows.add_amounts(part.clone(), wanted(flag::ATTEMPT), &mut tally.earlier);
                }
                if window.needs.outcome_amounts {
                    rows.add_amounts(part.clone(), wanted(flag::APPROVED), &mut tally.approved);
                    rows.add_amounts(part, wanted(flag::DECLINED), &mut tally.declined);
                }
            }
            for (count, bit) in tally.counts.iter_mut().zip(0..) {
                *count = flags.of(bit);
            }
            tally.counts[counted::ATTEMPTS] += 1;
        }
        let different = |attribute: usize| {
            let (number, seen_until) = (plan.attributes[attribute], seen_until[attribute]);
            distinct[usize::from(number / 8)].of(u32::from(number % 8)) + u64::from(seen_until <= first)
        };
        tally.write(window, minor, different, out);
    }
}

/// A range of positions in two parts, without one of them.
fn without(range: Range<usize>, own: Option<usize>) -> [Range<usize>; 2] {
    match own {
        Some(own) if range.contains(&own) => [range.start..own, own + 1..range.end],
        _ => [range.clone(), range.end..range.end],
    }
}

/// What the numbers about the order of attempts are taken from.
pub(crate) struct Since<'a, A> {
    /// When the key was first seen.
    pub(crate) first_at: Option<i64>,
    /// The latest earlier attempt.
    pub(crate) last_at: Option<i64>,
    /// The latest earlier place.
    pub(crate) last_place: Option<(i64, Place)>,
    /// Earlier attempts, the newest first, as (time, amount, currency).
    pub(crate) attempts: &'a dyn Fn() -> A,
}

/// Writes the numbers about the order of attempts.
#[expect(clippy::cast_precision_loss, reason = "spans in milliseconds are far below 2^53")]
pub(crate) fn write_since<A: Iterator<Item = (i64, i64, u8)>>(
    plan: &EntityPlan,
    event: Event,
    spans: Spans,
    since: &Since<'_, A>,
    out: &mut [f64],
) {
    let Event { at, minor, currency, place, .. } = event;
    let is_recent = |earlier: &i64| at - earlier <= spans.ttl_ms;
    let last_ms = since.last_at.filter(is_recent).map(|last| at - last);
    let travel = place.and_then(|here| {
        let (there_at, there) = since.last_place.filter(|(there_at, _)| is_recent(there_at))?;
        Some((there.distance_km(here), at - there_at))
    });
    let seconds = |millis: i64| millis as f64 / 1_000.0;
    for read in &plan.since {
        let number = match read.measure {
            SinceMeasure::SecondsSinceLast => last_ms.map(seconds),
            SinceMeasure::SecondsSinceFirst => {
                Some(seconds(at - since.first_at.map_or(at, |first| first.min(at))))
            }
            SinceMeasure::SpeedKmh => travel.map(|(km, millis)| km * 3_600_000.0 / millis.max(1_000) as f64),
            SinceMeasure::DistanceKm => travel.map(|(km, _)| km),
            SinceMeasure::SessionCount { gap } => Some(session((since.attempts)(), at, gap).0 as f64),
            SinceMeasure::SessionSeconds { gap } => {
                Some(seconds(at - session((since.attempts)(), at, gap).1))
            }
            SinceMeasure::SmallBeforeLarge { window, small, large } => {
                let (small, after) = (small.minor(currency), at - crate::window::layout::millis(window));
                let is_small = |&(_, minor, of): &(i64, i64, u8)| minor <= small && of == currency.position();
                let earlier = (since.attempts)().take_while(|&(then, _, _)| then > after);
                let count = if minor < large.minor(currency) { 0 } else { earlier.filter(is_small).count() };
                Some(count as f64)
            }
        };
        write(out, read.output, number.unwrap_or(f64::NAN));
    }
}

/// Attempts of the running session and the time of its first.
fn session(attempts: impl Iterator<Item = (i64, i64, u8)>, at: i64, gap: std::time::Duration) -> (u64, i64) {
    let gap_ms = crate::window::layout::millis(gap);
    let (mut count, mut first_at) = (1, at);
    for (then, _, _) in attempts {
        if first_at - then > gap_ms {
            break;
        }
        (count, first_at) = (count + 1, then);
    }
    (count, first_at)
}
