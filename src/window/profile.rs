//! What is held of one key: its streams, and what the last attempts are read from.

use crate::domain::transaction::Location;
use crate::window::aggregate::{Present, read_events, read_labels};
use crate::window::event::{Event, LabelEvent, LocatedEvent, Timed};
use crate::window::layout::{EntityLayout, OutcomeStream, Stream, millis};
use crate::window::log::Log;
use crate::window::plan::{EntityPlan, SinceRead, write};

/// The lengths of time that hold for every key of one entity, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub(crate) longest_ms: i64,
    pub(crate) ttl_ms: i64,
}

impl Spans {
    pub(crate) fn new(entity: &EntityLayout) -> Self {
        Self { longest_ms: millis(entity.longest_window), ttl_ms: millis(entity.ttl) }
    }
}

/// What one visit changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Events added.
    pub(crate) added: u64,
    /// Events that were older than is kept.
    pub(crate) expired: u64,
    /// Events dropped above `EVENTS_PER_KEY_MAX`.
    pub(crate) truncated: u64,
    /// Events that came too late to be added.
    pub(crate) late: u64,
}

impl Change {
    const LATE: Self = Self { added: 0, expired: 0, truncated: 0, late: 1 };
}

/// What is held of one key.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    attempts: Log<Event>,
    // Many keys have none of these: a pointer each until then.
    located: Option<Box<Log<LocatedEvent>>>,
    approved: Option<Box<Log<Event>>>,
    declined: Option<Box<Log<Event>>>,
    labels: Option<Box<Log<LabelEvent>>>,
    /// The earliest attempt ever added.
    first_at: Option<i64>,
    /// The latest attempt that is no longer in the log.
    last_gone_at: Option<i64>,
}

impl Profile {
    /// A key never seen. Allocates nothing.
    pub(crate) const fn new(attributes: usize) -> Self {
        Self {
            attempts: Log::new(attributes),
            located: None,
            approved: None,
            declined: None,
            labels: None,
            first_at: None,
            last_gone_at: None,
        }
    }

    /// Events held, of all streams.
    pub(crate) fn events(&self) -> u64 {
        let outcomes = [self.approved.as_deref(), self.declined.as_deref()];
        let outcomes: usize = outcomes.into_iter().flatten().map(|log| log.events().len()).sum();
        let labels = self.labels.as_ref().map_or(0, |log| log.events().len());
        (self.attempts.events().len() + outcomes + labels) as u64
    }

    /// The time of the newest attempt. It is always held, as only older ones go.
    pub(crate) fn newest_attempt_at(&self) -> Option<i64> {
        self.attempts.events().last().map(Timed::at)
    }

    /// Whether an event at that time is more than the longest window behind the newest attempt.
    pub(crate) fn is_late(&self, at: i64, spans: Spans) -> bool {
        self.newest_attempt_at().is_some_and(|newest| newest - at > spans.longest_ms)
    }

    /// Reads as of the present attempt. `held` says that the attempt was added earlier: then its own events are passed
    /// over wherever they are found, and it is counted once.
    pub(crate) fn read(
        &self,
        present: &Present<'_>,
        location: Option<Location>,
        held: bool,
        plan: &EntityPlan,
        spans: Spans,
        out: &mut [f64],
    ) {
        let empty = Log::new(0);
        let own_in = |log: &Log<Event>| if held { present.position_in(log) } else { None };
        for stream in &plan.streams {
            let (log, included) = match stream.stream {
                Stream::Attempts => (&self.attempts, true),
                Stream::Approved => (self.approved.as_deref().unwrap_or(&empty), false),
                Stream::Declined => (self.declined.as_deref().unwrap_or(&empty), false),
                Stream::Labels => {
                    read_labels(self.labels.as_deref(), stream, present.event.at, out);
                    continue;
                }
            };
            read_events(log, stream, present, own_in(log), included, out);
        }
        if !plan.since.is_empty() {
            self.read_since(present, location, held, plan, spans, out);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "spans in milliseconds are far below 2^53")]
    fn read_since(
        &self,
        present: &Present<'_>,
        location: Option<Location>,
        held: bool,
        plan: &EntityPlan,
        spans: Spans,
        out: &mut [f64],
    ) {
        let at = present.event.at;
        let is_recent = |earlier: &i64| at - earlier <= spans.ttl_ms;
        let last_ms = self.last_before(present, held).filter(is_recent).map(|last| at - last);
        let travel = location.filter(|_| plan.located).and_then(|here| {
            let last = self.last_located(at, held.then_some(here)).filter(|last| is_recent(&last.at))?;
            Some((last.location.distance_km(here), at - last.at))
        });
        for &read in &plan.since {
            let (number, output) = match read {
                SinceRead::SecondsSinceLast { output, .. } => {
                    (last_ms.map(|last_ms| last_ms as f64 / 1_000.0), output)
                }
                SinceRead::SecondsSinceFirst { output, .. } => {
                    let first_at = self.first_at.map_or(at, |first_at| first_at.min(at));
                    (Some((at - first_at) as f64 / 1_000.0), output)
                }
                SinceRead::SpeedKmh { output, .. } => {
                    (travel.map(|(km, millis)| km * 3_600_000.0 / millis.max(1_000) as f64), output)
                }
                SinceRead::DistanceKm { output, .. } => (travel.map(|(km, _)| km), output),
            };
            write(out, output, number.unwrap_or(f64::NAN));
        }
    }

    /// The time of the latest attempt at or before the present one, and other than it.
    fn last_before(&self, present: &Present<'_>, held: bool) -> Option<i64> {
        let at = present.event.at;
        let own = if held { present.position_in(&self.attempts) } else { None };
        let last = match self.attempts.count_until(at).checked_sub(1) {
            Some(last) if Some(last) == own => last.checked_sub(1),
            last => last,
        };
        if let Some(last) = last {
            return Some(self.attempts.events()[last].at);
        }
        // All that is gone is at or before all that is kept. Of a repeat that is not kept, the latest one gone at its
        // very time may be itself.
        let own_may_be_gone = held && own.is_none();
        self.last_gone_at.filter(|&gone| gone < at || (gone == at && !own_may_be_gone))
    }

    /// The latest located attempt at or before `at`, without one at `at` and `own`.
    fn last_located(&self, at: i64, own: Option<Location>) -> Option<LocatedEvent> {
        let log = self.located.as_deref()?;
        let mut own = own.map(|location| LocatedEvent { at, location });
        let is_other = |event: &LocatedEvent| {
            let is_own = own == Some(*event);
            if is_own {
                own = None;
            }
            !is_own
        };
        log.events()[..log.count_until(at)].iter().rev().copied().find(is_other)
    }

    /// Adds an attempt, unless it is late.
    pub(crate) fn add_attempt(
        &mut self,
        present: &Present<'_>,
        location: Option<Location>,
        spans: Spans,
    ) -> Change {
        let event = present.event;
        if self.is_late(event.at, spans) {
            return Change::LATE;
        }
        self.first_at = Some(self.first_at.map_or(event.at, |first_at| first_at.min(event.at)));
        let oldest_at = self.attempts.events().first().map_or(event.at, |oldest| oldest.at.min(event.at));
        let truncated = self.attempts.insert(event, present.attributes);
        if truncated > 0 {
            self.last_gone_at = self.last_gone_at.max(Some(oldest_at));
        }
        if let Some(location) = location {
            let located = self.located.get_or_insert_with(|| Box::new(Log::new(0)));
            located.insert(LocatedEvent { at: event.at, location }, &[]);
        }
        Change { added: 1, truncated, expired: self.expire(spans), late: 0 }
    }

    /// Adds an outcome, unless it is late.
    pub(crate) fn add_outcome(&mut self, stream: OutcomeStream, event: Event, spans: Spans) -> Change {
        if self.is_late(event.at, spans) {
            return Change::LATE;
        }
        let log = match stream {
            OutcomeStream::Approved => &mut self.approved,
            OutcomeStream::Declined => &mut self.declined,
        };
        let truncated = log.get_or_insert_with(|| Box::new(Log::new(0))).insert(event, &[]);
        Change { added: 1, truncated, expired: 0, late: 0 }
    }

    /// Adds a label, unless it is late.
    pub(crate) fn add_label(&mut self, label: LabelEvent, spans: Spans) -> Change {
        if self.is_late(label.at, spans) {
            return Change::LATE;
        }
        let truncated = self.labels.get_or_insert_with(|| Box::new(Log::new(0))).insert(label, &[]);
        Change { added: 1, truncated, expired: 0, late: 0 }
    }

    /// Drops what is twice the longest window or more behind the newest attempt, and gives how many events that were.
    fn expire(&mut self, spans: Spans) -> u64 {
        let Some(newest) = self.newest_attempt_at() else { return 0 };
        let until = newest - 2 * spans.longest_ms;
        let expired = self.attempts.count_until_from_front(until);
        if let Some(last) = expired.checked_sub(1) {
            self.last_gone_at = self.last_gone_at.max(Some(self.attempts.events()[last].at));
        }
        self.attempts.drop_oldest(expired);
        let mut all = expired;
        for log in [&mut self.approved, &mut self.declined].into_iter().flatten() {
            let expired = log.count_until_from_front(until);
            log.drop_oldest(expired);
            all += expired;
        }
        if let Some(log) = &mut self.labels {
            let expired = log.count_until_from_front(until);
            log.drop_oldest(expired);
            all += expired;
        }
        if let Some(log) = &mut self.located {
            // The latest of these stays: it may still be where the last located attempt was.
            log.drop_oldest(log.count_until_from_front(until).saturating_sub(1));
        }
        all as u64
    }
}
