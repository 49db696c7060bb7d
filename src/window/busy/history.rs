//! What is held of one busy key.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::window::block::insert::Incoming;
use crate::window::block::view::View;
use crate::window::busy::groups::{GroupReader, Groups};
use crate::window::busy::values::Values;
use crate::window::compiled::{EntityPlan, counted};
use crate::window::context::KeyContext;
use crate::window::event::{Event, Present, flag, outcome_flag};
use crate::window::layout::{OutcomeStream, Outcomes, Streams, millis};
use crate::window::limits::Limits;
use crate::window::place::Place;
use crate::window::prefetch::prefetch;
use crate::window::read::{Since, write_since};
use crate::window::spans::Spans;
use crate::window::tally::Tally;

/// Currencies that a busy key has lanes for before it looks which of them have gone out of use.
const LANES_KEPT: usize = 4;

/// The history of a busy key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Busy {
    check_bits: u32,
    first_at: i64,
    /// The latest event of any kind.
    last_at: i64,
    newest_attempt_at: Option<i64>,
    lanes: SmallVec<[Lane; 1]>,
    labels: Option<Groups>,
    /// By attribute.
    values: Box<[Values]>,
    /// The newest transactions, in the order of their time: attempts, and outcomes whose attempts are not held.
    recent: VecDeque<Recent>,
    /// Whether any has left `recent`.
    recent_is_cut: bool,
    /// The newest places, in the order of their time.
    places: VecDeque<(i64, Place)>,
}

/// The transactions in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lane {
    currency: u8,
    attempts: Groups,
    approved: Option<Groups>,
    declined: Option<Groups>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Recent {
    at: i64,
    minor: i64,
    tag: u16,
    flags: u8,
    currency: u8,
}

impl Lane {
    fn newest_at(&self) -> Option<i64> {
        let outcomes = self.approved.iter().chain(&self.declined).filter_map(Groups::newest_at);
        self.attempts.newest_at().into_iter().chain(outcomes).max()
    }
}

impl Recent {
    const fn is_attempt(&self) -> bool {
        self.flags & flag::ATTEMPT != 0
    }
}

/// Where an attempt falls among the events of a busy key.
struct Seen<'a> {
    busy: &'a Busy,
    at: i64,
    /// Recent ones from here on are later; known once it is needed.
    end: usize,
    /// Its own event, when it is a repeat.
    own: Option<usize>,
    /// Whether its own event is counted, known by itself or not.
    holds_own: bool,
    floor: i64,
}

impl Busy {
    /// All that a block knows.
    pub(crate) fn of_block(view: View<'_>, context: &KeyContext) -> Self {
        let KeyContext { entity, limits, .. } = context;
        let attributes = entity.attributes.iter();
        let mut busy = Self {
            check_bits: view.check_bits(),
            first_at: view.first_at(),
            last_at: view.last_at(),
            newest_attempt_at: None,
            lanes: SmallVec::new(),
            labels: entity.streams.labels.then(|| Groups::new(false, true)),
            values: attributes
                .map(|attribute| Values::new(limits.values_max, millis(attribute.longest_window)))
                .collect(),
            recent: VecDeque::new(),
            recent_is_cut: false,
            places: VecDeque::new(),
        };
        let mut values = Vec::new();
        for event in 0..view.len() {
            busy.add(&view.event(event, &mut values), context);
        }
        busy
    }

    pub(crate) const fn check_bits(&self) -> u32 {
        self.check_bits
    }

    pub(crate) const fn last_at(&self) -> i64 {
        self.last_at
    }

    pub(crate) const fn newest_attempt_at(&self) -> Option<i64> {
        self.newest_attempt_at
    }

    /// Asks the processor for what is read first.
    pub(crate) fn prefetch(&self) {
        for lane in &self.lanes {
            lane.attempts.prefetch();
            lane.approved.iter().chain(&lane.declined).for_each(Groups::prefetch);
        }
        self.labels.iter().for_each(Groups::prefetch);
        self.values.iter().for_each(Values::prefetch);
        self.recent.back().map(prefetch);
    }

    fn floor(&self, spans: Spans) -> i64 {
        self.newest_attempt_at.map_or(i64::MIN, |newest| newest - spans.retention_ms())
    }

    /// The lane of a currency. Above some, those go in which nothing counts any more: at most one is left for each currency.
    fn lane(&mut self, currency: u8, streams: Streams, floor: i64) -> &mut Lane {
        let known = self.lanes.iter().position(|lane| lane.currency == currency);
        if known.is_none() && self.lanes.len() >= LANES_KEPT {
            self.lanes.retain(|lane| lane.newest_at().is_some_and(|newest| newest > floor));
        }
        let position = known.unwrap_or_else(|| {
            let kept = |outcomes| match outcomes {
                Outcomes::Forgotten => None,
                Outcomes::Counted => Some(Groups::new(false, false)),
                Outcomes::WithAmounts => Some(Groups::new(true, false)),
            };
            self.lanes.push(Lane {
                currency,
                attempts: Groups::new(true, false),
                approved: kept(streams.approved),
                declined: kept(streams.declined),
            });
            self.lanes.len() - 1
        });
        &mut self.lanes[position]
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, incoming: &Incoming<'_>, context: &KeyContext) {
        let limits = &context.limits;
        let &Incoming { at, minor, flags, .. } = incoming;
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
        if flags & flag::LABEL != 0 {
            let floor = self.floor(context.spans);
            if let Some(labels) = &mut self.labels {
                labels.add(at, 0, flags & flag::FRAUD != 0, floor, limits);
            }
            return;
        }
        if flags & flag::ATTEMPT != 0 {
            self.newest_attempt_at = self.newest_attempt_at.max(Some(at));
            let floor = self.floor(context.spans);
            self.lane(incoming.currency, context.entity.streams, floor)
                .attempts
                .add(at, minor, false, floor, limits);
            for (values, &value) in self.values.iter_mut().zip(incoming.values) {
                if value != 0 {
                    values.add(value, at);
                }
            }
        }
        self.remember(incoming, limits);
        for stream in [OutcomeStream::Approved, OutcomeStream::Declined] {
            if flags & outcome_flag(stream) != 0 {
                self.add_to_stream(stream, incoming, context);
            }
        }
    }

    fn remember(&mut self, incoming: &Incoming<'_>, limits: &Limits) {
        let recent = Recent {
            at: incoming.at,
            minor: incoming.minor,
            tag: incoming.tag,
            flags: incoming.flags,
            currency: incoming.currency,
        };
        let later = self.recent.iter().rev().take_while(|known| known.at > recent.at).count();
        self.recent.insert(self.recent.len() - later, recent);
        if self.recent.len() > limits.recent_attempts {
            self.recent.pop_front();
            self.recent_is_cut = true;
        }
        if let Some(place) = incoming.place {
            let position = self.places.partition_point(|&(known, _)| known <= recent.at);
            self.places.insert(position, (recent.at, place));
            if self.places.len() > limits.recent_places {
                self.places.pop_front();
            }
        }
    }

    /// Records how a transaction ended.
    pub(crate) fn add_outcome(
        &mut self,
        stream: OutcomeStream,
        incoming: &Incoming<'_>,
        context: &KeyContext,
    ) {
        self.last_at = self.last_at.max(incoming.at);
        self.first_at = self.first_at.min(incoming.at);
        let currency = incoming.currency;
        let identity = (incoming.minor, currency, incoming.tag);
        // Of true twins, one that has not ended yet.
        match self.find_recent(incoming.at, identity, |flags| flags & outcome_flag(stream) == 0) {
            Some(own) => self.recent[own].flags |= outcome_flag(stream),
            None => {
                let alone = Incoming { flags: outcome_flag(stream), place: None, ..*incoming };
                self.remember(&alone, &context.limits);
            }
        }
        self.add_to_stream(stream, incoming, context);
    }

    fn add_to_stream(&mut self, stream: OutcomeStream, incoming: &Incoming<'_>, context: &KeyContext) {
        let floor = self.floor(context.spans);
        let lane = self.lane(incoming.currency, context.entity.streams, floor);
        let groups = match stream {
            OutcomeStream::Approved => &mut lane.approved,
            OutcomeStream::Declined => &mut lane.declined,
        };
        if let Some(groups) = groups {
            groups.add(incoming.at, incoming.minor, false, floor, &context.limits);
        }
    }

    fn find_recent(&self, at: i64, identity: (i64, u8, u16), is_such: impl Fn(u8) -> bool) -> Option<usize> {
        let end = self.recent.partition_point(|known| known.at <= at);
        (0..end).rev().take_while(|&event| self.recent[event].at == at).find(|&event| {
            let known = self.recent[event];
            (known.minor, known.currency, known.tag) == identity && is_such(known.flags)
        })
    }

    /// Reads as of the present attempt.
    pub(crate) fn read(&self, present: &Present<'_>, plan: &EntityPlan, spans: Spans, out: &mut [f64]) {
        let mut seen = Seen::new(self, present, spans);
        if !plan.windows.is_empty() {
            seen.read_windows(present, plan, out);
        }
        if plan.since.is_empty() {
            return;
        }
        let later = self.recent.iter().rev().take_while(|known| known.at > present.event.at).count();
        seen.end = self.recent.len() - later;
        let since = Since {
            first_at: Some(self.first_at),
            last_at: seen.last_attempt_at(present.is_repeat),
            last_place: if plan.located { seen.last_place(present) } else { None },
            attempts: &|| seen.attempts(),
        };
        write_since(plan, present.event, spans, &since, out);
    }
}

/// The readers of one currency.
struct LaneReaders<'a> {
    is_present: bool,
    attempts: GroupReader<'a>,
    approved: Option<GroupReader<'a>>,
    declined: Option<GroupReader<'a>>,
}

impl<'a> Seen<'a> {
    fn new(busy: &'a Busy, present: &Present<'_>, spans: Spans) -> Self {
        let Event { at, minor, currency, tag, .. } = present.event;
        let floor = busy.floor(spans);
        let own = if present.is_repeat && at > floor {
            busy.find_recent(at, (minor, currency.position(), tag), |_| true)
        } else {
            None
        };
        // A repeat that is older than all that is known by itself was added earlier: so it is in a group.
        let is_older = busy.recent_is_cut && busy.recent.front().is_some_and(|oldest| at <= oldest.at);
        let own_is_attempt = own.is_some_and(|own| busy.recent[own].is_attempt());
        let holds_own = own_is_attempt || (present.is_repeat && own.is_none() && is_older && at > floor);
        Self { busy, at, end: 0, own, holds_own, floor }
    }

    /// Asks the processor for what the windows will need, so that it need not wait for one after the other.
    fn foresee(&self, at: i64, plan: &EntityPlan) {
        for window in &plan.windows {
            let start = (at - window.window_ms).max(self.floor);
            for lane in &self.busy.lanes {
                lane.attempts.foresee(start);
                if !window.counts.is_empty() {
                    lane.approved.iter().chain(&lane.declined).for_each(|groups| groups.foresee(start));
                }
            }
            self.busy.labels.iter().for_each(|groups| groups.foresee(start));
            if !window.distinct.is_empty() {
                self.busy.values.iter().for_each(|values| values.foresee(start));
            }
        }
    }

    fn read_windows(&self, present: &Present<'_>, plan: &EntityPlan, out: &mut [f64]) {
        let Event { at, minor, currency, .. } = present.event;
        self.foresee(at, plan);
        let own_flags = self.own.map_or(0, |own| self.busy.recent[own].flags);
        let mut readers: SmallVec<[LaneReaders<'_>; 2]> = self
            .busy
            .lanes
            .iter()
            .map(|lane| {
                let is_present = lane.currency == currency.position();
                let own = |flag| (is_present && own_flags & flag != 0).then_some(minor);
                let outcome = |groups: &'a Option<Groups>, flag| {
                    groups.as_ref().map(|groups| groups.reader(at, own(flag)))
                };
                LaneReaders {
                    is_present,
                    attempts: lane.attempts.reader(at, None),
                    approved: outcome(&lane.approved, flag::APPROVED),
                    declined: outcome(&lane.declined, flag::DECLINED),
                }
            })
            .collect();
        let mut labels = self.busy.labels.as_ref().map(|groups| groups.reader(at, None));
        let attributes: SmallVec<[(u32, Option<i64>, &Values); 8]> = plan
            .attributes
            .iter()
            .map(|&attribute| {
                let (value, values) =
                    (present.value(usize::from(attribute)), &self.busy.values[usize::from(attribute)]);
                (value, values.last_seen(value, at), values)
            })
            .collect();
        for window in &plan.windows {
            let start = (at - window.window_ms).max(self.floor);
            let mut tally = Tally::new(currency);
            let extremes = window.needs.extremes;
            for lane in &mut readers {
                let mut attempts = if lane.is_present && window.needs.amounts {
                    let attempts = lane.attempts.window(start, extremes);
                    tally.earlier = attempts.amounts;
                    attempts.count
                } else {
                    lane.attempts.count(start)
                };
                if lane.is_present && self.holds_own && attempts > 0 {
                    attempts -= 1;
                    tally.earlier.take_out(minor);
                }
                tally.counts[counted::ATTEMPTS] += attempts;
                for (reader, amounts, counted, flag) in [
                    (&mut lane.approved, &mut tally.approved, counted::APPROVED, flag::APPROVED),
                    (&mut lane.declined, &mut tally.declined, counted::DECLINED, flag::DECLINED),
                ] {
                    let Some(reader) = reader else { continue };
                    let count = &mut tally.counts[counted];
                    let is_own = lane.is_present && own_flags & flag != 0;
                    if lane.is_present && window.needs.outcome_amounts {
                        let outcomes = reader.window(start, extremes);
                        *count += outcomes.count;
                        *amounts = outcomes.amounts;
                    } else {
                        *count += reader.count(start);
                    }
                    if is_own && *count > 0 {
                        *count -= 1;
                        amounts.take_out(minor);
                    }
                }
            }
            if let Some(labels) = &mut labels {
                let labels = labels.window(start, false);
                tally.counts[counted::LABELS] = labels.count;
                tally.counts[counted::FRAUDS] = labels.marked;
            }
            let distinct = |attribute: usize| {
                let (value, last_seen, values) = attributes[attribute];
                values.count(start, at, value, last_seen)
            };
            tally.write(window, minor, distinct, out);
        }
    }

    /// Earlier attempts that are known by themselves and still count, the newest first, as (time, amount, currency).
    fn attempts(&self) -> impl Iterator<Item = (i64, i64, u8)> + '_ {
        let events = (0..self.end).rev().filter(|&event| Some(event) != self.own);
        events
            .map(|event| &self.busy.recent[event])
            .take_while(|recent| recent.at > self.floor)
            .filter(|recent| recent.is_attempt())
            .map(|recent| (recent.at, recent.minor, recent.currency))
    }

    /// The time of the latest earlier attempt. Of those that no longer count, only the latest is known.
    fn last_attempt_at(&self, is_repeat: bool) -> Option<i64> {
        let recent = &self.busy.recent;
        let is_other = |&event: &usize| Some(event) != self.own && recent[event].is_attempt();
        let Some(last) = (0..self.end).rev().find(is_other) else {
            let lanes = self.busy.lanes.iter();
            let last = lanes.filter_map(|lane| lane.attempts.last_at(self.at - 1)).max();
            return last.filter(|&last| last > self.floor);
        };
        if recent[last].at > self.floor {
            return Some(recent[last].at);
        }
        let may_be_own = is_repeat && self.own.is_none() && recent[last].at == self.at;
        let gone = recent.partition_point(|known| known.at <= self.floor);
        let latest_gone = (0..gone).rev().find(|&event| recent[event].is_attempt());
        (latest_gone == Some(last) && !may_be_own).then_some(recent[last].at)
    }

    /// The latest earlier place.
    fn last_place(&self, present: &Present<'_>) -> Option<(i64, Place)> {
        let own = present.event.place.filter(|_| self.own.is_some()).map(|place| (self.at, place));
        let places = &self.busy.places;
        let end = places.partition_point(|&(at, _)| at <= self.at);
        let own = own.and_then(|own| (0..end).rev().find(|&position| places[position] == own));
        let last = (0..end).rev().find(|&position| Some(position) != own)?;
        let (at, place) = places[last];
        let latest_gone = places.partition_point(|&(at, _)| at <= self.floor).checked_sub(1);
        let may_be_own = present.is_repeat && (at, Some(place)) == (self.at, present.event.place);
        let is_known = at > self.floor || (latest_gone == Some(last) && !may_be_own);
        is_known.then_some((at, place))
    }
}
