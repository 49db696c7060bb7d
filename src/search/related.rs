//! What became known of a decision later: its labels and its reviews.

use std::ops::ControlFlow;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::Record;
use crate::audit::receipt::{Position, RecordHash};
use crate::domain::time::EventTime;
use crate::search::facts::Facts;
use crate::search::key::Field;
use crate::search::paged::PageError;
use crate::search::part::{Chunks, Part, with_all_keys};
use crate::search::run::{Gap, SearchError, Searcher, Stretch};

/// Most labels, and most reviews, that are given of one decision: the newest.
pub const RELATED_MAX: usize = 100;
/// How many records pass between two questions whether to go on.
const RECORDS_PER_QUESTION: u64 = 1_024;

/// A record that belongs to a decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Related {
    /// Its sequence.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: EventTime,
    /// Its hash.
    pub hash: RecordHash,
    /// A label or a review.
    pub kind: Kind,
    /// Its body in the form of schema 1, or what is left of it (`Bodies::plain`).
    pub body: Vec<u8>,
}

/// Whose labels and reviews.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The sequence of the decision's record: what belongs to it comes later, but a label may come from before.
    pub sequence: u64,
    /// The decided transaction.
    pub transaction_id: &'a str,
    /// The decision.
    pub decision_id: &'a str,
}

impl Subject<'_> {
    fn has(&self, facts: &Facts) -> bool {
        match facts {
            Facts::Label(transaction) => **transaction == *self.transaction_id,
            Facts::Review(_, sequence) => *sequence == self.sequence,
            Facts::Decision(_) | Facts::Other => false,
        }
    }
}

impl Searcher {
    /// The labels of a transaction and the reviews of a decision, the oldest first.
    pub fn related(
        &self,
        stretches: &[Stretch],
        subject: Subject<'_>,
        mut go_on: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Related>, SearchError> {
        let keys = [
            self.key().hash(Field::LabelOf, subject.transaction_id),
            self.key().hash(Field::ReviewOf, subject.decision_id),
        ];
        let mut found = Vec::new();
        for stretch in stretches {
            let places = match stretch {
                Stretch::Memory(part) => places(&*part.read(), keys),
                Stretch::File(part) => places(&**part, keys),
                Stretch::Gap(gap) => {
                    self.related_in_gap(*gap, subject, &mut found, &mut go_on)?;
                    continue;
                }
            };
            match (places, stretch) {
                (Ok(places), _) => self.read_related(&places, subject, &mut found)?,
                (Err(_), Stretch::File(part)) => {
                    part.set_damaged();
                    let gap = Gap { first: part.first(), last: Some(part.last()), after: None };
                    self.related_in_gap(gap, subject, &mut found, &mut go_on)?;
                }
                (Err(_), _) => {}
            }
        }
        found.sort_by_key(|related| related.sequence);
        for kind in [Kind::Label, Kind::Review] {
            let count = found.iter().filter(|it| it.kind == kind).count();
            let mut surplus = count.saturating_sub(RELATED_MAX);
            found.retain(|it| {
                let goes = it.kind == kind && surplus > 0;
                surplus -= usize::from(goes);
                !goes
            });
        }
        Ok(found)
    }

    fn read_related(
        &self,
        places: &[Position],
        subject: Subject<'_>,
        found: &mut Vec<Related>,
    ) -> Result<(), SearchError> {
        let mut buffer = Vec::new();
        for position in places {
            match self.lookup().read_at(*position, &mut buffer) {
                Ok(stored) => take(self.bodies(), &stored, subject, found)?,
                Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn related_in_gap(
        &self,
        gap: Gap,
        subject: Subject<'_>,
        found: &mut Vec<Related>,
        go_on: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<(), SearchError> {
        let mut reader = match gap.reader(self.log()) {
            Ok(reader) => reader,
            Err(ReadError::NotThere { oldest: None, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(stored) = reader.next()? {
            if matches!(stored.header.kind, Kind::Label | Kind::Review) {
                take(self.bodies(), &stored, subject, found)?;
            }
            if stored.header.sequence.is_multiple_of(RECORDS_PER_QUESTION) && go_on().is_break() {
                return Err(SearchError::Stopped);
            }
        }
        Ok(())
    }
}

fn take(
    bodies: &Bodies,
    stored: &Record<'_>,
    subject: Subject<'_>,
    found: &mut Vec<Related>,
) -> Result<(), SearchError> {
    if Facts::read(bodies, stored).is_ok_and(|facts| subject.has(&facts)) {
        let sequence = stored.header.sequence;
        let body = bodies.plain(stored).map_err(|error| SearchError::Body { sequence, error })?;
        found.push(Related {
            sequence: stored.header.sequence,
            recorded_at: stored.header.recorded_at,
            hash: stored.hash,
            kind: stored.header.kind,
            body: body.or_left().0.into_owned(),
        });
    }
    Ok(())
}

/// Where the newest records with one of the keys lie.
fn places(part: &impl Part, keys: [u64; 2]) -> Result<Vec<Position>, PageError> {
    let mut places = Vec::new();
    let mut chunks = Chunks { part, first: 0, rows: Vec::new() };
    for key in keys {
        for row in with_all_keys(part, &[key])?.unwrap_or_default().into_iter().rev().take(RELATED_MAX) {
            places.push(Position { segment: part.segment(), offset: chunks.get(row)?.offset });
        }
    }
    Ok(places)
}
