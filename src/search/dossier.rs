//! All that is known of one record: what was recorded, where it stands in the chain, and what became known later.

use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::audit::bodies::Opened;
use crate::audit::frame::Kind;
use crate::audit::receipt::LogId;
use crate::audit::record;
use crate::search::facts::Facts;
use crate::search::related::{Related, Subject};
use crate::search::run::{SearchError, Searcher, Stretch};

/// One record.
#[derive(Clone, Debug, Serialize)]
pub struct Dossier {
    /// The log.
    pub log: LogId,
    /// Its sequence.
    pub sequence: u64,
    /// What it is about.
    pub kind: &'static str,
    /// The version of its body.
    pub schema: u16,
    /// When it was recorded.
    pub recorded_at: String,
    /// Its hash.
    pub hash: String,
    /// The hash of the record before.
    pub previous_hash: String,
    /// The first sequence of its segment.
    pub segment: u64,
    /// Bytes from the start of the segment.
    pub offset: u64,
    /// Its body, in clear; of an erased one, what is left.
    pub body: Box<RawValue>,
    /// Of a decision: labels of its transaction, the oldest first.
    pub labels: Vec<Later>,
    /// Of a decision: its reviews, the oldest first.
    pub reviews: Vec<Later>,
}

/// A label or a review.
#[derive(Clone, Debug, Serialize)]
pub struct Later {
    /// Its sequence.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: String,
    /// Its body, in clear; of an erased one, what is left.
    pub body: Box<RawValue>,
}

impl Searcher {
    /// All that is known of the record with that sequence; none where there is none.
    pub fn dossier(
        &self,
        stretches: &[Stretch],
        log: LogId,
        sequence: u64,
        go_on: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Dossier>, SearchError> {
        let read = self.record(stretches, sequence, |stored| {
            let header = &stored.header;
            let body = self.bodies().plain(stored).map(Opened::or_left);
            let body = body.and_then(|(body, _)| record::decode::<Box<RawValue>>(&body));
            let dossier = body.map(|body| Dossier {
                log,
                sequence,
                kind: header.kind.name(),
                schema: header.schema,
                recorded_at: header.recorded_at.to_string(),
                hash: format!("blake3:{}", stored.hash),
                previous_hash: format!("blake3:{}", header.previous_hash),
                segment: stored.position.segment,
                offset: stored.position.offset,
                body,
                labels: Vec::new(),
                reviews: Vec::new(),
            });
            (dossier, Facts::read(self.bodies(), stored).ok())
        })?;
        let Some((dossier, facts)) = read else { return Ok(None) };
        let mut dossier = dossier.map_err(|error| SearchError::Body { sequence, error })?;
        if let Some(Facts::Decision(decision)) = facts {
            let subject = Subject {
                sequence,
                transaction_id: &decision.transaction_id,
                decision_id: &decision.decision_id,
            };
            for related in self.related(stretches, subject, go_on)? {
                let is_label = related.kind == Kind::Label;
                let later = Later::new(related)?;
                if is_label { dossier.labels.push(later) } else { dossier.reviews.push(later) }
            }
        }
        Ok(Some(dossier))
    }
}

impl Later {
    fn new(related: Related) -> Result<Self, SearchError> {
        let Related { sequence, recorded_at, body, .. } = related;
        let body = record::decode(&body).map_err(|error| SearchError::Body { sequence, error })?;
        Ok(Self { sequence, recorded_at: recorded_at.to_string(), body })
    }
}
